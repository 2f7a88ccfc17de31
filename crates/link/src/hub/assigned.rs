//! What the hub may ask of the leader's applied view. Implemented by `master` over the cell; the hub never sees a cell.

use std::collections::BTreeMap;

use paceline_types::{
    AgentInstance, Attempt, BootId, FenceToken, JobUid, NodeEpoch, NodeId, NodeName, Resources, TaskIndex,
};

use crate::message::{JobBody, OrderRun, ShardList};

/// The leader's applied view: everything in it comes from quorum-committed entries.
pub trait Assigned {
    /// Generation, the leader's term and the revision of this view. Never falls while a hub lives.
    fn fence(&self) -> FenceToken;
    /// The cell's record of a node.
    fn node(&self, name: &NodeName) -> Option<NodeRecord>;
    /// Everything that a node should have: a run per (job, attempt, desired), attempts that hold resources only.
    fn orders(&self, node: NodeId) -> Vec<OrderRun>;
    /// The body of a job that orders name.
    fn body(&self, job: JobUid) -> Option<JobBody>;
    /// What the cell knows of an attempt that this node speaks of.
    fn known(&self, node: NodeId, job: JobUid, attempt: Attempt, task: TaskIndex) -> Known;
    /// The names of all nodes of the cell. Asked once, when a leader takes office.
    fn nodes(&self) -> Vec<NodeName>;
    /// What depends on a node that is silent; nothing for one that the cell does not have.
    fn standing(&self, name: &NodeName) -> Option<Standing>;
    /// The values of the node's labels that name failure domains, widest first.
    fn domain(&self, name: &NodeName) -> Vec<Option<String>>;
    /// The shards of the cell.
    fn shards(&self) -> ShardList;
}

/// What the cell knows of an attempt, as far as a report of a given node could change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Assigned to this node; the cell has not heard of it since.
    Assigned,
    /// Known to run on this node.
    Running,
    /// Being stopped on this node.
    Stopping,
    /// Nothing that this node could say would change the cell: the attempt ended, a later one was assigned,
    /// it is another node's, or the job is gone.
    Settled,
    /// Newer than the view; the cell must be asked.
    Newer,
}

/// What the cell has on a node, as far as its silence is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub id: NodeId,
    /// Its epoch.
    pub epoch: NodeEpoch,
    /// It was written off and has not registered since.
    pub lost: bool,
    /// Nothing is on it.
    pub idle: bool,
    /// The shortest time that a job on it waits; nothing where all wait for ever.
    pub patience_ms: Option<u64>,
}

/// The cell's record of a node, as far as a Hello could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its number.
    pub id: NodeId,
    /// Its epoch.
    pub epoch: NodeEpoch,
    /// The agent's data folder.
    pub instance: AgentInstance,
    /// The kernel's boot id.
    pub boot: BootId,
    /// What the node offers.
    pub capacity: Resources,
    /// Labels of the agent, without those of operators.
    pub labels: BTreeMap<String, String>,
    /// What the node can enforce.
    pub capabilities: Vec<String>,
    /// An operator let another instance take the name (`node replace`): the next one that registers is it.
    pub replaceable: bool,
    /// It was written off and has not registered since.
    pub lost: bool,
}
