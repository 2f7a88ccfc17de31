//! A cell as the hub sees it.

use std::collections::BTreeMap;

use paceline_cell::Cell;
use paceline_link::message::{Desired, JobBody, OrderRun, ShardAddress, ShardList};
use paceline_link::{Assigned, Known, NodeRecord, Standing};
use paceline_types::{
    Attempt, FenceToken, IndexSet, JobUid, NodeId, NodeName, Revision, SpecVersion, TaskIndex, TaskState,
    Term,
};

/// The label that names failure domains.
pub const RACK: &str = "rack";

pub struct View<'a>(pub &'a Cell, pub Term);

impl Assigned for View<'_> {
    fn fence(&self) -> FenceToken {
        FenceToken { generation: self.0.generation(), term: self.1, revision: self.0.revision() }
    }

    fn node(&self, name: &NodeName) -> Option<NodeRecord> {
        let node = self.0.node_by_name(name)?;
        Some(NodeRecord {
            id: node.id,
            epoch: node.epoch,
            instance: node.instance,
            boot: node.boot,
            capacity: node.capacity,
            labels: node.agent_labels().clone(),
            capabilities: node.capabilities.to_vec(),
            replaceable: node.replaceable,
            lost: node.lost,
        })
    }

    fn orders(&self, node: NodeId) -> Vec<OrderRun> {
        let mut groups: BTreeMap<(JobUid, Attempt, Option<Revision>), Vec<TaskIndex>> = BTreeMap::new();
        for (uid, attempt, tasks) in self.0.node(node).into_iter().flat_map(|node| node.assignments()) {
            let job = self.0.job(uid).expect("there");
            for task in tasks.iter() {
                let view = job.task(task).expect("there");
                let start = (view.state != TaskState::Stopping).then_some(view.assigned);
                groups.entry((uid, attempt, start)).or_default().push(task);
            }
        }
        let run = |((job, attempt, start), tasks): ((JobUid, Attempt, Option<Revision>), Vec<TaskIndex>)| {
            OrderRun {
                job,
                attempt,
                tasks: tasks.into_iter().collect::<IndexSet>(),
                desired: start.map_or(Desired::Stop { grace_ms: 1 }, |assigned| Desired::Run { assigned }),
            }
        };
        groups.into_iter().map(run).collect()
    }

    fn body(&self, job: JobUid) -> Option<JobBody> {
        self.0.job(job).map(|_| JobBody { job, version: SpecVersion(1), spec: vec![1] })
    }

    fn known(&self, node: NodeId, job: JobUid, attempt: Attempt, task: TaskIndex) -> Known {
        let Some(view) = self.0.job(job).and_then(|job| job.task(task)) else { return Known::Settled };
        match view.state {
            _ if attempt != view.attempt || view.node != Some(node) => Known::Settled,
            TaskState::Assigned => Known::Assigned,
            TaskState::Running => Known::Running,
            TaskState::Stopping => Known::Stopping,
            _ => Known::Settled,
        }
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.0.nodes().map(|node| node.name.clone()).collect()
    }

    fn standing(&self, name: &NodeName) -> Option<Standing> {
        let node = self.0.node_by_name(name)?;
        let patience_ms = self.0.patience_ms(node.id);
        Some(Standing { id: node.id, epoch: node.epoch, lost: node.lost, idle: node.is_idle(), patience_ms })
    }

    fn domain(&self, name: &NodeName) -> Vec<Option<String>> {
        vec![self.0.node_by_name(name).and_then(|node| node.labels().get(RACK).cloned())]
    }

    fn shards(&self) -> ShardList {
        let shards = self.0.shards().map(|shard| ShardAddress {
            id: shard.id,
            name: shard.name.clone(),
            address: shard.address.to_string(),
        });
        ShardList { version: self.0.shard_list_version(), shards: shards.collect() }
    }
}
