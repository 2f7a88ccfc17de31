//! ARCHITECTURE.md has exactly one section for every crate, and none for a crate that is not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The names of the folders under `crates/` that hold a package.
pub fn crate_folders(root: &Path) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("could not list crates/")? {
        let entry = entry.context("could not list crates/")?;
        if entry.path().join("Cargo.toml").is_file() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Crates without a section, sections without a crate, and sections that come twice.
pub fn problems(architecture: &str, folders: &[String]) -> Vec<String> {
    let mut sections: BTreeMap<&str, usize> = BTreeMap::new();
    for name in architecture.lines().filter_map(section_of) {
        *sections.entry(name).or_default() += 1;
    }
    let mut problems = Vec::new();
    for folder in folders {
        match sections.remove(folder.as_str()) {
            None => problems.push(format!("docs/ARCHITECTURE.md has no section `crates/{folder}`")),
            Some(1) => {}
            Some(count) => {
                problems.push(format!("docs/ARCHITECTURE.md has {count} sections `crates/{folder}`"))
            }
        }
    }
    let gone = sections.keys();
    problems.extend(
        gone.map(|name| format!("docs/ARCHITECTURE.md describes `crates/{name}`, which is not there")),
    );
    problems
}

/// The crate that a heading such as "### `crates/cell`: the state machine" is about.
fn section_of(line: &str) -> Option<&str> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim_start();
    let (name, _) = title.strip_prefix("`crates/")?.split_once('`')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Map\n### `crates/cell`: the state\nsee `crates/rules`\n### `crates/gone`\n";

    #[test]
    fn sections_and_folders_are_held_against_each_other() {
        let folders = ["cell".to_owned(), "rules".to_owned()];
        assert_eq!(
            problems(PAGE, &folders),
            [
                "docs/ARCHITECTURE.md has no section `crates/rules`",
                "docs/ARCHITECTURE.md describes `crates/gone`, which is not there",
            ]
        );
    }

    #[test]
    fn a_section_that_comes_twice_is_named() {
        let twice = format!("{PAGE}### `crates/cell` again\n");
        let problems = problems(&twice, &["cell".to_owned(), "gone".to_owned()]);
        assert_eq!(problems, ["docs/ARCHITECTURE.md has 2 sections `crates/cell`"]);
    }
}
