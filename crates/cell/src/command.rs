//! What is asked of the cell: an entry of the log is a list of commands, each with one reply.
//!
//! Values only. `codec` gives them their bytes, `apply` their meaning. Everything a command needs (time, ids,
//! choices) arrives inside it.

use std::sync::Arc;

use paceline_rules::{JobSpec, Labels, Taint};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, FeatureLevel, Generation, IndexSet, JobUid, NodeEpoch,
    NodeId, NodeName, Reason, Resources, Revision, ShardName,
};

use crate::config::ConfigChange;

/// One log entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Wall clock of the proposer when it proposed: for display only, nothing is decided by it.
    pub unix_ms: u64,
    /// Applied in order.
    pub commands: Vec<Command>,
}

impl Entry {
    /// The feature level that all of its commands need.
    #[must_use]
    pub fn feature_level(&self) -> FeatureLevel {
        let levels = self.commands.iter().map(|command| command.body.feature_level());
        levels.max().unwrap_or(crate::FEATURE_LEVEL_FIRST)
    }
}

/// One command, with the id of the request it came from where a client made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Makes a retry harmless. Nothing for commands of the leader itself.
    pub request: Option<RequestId>,
    /// What to do.
    pub body: CommandBody,
}

impl From<CommandBody> for Command {
    /// A command without a request id.
    fn from(body: CommandBody) -> Self {
        Self { request: None, body }
    }
}

/// Names one mutation of one client for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// `ROLE/NAME` from the caller's certificate.
    pub principal: String,
    /// Random, chosen by the client when it starts.
    pub client: [u8; 16],
    /// Rising by one per mutation of this client.
    pub sequence: u64,
    /// The client has the answers to all its sequences below this one.
    pub lowest_unanswered: u64,
    /// The revision that the client had seen when it took this id.
    pub floor: Revision,
}

/// A job, by name or for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSelector {
    /// The newest job of this name: the live one where there is one.
    Name(String),
    /// Exactly this job.
    Uid(JobUid),
}

/// Attempts of which an agent reports the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRun {
    /// The job.
    pub job: JobUid,
    /// The attempt, the same for all tasks of the run.
    pub attempt: Attempt,
    /// The tasks.
    pub tasks: IndexSet,
    /// What is so.
    pub observed: ReportedState,
}

/// What an agent says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedState {
    /// It runs.
    Running,
    /// It ended, or can never start.
    Ended {
        /// How the process ended, where there was one.
        status: Option<ExitStatus>,
        /// Why.
        reason: Reason,
    },
}

/// The closed list of what can be done to a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandBody {
    /// Makes a job; the same specification under a live name finds that job.
    SubmitJob {
        /// What to run.
        spec: Arc<JobSpec>,
        /// Wall clock, for display; no part of the request's body hash.
        submitted_unix_ms: u64,
    },
    /// Ends a job: what waits is killed, what runs is told to stop.
    StopJob {
        /// Which.
        job: JobSelector,
    },
    /// Forgets a job that has ended.
    DeleteJob {
        /// Which.
        job: JobSelector,
    },
    /// Joins a node, or refreshes what is known of it.
    RegisterNode {
        /// As in the agent's certificate.
        name: NodeName,
        /// The id in the agent's data folder.
        instance: AgentInstance,
        /// The kernel's boot id.
        boot: BootId,
        /// What the node offers.
        capacity: Resources,
        /// Labels that the agent found or was configured with.
        labels: Labels,
        /// What the node can enforce, in words.
        capabilities: Vec<String>,
    },
    /// No new work for a node; what runs there finishes.
    DrainNode {
        /// Which.
        node: NodeName,
    },
    /// Ends a drain.
    ResumeNode {
        /// Which.
        node: NodeName,
    },
    /// Changes an operator's labels, which stand over the agent's.
    LabelNode {
        /// Which.
        node: NodeName,
        /// To add or replace.
        set: Labels,
        /// To take away, where an operator set them.
        unset: Vec<String>,
    },
    /// Changes taints; what runs there stays.
    TaintNode {
        /// Which.
        node: NodeName,
        /// To add, or to replace by key.
        set: Vec<Taint>,
        /// Keys to take away.
        unset: Vec<String>,
    },
    /// Forgets a node; its attempts end.
    RemoveNode {
        /// Which.
        node: NodeName,
    },
    /// Ends a node's attempts and lets another agent instance take its name.
    ReplaceNode {
        /// Which.
        node: NodeName,
    },
    /// Ends the attempts on a silent node whose jobs do not wait any longer; with the last one the node is lost.
    WriteOffNode {
        /// Which.
        node: NodeId,
        /// The epoch at which it was silent.
        epoch: NodeEpoch,
        /// For how long, at least: what each job's `replace_after` is compared with.
        silent_ms: u64,
    },
    /// Joins a link shard, or refreshes its address.
    RegisterShard {
        /// As in its certificate.
        name: ShardName,
        /// Where it listens for agents.
        address: String,
    },
    /// Takes a link shard from the list.
    RemoveShard {
        /// Which.
        name: ShardName,
    },
    /// Binds pending tasks to a node, all or none; the new attempt is the one after `follows`.
    Assign {
        /// The job.
        job: JobUid,
        /// The attempt that each task has now.
        follows: Attempt,
        /// The node.
        node: NodeId,
        /// The epoch at which it was chosen.
        epoch: NodeEpoch,
        /// The tasks.
        tasks: IndexSet,
    },
    /// What an agent observed; stale and doubled runs change nothing.
    Report {
        /// The node.
        node: NodeId,
        /// Its epoch when it spoke.
        epoch: NodeEpoch,
        /// What it said.
        runs: Vec<ReportedRun>,
    },
    /// Moves the cell clock.
    Tick {
        /// Must be the committed clock.
        from_ms: u64,
        /// At most [`crate::TICK_STEP_MS_MAX`].
        step_ms: u64,
    },
    /// Takes jobs that have ended out of the state; they go to history.
    Retire {
        /// Which; unknown ones are passed over.
        jobs: Vec<JobUid>,
    },
    /// Changes the configuration, all or none.
    SetConfig(ConfigChange),
    /// Admits new commands and behaviour.
    RaiseFeatureLevel {
        /// The next level.
        to: FeatureLevel,
    },
    /// After a restore.
    RaiseGeneration {
        /// Higher than before.
        to: Generation,
    },
}

impl CommandBody {
    /// The level from which on replicas accept the command, with the fields that it has.
    #[must_use]
    pub fn feature_level(&self) -> FeatureLevel {
        match self {
            Self::SetConfig(change) => {
                let levels = change.settings.keys().map(|setting| setting.feature_level());
                levels.max().unwrap_or(crate::FEATURE_LEVEL_FIRST)
            }
            _ => crate::FEATURE_LEVEL_FIRST,
        }
    }
}
