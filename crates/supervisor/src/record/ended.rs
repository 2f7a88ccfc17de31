//! The end of an attempt: how, why, when.

use std::str::FromStr;

use crate::folder::Record;
use crate::record::text::{Damage, Fields, Writer};

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It called exit.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Why the attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By itself, or by a signal that was not the supervisor's.
    Exited,
    /// The command could not be executed.
    LaunchFailed,
    /// The machine could not start it: no space, no process, no cgroup.
    NodeFault,
    /// A stop record asked for it.
    Stopped,
    /// The time limit of the order passed.
    TimeLimit,
    /// The kernel killed in it for memory.
    OutOfMemory,
    /// The supervisor died first.
    SupervisorDied,
    /// It may run only under a lease, and the lease was over.
    LeaseEnded,
}

impl Cause {
    const WORDS: [(Self, &'static str); 8] = [
        (Self::Exited, "exited"),
        (Self::LaunchFailed, "launch_failed"),
        (Self::NodeFault, "node_fault"),
        (Self::Stopped, "stopped"),
        (Self::TimeLimit, "time_limit"),
        (Self::OutOfMemory, "out_of_memory"),
        (Self::SupervisorDied, "supervisor_died"),
        (Self::LeaseEnded, "lease_ended"),
    ];

    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(cause, _)| *cause == self);
        found.expect("every cause has its word in the table").1
    }
}

impl FromStr for Cause {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::WORDS.iter().find(|(_, word)| *word == text).map(|(cause, _)| *cause).ok_or(())
    }
}

/// Published once: by the supervisor, or by the agent when the supervisor died without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// In words, for people; may be empty.
    pub message: String,
    /// The task, zero when it never ran.
    pub pid: u32,
    /// Wall clock; equal to the end when it never ran.
    pub started_unix_ms: u64,
    /// Wall clock.
    pub ended_unix_ms: u64,
}

impl Record for Ended {
    const NAME: &'static str = "exit";

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        match self.outcome {
            Outcome::Code(code) => writer.field("code", code),
            Outcome::Signal(signal) => writer.field("signal", signal),
        };
        writer
            .field("cause", self.cause.as_str())
            .field("message", &self.message)
            .field("pid", self.pid)
            .field("started_unix_ms", self.started_unix_ms)
            .field("ended_unix_ms", self.ended_unix_ms);
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        let outcome = match fields.optional("signal")? {
            Some(signal) => Outcome::Signal(signal),
            None => Outcome::Code(fields.value("code")?),
        };
        Ok(Self {
            outcome,
            cause: fields.value("cause")?,
            message: fields.text("message")?.to_owned(),
            pid: fields.value("pid")?,
            started_unix_ms: fields.value("started_unix_ms")?,
            ended_unix_ms: fields.value("ended_unix_ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::round_trip;

    #[test]
    fn every_end_reads_back() {
        for (cause, _) in Cause::WORDS {
            for outcome in [Outcome::Code(3), Outcome::Signal(9)] {
                let message = "first\nsecond".to_owned();
                let ended = Ended { outcome, cause, message, pid: 7, started_unix_ms: 1, ended_unix_ms: 2 };
                assert_eq!(round_trip(&ended), ended);
            }
        }
    }
}
