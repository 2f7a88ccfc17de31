//! What the agent knows of one attempt: how far it came, and whether it must end. Knows no orders, no reports.

use paceline_types::{ExitStatus, Generation, Reason, Revision};

/// What the runtime says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was taken on; its process does not run yet.
    Starting,
    /// Its process runs.
    Running {
        /// The task's process.
        pid: u32,
    },
    /// It ended.
    Ended(End),
}

/// How an attempt ended. Final: the first end that is known is the one that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// How the process ended; nothing where there never was one or nobody saw its end.
    pub status: Option<ExitStatus>,
    /// Why.
    pub reason: Reason,
}

impl End {
    /// An end without a process.
    #[must_use]
    pub const fn without_process(reason: Reason) -> Self {
        Self { status: None, reason }
    }
}

/// How far an attempt came. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Taken on, not given to the runtime: it waits for its turn, its specification or an older attempt.
    Waiting,
    /// Given to the runtime, which has not answered.
    Launching,
    /// The runtime has it; the pid once there is one.
    Started { pid: Option<u32> },
    /// Over; kept until the report of it is acknowledged.
    Ended(End),
}

/// The attempt must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    /// From SIGTERM to SIGKILL.
    pub(super) grace_ms: u64,
    /// The runtime was told, with this grace.
    pub(super) told: bool,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The generation of the token that last ordered it.
    pub(super) generation: Generation,
    /// The revision of its assignment.
    pub(super) assigned: Revision,
    /// How long it gets when it must end and no order says how long.
    pub(super) grace_ms: u64,
    pub(super) phase: Phase,
    pub(super) kill: Option<Kill>,
    /// Stands in the launch queue.
    pub(super) queued: bool,
    /// The runtime may hold something of it, which must be forgotten at the end.
    pub(super) in_runtime: bool,
    /// It must run only under a lease, as far as its specification is known.
    pub(super) leased: bool,
}

impl Record {
    pub(super) const fn new(generation: Generation, assigned: Revision, grace_ms: u64) -> Self {
        Self {
            generation,
            assigned,
            grace_ms,
            phase: Phase::Waiting,
            kill: None,
            queued: false,
            in_runtime: false,
            leased: false,
        }
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether it must have a lease to start or to go on. Whatever must end gets none.
    pub(super) const fn wants_lease(&self) -> bool {
        self.leased && self.kill.is_none() && !self.is_ended()
    }

    /// Whether the cell has something to hear of it. Waiting and launching are not observations.
    pub(super) const fn is_reportable(&self) -> bool {
        matches!(self.phase, Phase::Started { pid: Some(_) } | Phase::Ended(_))
    }

    /// Whether absence from a full set of this generation and revision means that it must end.
    /// Revisions of an older generation do not compare: after a restore they count something else.
    pub(super) fn is_covered_by(&self, generation: Generation, revision: Revision) -> bool {
        self.generation < generation || (self.generation == generation && self.assigned <= revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_counts_from_the_assignment_on_and_in_every_later_generation() {
        let record = Record::new(Generation(1), Revision(10), 0);
        for (generation, revision, covered) in
            [(1, 9, false), (1, 10, true), (1, 11, true), (2, 3, true), (0, 99, false)]
        {
            let found = record.is_covered_by(Generation(generation), Revision(revision));
            assert_eq!(found, covered, "{generation} {revision}");
        }
    }
}
