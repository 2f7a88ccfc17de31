//! `cargo xtask powercut`: every cut of the store's power-cut trace, or many damages; the tests run a sample of both.

use anyhow::Result;

use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// Runs it: `damage N`, or the options of cuts. The test explains what it does not understand.
pub fn run(workspace: &Workspace, options: &[&str]) -> Result<()> {
    let environment = setup::ensure(workspace)?;
    let mut cuts = environment.cargo(workspace);
    cuts.args(["test", "--quiet", "--package", "paceline-store", "--test", "powercut", "--locked", "--"]);
    if options.first() != Some(&"damage") {
        cuts.arg("cuts");
    }
    command::run(cuts.args(options))
}
