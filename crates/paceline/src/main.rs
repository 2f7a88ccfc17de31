//! The `paceline` binary: the roles of a cell, and the command line for people and scripts.
//!
//! ```text
//! paceline master|shard|agent   one role, one process
//! paceline dev                  a whole cell on this machine
//! paceline ca                   authorities and certificates
//! paceline job|node|shard|cell  what a cell is asked
//! ```
//!
//! This crate parses, prints and wires: every decision is made in the crates below it.

mod ca;
mod cli;
mod commands;
mod dev;
mod exit;
mod output;
mod roles;
mod shutdown;

use std::process::ExitCode;

use anyhow::bail;

use cli::{Cli, Command, ShardArgs};

fn main() -> ExitCode {
    let cli = Cli::read();
    let format = cli.cell.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return exit::FAILED;
        }
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => exit::with(&error, format),
    };
    // A blocked read of standard input or of a disk must not hold up the exit.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Master(options) => roles::master(options).await.map(|()| ExitCode::SUCCESS),
        Command::Shard(ShardArgs { command: Some(command), .. }) => {
            commands::shard::run(command, &cli.cell).await
        }
        Command::Shard(ShardArgs { role: Some(role), place: Some(place), .. }) => {
            roles::shard(role, place).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Shard(_) => bail!("shard: give --listen and --master to run one, or list or remove"),
        Command::Agent(options) => roles::agent(options).await.map(|()| ExitCode::SUCCESS),
        Command::Dev(options) => dev::run(options.into(), cli.cell.output).await.map(|()| ExitCode::SUCCESS),
        Command::Ca(command) => ca::run(command, cli.cell.output).map(|()| ExitCode::SUCCESS),
        Command::Job(command) => commands::job::run(command, &cli.cell).await,
        Command::Node(command) => commands::node::run(command, &cli.cell).await,
        Command::Cell(command) => commands::cell::run(command, &cli.cell).await,
    }
}
