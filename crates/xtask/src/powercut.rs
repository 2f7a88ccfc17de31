//! `cargo xtask powercut`: the whole power-cut trace of the store, of which the tests run a sample.

use anyhow::Result;

use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// Runs it with the given options; it explains them where they are wrong.
pub fn run(workspace: &Workspace, options: &[&str]) -> Result<()> {
    let environment = setup::ensure(workspace)?;
    let mut cuts = environment.cargo(workspace);
    cuts.args(["test", "--quiet", "--package", "paceline-store", "--test", "powercut", "--locked", "--"]);
    command::run(cuts.arg("cuts").args(options))
}
