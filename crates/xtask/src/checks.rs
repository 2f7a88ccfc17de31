//! The commands that build, test and check the whole workspace, and the one that repairs it.
//!
//! One profile and one set of features for everything, so that a fresh machine compiles once. Leaves
//! the rules of the tree to `tidy` and the machine to `setup`.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::parts::Parts;
use crate::setup::{self, BuildEnvironment};
use crate::sim;
use crate::tidy;
use crate::workspace::Workspace;

/// Whether the seeds of the simulation are among the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeds {
    /// As whoever hands something in runs them.
    Run,
    /// For somebody who works on a crate and runs its tests over and over.
    Skip,
}

/// `cargo xtask test`.
pub fn test(workspace: &Workspace, seeds: Seeds) -> Result<()> {
    let mut parts = Parts::default();
    let outcome = test_parts(workspace, seeds, &mut parts);
    parts.report();
    outcome
}

/// `cargo xtask ci`: the quick checks first, so that they fail first.
pub fn ci(workspace: &Workspace) -> Result<()> {
    let mut parts = Parts::default();
    let outcome = ci_parts(workspace, &mut parts);
    parts.report();
    outcome
}

/// `cargo xtask fix`: the only command that edits sources.
pub fn fix(workspace: &Workspace) -> Result<()> {
    let environment = setup::ensure(workspace)?;
    let mut clippy = environment.cargo(workspace);
    clippy.args(["clippy", "--fix", "--allow-dirty", "--allow-staged"]);
    command::run(clippy.args(["--workspace", "--all-targets", "--locked"]))?;
    command::run(workspace.cargo().args(["fmt", "--all"]))
}

fn test_parts(workspace: &Workspace, seeds: Seeds, parts: &mut Parts) -> Result<()> {
    let environment = parts.time("set-up", || setup::ensure(workspace))?;
    build_and_test(workspace, &environment, parts)?;
    // Before the long part: it is over in a moment.
    parts.time("tidy", || tidy::run(workspace))?;
    match seeds {
        Seeds::Run => parts.time("simulation", || sim::test(workspace)),
        Seeds::Skip => {
            eprintln!("==> simulation: skipped, as --without-simulation asks");
            Ok(())
        }
    }
}

fn ci_parts(workspace: &Workspace, parts: &mut Parts) -> Result<()> {
    parts.time("tidy", || tidy::run(workspace))?;
    parts.time("format", || command::run(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    let environment = parts.time("set-up", || setup::ensure(workspace))?;
    parts.time("clippy", || command::run(&mut clippy(workspace, &environment)))?;
    build_and_test(workspace, &environment, parts)?;
    parts.time("simulation", || sim::test(workspace))
}

fn clippy(workspace: &Workspace, environment: &BuildEnvironment) -> Command {
    let mut clippy = environment.cargo(workspace);
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    clippy
}

fn build_and_test(workspace: &Workspace, environment: &BuildEnvironment, parts: &mut Parts) -> Result<()> {
    parts.time("build", || {
        // Binaries as well as tests: a test of one crate may start the binary of another.
        let mut build = environment.cargo(workspace);
        command::run(build.args(["build", "--workspace", "--bins", "--tests", "--locked"]))
    })?;
    parts.time("tests", || {
        command::run(environment.cargo(workspace).args(["test", "--workspace", "--locked"]))
    })
}
