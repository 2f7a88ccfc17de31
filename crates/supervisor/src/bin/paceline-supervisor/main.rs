//! `paceline-supervisor nursery`, started by an agent: takes orders and forks a supervisor for each.
//!
//! A supervisor runs one task to its end. It outlives the agent and the nursery, needs nobody, and answers to the
//! records in its attempt's folder only. Everything that it has to say goes into records; what they mean is up to
//! the agent.
//!
//! ```text
//! nursery: order ─► fork ─► reap
//!                     └─► pipe ─► intent ─► answer ─► groups ─► spawn ─► running ─► watch ─► end the rest ─► exit ─► nudge
//! ```

mod attempt;
mod control;
mod fork;
mod groups;
mod lease;
mod news;
mod nursery;
mod output;
mod rest;
mod spawn;
mod watch;

use std::process::ExitCode;

use paceline_supervisor::nursery::NURSERY;

/// The agent and it do not fit each other, or a person started it by hand.
const EXIT_USAGE: u8 = 2;
/// It could not go on.
const EXIT_FAILED: u8 = 3;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(word), None) if word == NURSERY => {}
        _ => {
            eprintln!("usage: paceline-supervisor {NURSERY}; agents start it, not people");
            return ExitCode::from(EXIT_USAGE);
        }
    }
    match nursery::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paceline-supervisor: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
