//! What machines really ran, from their journals.

use std::collections::BTreeSet;

use paceline_runtime::Lived;
use paceline_types::{AttemptId, Reason};
use paceline_verify::attempts::{Attempts, Cause};

use crate::clock;
use crate::machine::Machine;

/// A process: where, in which boot, which attempt, started when.
type Key = (String, u32, AttemptId, u64);

/// The processes that run, as far as journals were read.
#[derive(Debug, Default)]
pub(super) struct Journals {
    running: BTreeSet<Key>,
}

impl Journals {
    /// Reads on in the journal of a machine; returns in words what was started.
    pub fn read(&mut self, machine: &Machine, attempts: &mut Attempts) -> Vec<String> {
        let node = machine.name().parse().expect("names of simulated nodes are valid");
        let lives = machine.take_lives();
        let mut started = Vec::new();
        for lived in lives.ended.iter().chain(&lives.alive) {
            let key = (machine.name().to_owned(), lived.boot, lived.attempt, lived.started_boot_ms);
            if self.running.insert(key.clone()) {
                let at_ms = machine.at_ms(lived.boot, lived.started_boot_ms);
                attempts.started(&node, lived.attempt, at_ms);
                started.push(format!("runs {} since {}", lived.attempt, clock::shown(at_ms).trim_start()));
            }
            if let Some(ended_ms) = lived.ended_boot_ms {
                let at_ms = machine.at_ms(lived.boot, ended_ms);
                attempts.ended(&node, lived.attempt, at_ms, cause(machine, lived, at_ms));
                self.running.remove(&key);
            }
        }
        started
    }
}

fn cause(machine: &Machine, lived: &Lived, at_ms: u64) -> Cause {
    match lived.reason {
        Some(Reason::JobStopped) => Cause::Order(machine.fence_at(at_ms)),
        Some(Reason::LeaseEnded) => Cause::Lease,
        Some(Reason::NodeRebooted) => Cause::Fault,
        _ => Cause::Itself,
    }
}
