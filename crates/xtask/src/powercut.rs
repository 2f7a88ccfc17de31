//! `cargo xtask powercut`: every cut of the store's power-cut trace, many damages, or planted bugs that must be found; the
//! tests run a sample of each.

use anyhow::Result;

use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// Words of the test that are not about cuts.
const OTHERS: [&str; 2] = ["damage", "pace"];

/// Runs it: `damage N`, `pace FOLDER N`, or the options of cuts. The test explains what it does not understand.
pub fn run(workspace: &Workspace, options: &[&str]) -> Result<()> {
    let environment = setup::ensure(workspace)?;
    let mut cuts = environment.cargo(workspace);
    cuts.args(["test", "--quiet", "--package", "paceline-store", "--test", "powercut", "--locked", "--"]);
    if !options.first().is_some_and(|word| OTHERS.contains(word)) {
        cuts.arg("cuts");
    }
    command::run(cuts.args(options))
}
