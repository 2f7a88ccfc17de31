//! `paceline-supervisor ATTEMPT`, started by an agent in the folder of an attempt: runs one task to its end.
//!
//! It outlives the agent, needs nobody, and answers to the records in its folder only. Everything that it
//! has to say goes into records; what they mean is up to the agent.
//!
//! ```text
//! order ─► pipe ─► intent ─► groups ─► spawn ─► running ─► watch ─► end the rest ─► exit ─► nudge
//! ```

mod attempt;
mod control;
mod groups;
mod news;
mod output;
mod rest;
mod spawn;
mod watch;

use std::fs;
use std::panic;
use std::process::ExitCode;

use paceline_supervisor::FAILURE_NOTE;

/// The agent and it do not fit each other, or a person started it by hand.
const EXIT_USAGE: u8 = 2;
/// It gave up, for a reason that stands in the failure note.
const EXIT_FAILED: u8 = 3;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: paceline-supervisor ATTEMPT, in the attempt's folder; agents start it, not people");
        return ExitCode::from(EXIT_USAGE);
    };
    panic::set_hook(Box::new(|panic| note(&panic.to_string())));
    match attempt::supervise(&name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error.to_string());
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The agent reads it when it finds no exit record. There is nobody to tell if that fails too.
fn note(failure: &str) {
    _ = fs::write(FAILURE_NOTE, failure);
}
