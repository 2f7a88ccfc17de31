//! A model of the cell, as simple as can be: one job, one assignment per task, reports that only move forward.

use std::collections::BTreeMap;

use paceline_link::message::{
    Desired, Hello, JobBody, Observed, OrderRun, ReportRun, ShardAddress, ShardList,
};
use paceline_link::{Assigned, Known, NodeRecord, Standing};
use paceline_types::{
    AgentInstance, Attempt, BootId, FenceToken, Generation, IndexRange, IndexSet, JobUid, LinkSession,
    NodeEpoch, NodeId, NodeName, Resources, Revision, ShardId, ShardName, SpecVersion, TaskIndex, Term,
};

pub const JOB: JobUid = JobUid { revision: Revision(1), ordinal: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Assigned,
    Running,
    Stopping,
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub attempt: Attempt,
    pub node: NodeId,
    pub assigned: Revision,
    pub state: State,
}

/// The applied state, and the term of whoever leads.
#[derive(Debug, Default)]
pub struct Cell {
    pub term: Term,
    pub revision: Revision,
    pub nodes: BTreeMap<NodeName, NodeRecord>,
    pub tasks: BTreeMap<TaskIndex, Task>,
    pub shards: ShardList,
    /// The specification of the job.
    pub body: Vec<u8>,
}

impl Cell {
    pub fn with_shards(names: &[&str]) -> Self {
        let mut cell = Self::default();
        for name in names {
            cell.register_shard(&shard(name), &address(name));
        }
        cell
    }

    fn step(&mut self) -> Revision {
        self.revision = self.revision.next();
        self.revision
    }

    pub fn register_shard(&mut self, name: &ShardName, address: &str) {
        self.shards.version = self.step();
        let id = ShardId(u32::try_from(self.shards.shards.len()).expect("few"));
        self.shards.shards.push(ShardAddress { id, name: name.clone(), address: address.to_owned() });
    }

    pub fn remove_shard(&mut self, name: &ShardName) {
        self.shards.version = self.step();
        self.shards.shards.retain(|shard| shard.name != *name);
    }

    /// Registers as the cell would: another instance is refused, another boot raises the epoch and ends what ran.
    pub fn register(&mut self, hello: &Hello) -> Result<(NodeId, NodeEpoch), String> {
        self.step();
        let next = NodeId(u32::try_from(self.nodes.len()).expect("few"));
        let old = self.nodes.get(&hello.node);
        if old.is_some_and(|old| old.instance != hello.instance && !old.replaceable) {
            return Err("another instance has the node".to_owned());
        }
        let (id, epoch) = match old {
            None => (next, NodeEpoch(1)),
            Some(old) if old.boot == hello.boot => (old.id, old.epoch),
            Some(old) => (old.id, old.epoch.next()),
        };
        let record = NodeRecord {
            id,
            epoch,
            instance: hello.instance,
            boot: hello.boot,
            capacity: hello.capacity,
            labels: hello.labels.clone(),
            capabilities: hello.capabilities.clone(),
            replaceable: false,
            lost: false,
        };
        self.nodes.insert(hello.node.clone(), record);
        Ok((id, epoch))
    }

    pub fn assign(&mut self, task: u32, node: NodeId) {
        let assigned = self.step();
        let index = TaskIndex(task);
        let attempt = self.tasks.get(&index).map_or(Attempt(1), |task| task.attempt.next());
        self.tasks.insert(index, Task { attempt, node, assigned, state: State::Assigned });
    }

    pub fn stop(&mut self, task: u32) {
        self.step();
        let task = self.tasks.get_mut(&TaskIndex(task)).expect("a task");
        if task.state != State::Ended {
            task.state = State::Stopping;
        }
    }

    /// Takes the task away without asking its agent, as a write-off would.
    pub fn take_away(&mut self, task: u32) {
        self.step();
        self.tasks.get_mut(&TaskIndex(task)).expect("a task").state = State::Ended;
    }

    /// Ends what is on a silent node, which is lost from then on.
    pub fn write_off(&mut self, name: &NodeName, epoch: NodeEpoch) {
        self.step();
        let Some(record) = self.nodes.get_mut(name).filter(|record| record.epoch == epoch) else { return };
        (record.epoch, record.lost) = (epoch.next(), true);
        for task in self.tasks.values_mut().filter(|task| task.node == record.id) {
            task.state = State::Ended;
        }
    }

