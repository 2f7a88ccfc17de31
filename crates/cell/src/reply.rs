//! What the cell answers: one reply per command; a refusal is a reply.
//!
//! Replies go to the proposer as bytes and are recorded in the request table, so they are small and bounded.

use paceline_types::{Attempt, JobState, JobUid, NodeEpoch, NodeId, ShardId};

use crate::refusal::Refusal;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing changed, for this reason.
    Refused(Refusal),
    /// It is so now.
    Done,
    /// The job is in the cell.
    JobSubmitted {
        /// The job.
        uid: JobUid,
        /// It was there before with the same specification.
        existing: bool,
    },
    /// The job is stopping, or has ended.
    JobStopping {
        /// The job.
        uid: JobUid,
        /// Its state now.
        state: JobState,
    },
    /// The job is forgotten.
    JobDeleted {
        /// The job.
        uid: JobUid,
    },
    /// The node is in the cell.
    NodeRegistered {
        /// Its number.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
    },
    /// The shard is in the list.
    ShardRegistered {
        /// Its number.
        shard: ShardId,
    },
    /// The tasks are bound.
    Assigned {
        /// Their attempt.
        attempt: Attempt,
    },
    /// What became of a report, in tasks.
    Reported {
        /// Moved forward.
        applied: u64,
        /// Were so, or further, already.
        doubles: u64,
        /// Named another attempt, node or epoch, or a job or task that is not there.
        stale: u64,
    },
    /// What the silence of a node cost.
    WrittenOff {
        /// How many tasks left it.
        tasks: u64,
        /// The node is lost from now on.
        lost: bool,
    },
    /// The clock moved.
    Ticked {
        /// The cell clock.
        clock_ms: u64,
    },
    /// Jobs were handed to history.
    Retired {
        /// How many.
        jobs: u32,
    },
}

impl Reply {
    /// The reply as the request table keeps it; see [`Refusal::to_record`].
    pub(crate) fn to_record(&self) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(refusal.to_record()),
            other => other.clone(),
        }
    }
}
