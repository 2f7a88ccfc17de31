//! The rules of the tree that no compiler checks, each a pure function from text to problems.
//!
//! Never writes. `cargo xtask tidy` prints every problem at once; `tests/tree.rs` runs it with the
//! other tests. What clippy and rustfmt can check is left to them.

mod arrows;
mod files;
mod purity;
mod sections;
mod sources;

use std::fs;

use anyhow::{Context, Result, bail};

pub use self::files::read_tree;
use crate::workspace::Workspace;

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

/// Prints every problem and fails if there is one. Notes (a file that grows long) do not fail.
pub fn run(workspace: &Workspace) -> Result<()> {
    let files = read_tree(&workspace.root)?;
    let architecture = fs::read_to_string(workspace.root.join(ARCHITECTURE))
        .with_context(|| format!("could not read {ARCHITECTURE}"))?;
    let crates = arrows::crates_of(&workspace.metadata()?)?;

    for note in sources::notes(&files) {
        eprintln!("note: {note}");
    }
    let mut problems = sources::problems(&files);
    problems.extend(arrows::problems(&architecture, &crates));
    problems.extend(sections::problems(&architecture, &sections::crate_folders(&workspace.root)?));
    problems.extend(purity::problems(&files, &crates));
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!("{count} problem(s) in the tree"),
    }
}