    pub fn report(&mut self, node: NodeId, epoch: NodeEpoch, runs: &[ReportRun]) {
        self.step();
        if !self.nodes.values().any(|record| (record.id, record.epoch) == (node, epoch)) {
            return;
        }
        for run in runs {
            for index in run.tasks.iter() {
                let Some(task) = self.tasks.get_mut(&index) else { continue };
                if task.node != node || task.attempt != run.attempt || task.state == State::Ended {
                    continue;
                }
                task.state = match (run.observed, task.state) {
                    (Observed::Ended { .. }, _) => State::Ended,
                    (Observed::Running, State::Assigned) => State::Running,
                    (Observed::Running, state) => state,
                };
            }
        }
    }

    pub fn ended(&self, task: TaskIndex, attempt: Attempt) -> bool {
        self.tasks.get(&task).is_some_and(|t| t.attempt > attempt || t.state == State::Ended)
    }
}

impl Assigned for Cell {
    fn fence(&self) -> FenceToken {
        FenceToken { generation: Generation(0), term: self.term, revision: self.revision }
    }

    fn node(&self, name: &NodeName) -> Option<NodeRecord> {
        self.nodes.get(name).cloned()
    }

    fn orders(&self, node: NodeId) -> Vec<OrderRun> {
        let mine = self.tasks.iter().filter(|(_, task)| task.node == node && task.state != State::Ended);
        let run = |(index, task): (&TaskIndex, &Task)| OrderRun {
            job: JOB,
            attempt: task.attempt,
            tasks: IndexSet::from_iter([IndexRange::one(*index)]),
            desired: match task.state {
                State::Stopping => Desired::Stop { grace_ms: 1_000 },
                _ => Desired::Run { assigned: task.assigned },
            },
        };
        mine.map(run).collect()
    }

    fn body(&self, job: JobUid) -> Option<JobBody> {
        (job == JOB).then(|| JobBody { job, version: SpecVersion(1), spec: self.body.clone() })
    }

    fn known(&self, node: NodeId, job: JobUid, attempt: Attempt, task: TaskIndex) -> Known {
        let Some(known) = self.tasks.get(&task).filter(|_| job == JOB) else { return Known::Settled };
        if attempt > known.attempt {
            return Known::Newer;
        }
        if attempt < known.attempt || known.node != node {
            return Known::Settled;
        }
        match known.state {
            State::Assigned => Known::Assigned,
            State::Running => Known::Running,
            State::Stopping => Known::Stopping,
            State::Ended => Known::Settled,
        }
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.nodes.keys().cloned().collect()
    }

    fn standing(&self, name: &NodeName) -> Option<Standing> {
        let record = self.nodes.get(name)?;
        let there = |task: &&Task| task.node == record.id && task.state != State::Ended;
        let idle = !self.tasks.values().any(|task| there(&task));
        let patience_ms = (!idle).then_some(60_000);
        Some(Standing { id: record.id, epoch: record.epoch, lost: record.lost, idle, patience_ms })
    }

    fn domain(&self, _: &NodeName) -> Vec<Option<String>> {
        Vec::new()
    }

    fn shards(&self) -> ShardList {
        self.shards.clone()
    }
}

pub fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

pub fn shard(name: &str) -> ShardName {
    name.parse().expect("a name")
}

pub fn address(shard: &str) -> String {
    format!("{shard}:7000")
}

/// A Hello of a node with its first folder and boot.
pub fn hello(name: &str, session: u64) -> Hello {
    Hello {
        node: node(name),
        instance: AgentInstance([1; 16]),
        boot: BootId([1; 16]),
        epoch: NodeEpoch(0),
        session: LinkSession(session),
        fence: FenceToken::default(),
        capacity: Resources::new(4_000, 1 << 30),
        labels: BTreeMap::new(),
        capabilities: Vec::new(),
        certificate_der: Vec::new(),
        signature: Vec::new(),
    }
}

pub fn run(tasks: &str, attempt: u32, observed: Observed) -> ReportRun {
    let tasks: IndexSet = tasks.parse().expect("indices");
    ReportRun { job: JOB, attempt: Attempt(attempt), tasks, observed, pids: Vec::new() }
}
