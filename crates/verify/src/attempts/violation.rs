//! How a task can run otherwise than it should, in words that a person can act on.

use paceline_types::{AttemptId, FenceToken, JobUid, NodeName, Reason, Revision, TaskIndex};

/// A task that did not run as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two at once, where one was promised.
    #[error("job {} promised at most one: {one} and {other} ran at the same time from {from} to {to}", attempt.job)]
    Overlap {
        /// The later one.
        attempt: AttemptId,
        /// The earlier, with its node.
        one: String,
        /// The later, with its node.
        other: String,
        /// The first common instant.
        from: u64,
        /// The first that is not common any more, or the present one.
        to: u64,
    },
    /// One attempt, two processes.
    #[error("attempt {attempt} was started twice: on {one} at {first} and on {other} at {second}")]
    StartedTwice {
        /// Which.
        attempt: AttemptId,
        /// First there.
        one: NodeName,
        /// At.
        first: u64,
        /// Then there.
        other: NodeName,
        /// At.
        second: u64,
    },
    /// It runs without, or elsewhere than, the cell decided.
    #[error("attempt {attempt} was started on {node}, but {decided}")]
    NotAssigned {
        /// Which.
        attempt: AttemptId,
        /// Where it ran.
        node: NodeName,
        /// What the cell had decided.
        decided: String,
    },
    /// A wanted attempt was killed.
    #[error(
        "attempt {attempt} on {node} was killed at {at} by an order of term {} at revision {}, where the cell wanted it to run",
        token.term, token.revision
    )]
    GoodAttemptKilled {
        /// Which.
        attempt: AttemptId,
        /// Where.
        node: NodeName,
        /// When.
        at: u64,
        /// Of which order.
        token: FenceToken,
    },
    /// An order of a deposed leader was carried out.
    #[error(
        "{node} carried out an order of (generation {}, term {}) after one of (generation {}, term {})",
        token.generation, token.term, highest.generation, highest.term
    )]
    StaleOrder {
        /// Where.
        node: NodeName,
        /// The order.
        token: FenceToken,
        /// What it had seen before.
        highest: FenceToken,
    },
    /// A stale attempt that is still there.
    #[error("attempt {attempt} on {node} still runs at {at}, though it was over at revision {over}")]
    StaleLives {
        /// Which.
        attempt: AttemptId,
        /// Where.
        node: NodeName,
        /// Now.
        at: u64,
        /// When the cell was done with it.
        over: Revision,
    },
    /// An attempt was decided out of turn.
    #[error("attempt {attempt} was assigned at revision {revision}, but {why}")]
    OutOfTurn {
        /// Which.
        attempt: AttemptId,
        /// When.
        revision: Revision,
        /// Why it should not have been.
        why: String,
    },
    /// An attempt was ended for a reason that nothing explains.
    #[error("attempt {attempt} was ended at revision {revision} as {reason} ({}), but {expected}", reason.explanation())]
    WithoutCause {
        /// Which.
        attempt: AttemptId,
        /// When.
        revision: Revision,
        /// As what.
        reason: Reason,
        /// What the harness knows.
        expected: &'static str,
    },
    /// A second end.
    #[error("task {task} of job {job} ended at revision {second}, and had ended at {first} already")]
    EndedTwice {
        /// Of which job.
        job: JobUid,
        /// Which.
        task: TaskIndex,
        /// First.
        first: Revision,
        /// Again.
        second: Revision,
    },
}
