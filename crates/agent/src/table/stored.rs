//! What of the table must survive a restart of the agent, and the changes that keep it true.
//!
//! Folding every [`Change`] over the [`Stored`] of before gives the [`Stored`] of now. How they get to disk
//! is the business of `folder`.

use std::collections::BTreeMap;

use paceline_types::{
    Attempt, AttemptId, FenceToken, Generation, IndexSet, JobUid, NodeEpoch, Revision, TaskIndex,
};

use super::record::End;
use super::settled::Settled;

/// One step of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A higher token was seen.
    Fence(FenceToken),
    /// The cell told the node's epoch.
    Epoch(NodeEpoch),
    /// An attempt was taken on, or named again by another assignment revision.
    Accepted {
        /// Which.
        attempt: AttemptId,
        /// The generation of the order.
        generation: Generation,
        /// The revision of the assignment.
        assigned: Revision,
        /// Its grace unless an order says otherwise.
        grace_ms: u64,
    },
    /// An attempt must end.
    Killed {
        /// Which.
        attempt: AttemptId,
        /// From SIGTERM to SIGKILL.
        grace_ms: u64,
    },
    /// An attempt ended in a way that the runtime does not know of: it never started.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// How.
        end: End,
    },
    /// The end of an attempt was acknowledged.
    Settled {
        /// Which.
        attempt: AttemptId,
    },
}

/// What is stored of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredAttempt {
    /// The generation of the order that named it last.
    pub generation: Generation,
    /// The revision of its assignment.
    pub assigned: Revision,
    /// Its grace unless an order says otherwise.
    pub grace_ms: u64,
    /// It must end, with this grace.
    pub kill_grace_ms: Option<u64>,
    /// It ended without ever having started.
    pub end: Option<End>,
}

/// Everything that is stored of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The highest token seen.
    pub fence: FenceToken,
    /// The epoch that the cell last told.
    pub epoch: NodeEpoch,
    /// Attempts that are not settled.
    pub attempts: BTreeMap<AttemptId, StoredAttempt>,
    /// Attempts that are.
    pub settled: Settled,
}

impl Stored {
    /// Folds one change in.
    pub fn apply(&mut self, change: &Change) {
        match *change {
            Change::Fence(token) => self.fence = self.fence.max(token),
            Change::Epoch(epoch) => self.epoch = epoch,
            Change::Accepted { attempt, generation, assigned, grace_ms } => {
                let stored = self.attempts.entry(attempt).or_default();
                (stored.generation, stored.assigned, stored.grace_ms) = (generation, assigned, grace_ms);
            }
            Change::Killed { attempt, grace_ms } => {
                self.attempts.entry(attempt).or_default().kill_grace_ms = Some(grace_ms);
            }
            Change::Ended { attempt, end } => {
                self.attempts.entry(attempt).or_default().end = Some(end);
            }
            Change::Settled { attempt } => {
                self.attempts.remove(&attempt);
                self.settled.insert(attempt);
            }
        }
    }

    /// Folds settled attempts of the same number in. The cost is that of ranges, and of what is stored of their
    /// tasks, not of tasks: a range of billions is a few bytes in a file.
    pub fn settle(&mut self, job: JobUid, attempt: Attempt, tasks: &IndexSet) {
        for &range in tasks.ranges() {
            let id = |task, attempt| AttemptId { job, task: TaskIndex(task), attempt };
            let within = id(range.first(), Attempt(0))..=id(range.last(), Attempt(u32::MAX));
            let known = self.attempts.range(within).map(|(id, _)| *id).filter(|id| id.attempt == attempt);
            for settled in known.collect::<Vec<_>>() {
                self.attempts.remove(&settled);
            }
            self.settled.insert_range(job, attempt, range);
        }
    }
}
