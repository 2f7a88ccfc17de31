//! The state of a cell, and what readers may ask of it. Only `apply` changes it.
//!
//! Everything big is shared: a clone is the published view, and costs a few pointers.

mod check;
mod indexes;

use std::sync::Arc;

use imbl::OrdMap;
use paceline_types::{
    FeatureLevel, Generation, IndexRange, JobUid, NodeId, NodeName, Revision, ShardId, ShardName,
};

use crate::config::CellConfig;
use crate::job::{Job, TaskView};
use crate::node::Node;
use crate::requests::RequestTable;

pub(crate) use indexes::Indexes;

/// Most jobs that are handed out for retirement at once: an entry of them stays small.
const RETIRE_BATCH: usize = 1_024;

/// A link shard of the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, never used again.
    pub id: ShardId,
    /// As in its certificate.
    pub name: ShardName,
    /// Where it listens for agents.
    pub address: Arc<str>,
}

/// Equal tasks of one job on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRun {
    /// The job.
    pub job: JobUid,
    /// The tasks.
    pub tasks: IndexRange,
    /// What is so of each of them.
    pub task: TaskView,
}

/// The state of a cell after some revision.
#[derive(Clone, Debug)]
pub struct Cell {
    pub(crate) name: Arc<str>,
    pub(crate) revision: Revision,
    pub(crate) clock_ms: u64,
    pub(crate) generation: Generation,
    pub(crate) feature_level: FeatureLevel,
    pub(crate) config: Arc<CellConfig>,
    pub(crate) jobs: OrdMap<JobUid, Arc<Job>>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) last_node: NodeId,
    pub(crate) shards: OrdMap<ShardId, Arc<Shard>>,
    pub(crate) last_shard: ShardId,
    pub(crate) shard_list_version: Revision,
    pub(crate) requests: RequestTable,
    pub(crate) task_transitions: u64,
    pub(crate) refused_entries: u64,
    pub(crate) indexes: Indexes,
}

impl Cell {
    /// An empty cell, before the first entry.
    #[must_use]
    pub fn genesis(name: &str) -> Self {
        Self {
            name: name.into(),
            revision: Revision(0),
            clock_ms: 0,
            generation: Generation(0),
            feature_level: crate::FEATURE_LEVEL_FIRST,
            config: Arc::default(),
            jobs: OrdMap::new(),
            nodes: OrdMap::new(),
            last_node: NodeId(0),
            shards: OrdMap::new(),
            last_shard: ShardId(0),
            shard_list_version: Revision(0),
            requests: RequestTable::default(),
            task_transitions: 0,
            refused_entries: 0,
            indexes: Indexes::default(),
        }
    }

    /// The name of the cell.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last entry that was applied.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The cell clock, in milliseconds of ticked time.
    #[must_use]
    pub const fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Raised by restores.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The committed level of behaviour.
    #[must_use]
    pub const fn feature_level(&self) -> FeatureLevel {
        self.feature_level
    }

    /// What the cell is set to.
    #[must_use]
    pub fn config(&self) -> &CellConfig {
        &self.config
    }

    /// How many tasks were ever moved to assigned, running or an end of an attempt.
    #[must_use]
    pub const fn task_transitions(&self) -> u64 {
        self.task_transitions
    }

    /// How many entries could not be read or were above the feature level.
    #[must_use]
    pub const fn refused_entries(&self) -> u64 {
        self.refused_entries
    }

    /// One job.
    #[must_use]
    pub fn job(&self, uid: JobUid) -> Option<&Job> {
        self.jobs.get(&uid).map(Arc::as_ref)
    }

    /// The newest job of a name, ended or not.
    #[must_use]
    pub fn job_by_name(&self, name: &str) -> Option<&Job> {
        self.job(self.indexes.newest_of_name(name)?)
    }

    /// The job of a name that has not ended.
    #[must_use]
    pub fn live_job_by_name(&self, name: &str) -> Option<&Job> {
        // A name is free only when its newest job has ended, so no older one can be live.
        self.job_by_name(name).filter(|job| !job.state.is_terminal())
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> + '_ {
        self.jobs.values().map(Arc::as_ref)
    }

    /// How many jobs there are.
    #[must_use]
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// How many tasks there are, those of ended jobs included.
    #[must_use]
    pub const fn task_count(&self) -> u64 {
        self.indexes.tasks
    }

    /// Jobs that have tasks waiting, oldest first.
    pub fn pending_jobs(&self) -> impl Iterator<Item = &Job> + '_ {
        self.indexes.pending_jobs.iter().filter_map(|uid| self.job(*uid))
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(Arc::as_ref)
    }

    /// The node of a name.
    #[must_use]
    pub fn node_by_name(&self, name: &NodeName) -> Option<&Node> {
        self.node(*self.indexes.node_names.get(name)?)
    }

    /// All nodes by number.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.values().map(Arc::as_ref)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// What is on a node, as runs of equal tasks by job and attempt: what a full set of orders is made of.
    pub fn node_runs(&self, id: NodeId) -> impl Iterator<Item = NodeRun> + '_ {
        let runs = self.node(id).map_or(&[][..], |node| node.assigned.runs());
        runs.iter().filter_map(|run| Some((run, self.job(run.job)?))).flat_map(|(run, job)| {
            job.task_runs_in(run.tasks).map(|(tasks, task)| NodeRun { job: run.job, tasks, task })
        })
    }

    /// The shards by number.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> + '_ {
        self.shards.values().map(Arc::as_ref)
    }

    /// The shard of a name.
    #[must_use]
    pub fn shard_by_name(&self, name: &ShardName) -> Option<&Shard> {
        self.shards().find(|shard| shard.name == *name)
    }

    /// The revision at which the list of shards changed last.
    #[must_use]
    pub const fn shard_list_version(&self) -> Revision {
        self.shard_list_version
    }

    /// Whether anything can expire, so that the clock has to move.
    #[must_use]
    pub fn wants_tick(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether the answer to a request is recorded: then it must be given again, whatever may be said of the
    /// request today.
    #[must_use]
    pub fn knows_request(&self, id: &crate::command::RequestId) -> bool {
        self.requests.knows(id)
    }

    /// The shortest time that a job with tasks on this node waits when the node is silent; nothing where all wait for
    /// ever, or nothing is there.
    #[must_use]
    pub fn patience_ms(&self, id: NodeId) -> Option<u64> {
        let runs = self.node(id)?.assigned.runs();
        let patience = |uid: JobUid| self.job(uid).and_then(|job| job.spec.patience_ms());
        runs.chunk_by(|a, b| a.job == b.job).filter_map(|runs| patience(runs[0].job)).min()
    }

    /// How many request ids are recorded.
    #[must_use]
    pub const fn request_records(&self) -> u64 {
        self.requests.records()
    }

    /// Jobs that have ended and can be handed to history, in the order in which they ended; at most 1,024.
    #[must_use]
    pub fn retirable(&self) -> Vec<JobUid> {
        self.indexes.ended.iter().map(|(_, uid)| *uid).take(RETIRE_BATCH).collect()
    }
}
