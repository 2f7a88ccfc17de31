//! What became true: facts in the past tense, about ranges of tasks. An event's id is the revision of its
//! entry and its position in [`crate::Applied::events`].

use std::sync::Arc;

use paceline_types::{
    Attempt, ExitStatus, FeatureLevel, Generation, IndexSet, JobState, JobUid, NodeEpoch, NodeId, NodeName,
    Reason, Revision, TaskState,
};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job is in the cell, all its tasks pending.
    JobSubmitted {
        /// The job.
        job: JobUid,
        /// Its name.
        name: Arc<str>,
        /// How many tasks it has.
        tasks: u32,
    },
    /// A job gets no more work.
    JobStopping {
        /// The job.
        job: JobUid,
        /// Why.
        reason: Reason,
    },
    /// The last task of a job ended.
    JobEnded {
        /// The job.
        job: JobUid,
        /// How.
        state: JobState,
    },
    /// A job was forgotten.
    JobDeleted {
        /// The job.
        job: JobUid,
    },
    /// A job was handed to history.
    JobRetired {
        /// The job.
        job: JobUid,
    },
    /// Tasks were bound to a node.
    TasksAssigned {
        /// The job.
        job: JobUid,
        /// The new attempt.
        attempt: Attempt,
        /// The node.
        node: NodeId,
        /// The tasks.
        tasks: IndexSet,
    },
    /// Tasks run.
    TasksRunning {
        /// The job.
        job: JobUid,
        /// The attempt.
        attempt: Attempt,
        /// The node.
        node: NodeId,
        /// The tasks.
        tasks: IndexSet,
    },
    /// Tasks are to be stopped by their node.
    TasksStopping {
        /// The job.
        job: JobUid,
        /// The attempt.
        attempt: Attempt,
        /// The node.
        node: NodeId,
        /// The tasks.
        tasks: IndexSet,
        /// Why.
        reason: Reason,
    },
    /// An attempt ended and the tasks wait for the next one.
    TasksRequeued {
        /// The job.
        job: JobUid,
        /// The attempt that ended.
        attempt: Attempt,
        /// Where it was.
        node: NodeId,
        /// The tasks.
        tasks: IndexSet,
        /// Why it ended.
        reason: Reason,
        /// How its process ended, where there was one.
        status: Option<ExitStatus>,
    },
    /// Tasks will never run again.
    TasksEnded {
        /// The job.
        job: JobUid,
        /// The last attempt; zero when there was none.
        attempt: Attempt,
        /// Where it was; nothing for tasks that ended while they waited.
        node: Option<NodeId>,
        /// The tasks.
        tasks: IndexSet,
        /// Their last state.
        state: TaskState,
        /// Why.
        reason: Reason,
        /// How the process ended, where there was one.
        status: Option<ExitStatus>,
    },
    /// A node joined, or came back with another boot or instance.
    NodeRegistered {
        /// The node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
    },
    /// Capacity, labels, taints, drain or epoch of a node changed.
    NodeChanged {
        /// The node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
    },
    /// A silent node was written off: nothing is on it, and nothing will be before it registers again.
    NodeLost {
        /// The node.
        node: NodeId,
        /// Its new epoch.
        epoch: NodeEpoch,
    },
    /// A node left; its number is never used again.
    NodeRemoved {
        /// The node.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// The list of link shards changed.
    ShardsChanged {
        /// Its new version.
        version: Revision,
    },
    /// The configuration changed.
    ConfigChanged,
    /// The feature level rose.
    FeatureLevelRaised {
        /// To this.
        to: FeatureLevel,
    },
    /// The generation rose.
    GenerationRaised {
        /// To this.
        to: Generation,
    },
}
