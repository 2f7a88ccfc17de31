//! The leader's applied view as the hub sees it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use paceline_api::encode_spec;
use paceline_cell::{Cell, Node};
use paceline_link::message::{Desired, JobBody, OrderRun, ShardAddress, ShardList};
use paceline_link::{Assigned, Known, NodeRecord, Standing};
use paceline_types::{
    Attempt, FenceToken, IndexSet, JobUid, NodeId, NodeName, Revision, TaskIndex, TaskState, Term,
};

/// A view and the term that orders made from it are fenced with.
pub(crate) struct AssignedView<'a> {
    cell: &'a Cell,
    term: Term,
    /// Specifications that were encoded already. One event of the hub may send a job to thousands of nodes.
    encoded: RefCell<BTreeMap<JobUid, Vec<u8>>>,
}

impl<'a> AssignedView<'a> {
    /// For one event: what was encoded for it is kept until it is dropped.
    pub(crate) fn new(cell: &'a Cell, term: Term) -> Self {
        Self { cell, term, encoded: RefCell::default() }
    }
}

impl Assigned for AssignedView<'_> {
    fn fence(&self) -> FenceToken {
        FenceToken { generation: self.cell.generation(), term: self.term, revision: self.cell.revision() }
    }

    fn node(&self, name: &NodeName) -> Option<NodeRecord> {
        self.cell.node_by_name(name).map(record)
    }

    fn orders(&self, node: NodeId) -> Vec<OrderRun> {
        /// Attempts that one order names: a stop, or a start at one revision.
        type Key = (JobUid, Attempt, Option<Revision>);
        let mut groups: BTreeMap<Key, Vec<TaskIndex>> = BTreeMap::new();
        let Some(node) = self.cell.node(node) else { return Vec::new() };
        for (uid, attempt, tasks) in node.assignments() {
            let Some(job) = self.cell.job(uid) else { continue };
            for task in tasks.iter() {
                if let Some(view) = job.task(task) {
                    let start = (view.state != TaskState::Stopping).then_some(view.assigned);
                    groups.entry((uid, attempt, start)).or_default().push(task);
                }
            }
        }
        let run = |((job, attempt, start), tasks): (Key, Vec<TaskIndex>)| {
            let desired = match start {
                Some(assigned) => Desired::Run { assigned },
                None => {
                    Desired::Stop { grace_ms: self.cell.job(job).map_or(0, |job| job.spec.template.grace_ms) }
                }
            };
            OrderRun { job, attempt, tasks: tasks.into_iter().collect::<IndexSet>(), desired }
        };
        groups.into_iter().map(run).collect()
    }

    fn body(&self, job: JobUid) -> Option<JobBody> {
        let found = self.cell.job(job)?;
        let mut encoded = self.encoded.borrow_mut();
        let spec = encoded.entry(job).or_insert_with(|| encode_spec(&found.spec)).clone();
        Some(JobBody { job, version: found.spec_version, spec })
    }

    fn known(&self, node: NodeId, job: JobUid, attempt: Attempt, task: TaskIndex) -> Known {
        if job.revision > self.cell.revision() {
            return Known::Newer;
        }
        let Some(view) = self.cell.job(job).and_then(|job| job.task(task)) else { return Known::Settled };
        if attempt > view.attempt {
            return Known::Newer;
        }
        match view.state {
            _ if attempt < view.attempt || view.node != Some(node) => Known::Settled,
            TaskState::Assigned => Known::Assigned,
            TaskState::Running => Known::Running,
            TaskState::Stopping => Known::Stopping,
            _ => Known::Settled,
        }
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.cell.nodes().map(|node| node.name.clone()).collect()
    }

    fn standing(&self, name: &NodeName) -> Option<Standing> {
        let node = self.cell.node_by_name(name)?;
        let patience_ms = self.cell.patience_ms(node.id);
        let &Node { id, epoch, lost, .. } = node;
        Some(Standing { id, epoch, lost, idle: node.is_idle(), patience_ms })
    }

    fn domain(&self, name: &NodeName) -> Vec<Option<String>> {
        let Some(node) = self.cell.node_by_name(name) else { return Vec::new() };
        let value = |label: &String| node.labels().get(label).cloned();
        self.cell.config().failure_domains.iter().map(value).collect()
    }

    fn shards(&self) -> ShardList {
        shard_list(self.cell)
    }
}

/// The cell's shards as agents are told.
pub(crate) fn shard_list(cell: &Cell) -> ShardList {
    let address = |shard: &paceline_cell::Shard| ShardAddress {
        id: shard.id,
        name: shard.name.clone(),
        address: shard.address.to_string(),
    };
    ShardList { version: cell.shard_list_version(), shards: cell.shards().map(address).collect() }
}

fn record(node: &Node) -> NodeRecord {
    NodeRecord {
        id: node.id,
        epoch: node.epoch,
        instance: node.instance,
        boot: node.boot,
        capacity: node.capacity,
        labels: node.agent_labels().clone(),
        capabilities: node.capabilities.to_vec(),
        replaceable: node.replaceable,
        lost: node.lost,
    }
}
