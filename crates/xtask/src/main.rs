//! `cargo xtask`: the one entry point for a person or a CI machine that works on this repository.
//!
//! It sets the machine up, builds, tests, checks and demonstrates. It needs neither RocksDB nor tokio,
//! so that it compiles in seconds on a machine that has nothing yet. It knows the product only from
//! outside, as a user does: through the binaries `paceline` and `paceline-supervisor`.

mod checks;
mod command;
mod demo;
mod parts;
mod powercut;
mod setup;
mod sim;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::checks::Seeds;
use crate::workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--json]   set up, build, start a cell, run a batch in it, kill its leader, a shard and
                  an agent meanwhile, check everything
                  (--json: the summary once more, as JSON on the last line)
  test [--without-simulation]
                  set up, build, run every test, tidy, then 300 seeds of the simulation
                  (--without-simulation: not the seeds)
  ci              test, and before it formatting and clippy
  sim             run seeds of the simulation on all cores:
                  sim [cell|consensus|graphs] --seeds N [--first-seed S] [--resume] | --budget 15m | --seed X
                  sim coverage --seeds N: how many seeds reach each point
                  sim mutants: how many seeds catch each planted bug
                  sim report [--write]: what the ledger of these sources says
  powercut [--seed S] [--steps N] [--every K] [--ways two|all]
                  record a thousand steps of the store, cut the power at every write, sync and
                  rename, and reopen what each cut may leave
  powercut damage N
                  damage one file of a recorded store at a time, N times for each kind of damage,
                  class of file and moment
  tidy            check the rules of the tree (sizes, forbidden text, crate arrows, crate sections)
  fix             format and apply clippy's suggestions (the only command that edits sources)
  setup           install what a build needs and build RocksDB once for this machine;
                  prints the variables that plain cargo needs: eval \"$(cargo xtask setup)\"
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo"] => demo::run(&Workspace::locate()?, demo::Output::Text),
        ["demo", "--json"] => demo::run(&Workspace::locate()?, demo::Output::TextThenJson),
        ["test"] => checks::test(&Workspace::locate()?, Seeds::Run),
        ["test", "--without-simulation"] => checks::test(&Workspace::locate()?, Seeds::Skip),
        ["ci"] => checks::ci(&Workspace::locate()?),
        ["sim", words @ ..] => sim::run(&Workspace::locate()?, words),
        ["powercut", options @ ..] => powercut::run(&Workspace::locate()?, options),
        ["tidy"] => tidy::run(&Workspace::locate()?),
        ["fix"] => checks::fix(&Workspace::locate()?),
        ["setup"] => setup::print_environment(&Workspace::locate()?),
        ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        [] => bail!("a command is missing\n\n{USAGE}"),
        _ => bail!("not a command: {}\n\n{USAGE}", words.join(" ")),
    }
}
