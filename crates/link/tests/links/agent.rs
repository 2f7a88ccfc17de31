//! A model of an agent: a table that survives everything, a session that does not.

use std::collections::BTreeMap;

use paceline_link::fence_accepts;
use paceline_link::message::{
    AgentMessage, AgentOrder, Desired, Hello, Observed, OrderSet, Orders, Report, ReportRun,
};
use paceline_types::{
    Attempt, ExitStatus, FenceToken, IndexRange, IndexSet, LinkSession, Reason, Revision, TaskIndex,
};

use super::cell::{Cell, JOB, hello};

type Key = (TaskIndex, Attempt);

const OK: Observed = Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };
const KILLED: Observed = Observed::Ended { status: Some(ExitStatus::Signal(15)), reason: Reason::JobStopped };

#[derive(Debug)]
struct Record {
    observed: Observed,
    assigned: Revision,
    /// Under which sequence of the present session it was last reported.
    sequence: u64,
}

#[derive(Debug)]
pub struct Agent {
    pub name: String,
    pub session: u64,
    table: BTreeMap<Key, Record>,
    fence: FenceToken,
    sequence: u64,
    full: Option<Vec<Key>>,
    /// The present session heard its whole full set.
    pub has_full_set: bool,
}

impl Agent {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            session: 0,
            table: BTreeMap::new(),
            fence: FenceToken::default(),
            sequence: 0,
            full: None,
            has_full_set: false,
        }
    }

    /// Begins a session: Hello and the whole table, one attempt a report, so that cuts and merges have work.
    pub fn connect(&mut self) -> (Hello, Vec<AgentMessage>) {
        self.session += 1;
        self.sequence = 0;
        self.full = None;
        self.has_full_set = false;
        let hello = Hello { fence: self.fence, session: LinkSession(self.session), ..hello(&self.name, 0) };
        let keys: Vec<Key> = self.table.keys().copied().collect();
        let mut messages: Vec<_> = keys.into_iter().map(|key| self.report(Some(key), false)).collect();
        messages.push(self.report(None, true));
        (hello, messages)
    }

    fn report(&mut self, key: Option<Key>, table_complete: bool) -> AgentMessage {
        self.sequence += 1;
        let sequence = self.sequence;
        let run = |(task, attempt): Key| {
            let record = self.table.get_mut(&(task, attempt)).expect("a record");
            record.sequence = sequence;
            let tasks = IndexSet::from_iter([IndexRange::one(task)]);
            ReportRun { job: JOB, attempt, tasks, observed: record.observed, pids: Vec::new() }
        };
        AgentMessage::Report(Report { sequence, runs: key.into_iter().map(run).collect(), table_complete })
    }

    /// One attempt that runs ends by itself.
    pub fn finish_one(&mut self) -> Option<AgentMessage> {
        let (key, record) = self.table.iter_mut().find(|(_, record)| record.observed == Observed::Running)?;
        record.observed = OK;
        let key = *key;
        Some(self.report(Some(key), false))
    }

    pub fn hear(&mut self, order: AgentOrder, cell: &Cell) -> Vec<AgentMessage> {
        match order {
            AgentOrder::Orders(orders) => self.obey(orders),
            AgentOrder::Acknowledge { sequence } => {
                self.acknowledged(sequence, cell);
                Vec::new()
            }
            AgentOrder::Welcome { .. }
            | AgentOrder::Refused { .. }
            | AgentOrder::Shards(_)
            | AgentOrder::Lease(_) => Vec::new(),
        }
    }

    /// The invariant that matters most: what is acknowledged is in the cell.
    fn acknowledged(&mut self, sequence: u64, cell: &Cell) {
        assert!(sequence <= self.sequence, "acknowledged {sequence}, said only {}", self.sequence);
        let done = |record: &Record| {
            matches!(record.observed, Observed::Ended { .. })
                && record.sequence > 0
                && record.sequence <= sequence
        };
        for ((task, attempt), record) in self.table.iter().filter(|(_, record)| done(record)) {
            assert!(
                cell.ended(*task, *attempt),
                "{}: {task}.{attempt} {record:?} is not in the cell",
                self.name
            );
        }
        self.table.retain(|_, record| !done(record));
    }

    fn obey(&mut self, orders: Orders) -> Vec<AgentMessage> {
        if !fence_accepts(self.fence, orders.token) {
            return Vec::new();
        }
        self.fence = orders.token;
        let mut said = Vec::new();
        let mut named = Vec::new();
        for run in &orders.runs {
            for task in run.tasks.iter() {
                let key = (task, run.attempt);
                named.push(key);
                match run.desired {
                    Desired::Run { assigned } => said.extend(self.start(key, assigned)),
                    Desired::Stop { .. } => said.extend(self.end(key)),
                }
            }
        }
        if let OrderSet::Full { first, last } = orders.set {
            let mut set =
                if first { Vec::new() } else { self.full.take().expect("a first part came before") };
            set.extend(named);
            if last {
                self.has_full_set = true;
                said.extend(self.end_absent(&set, orders.token.revision));
            } else {
                self.full = Some(set);
            }
        }
        said
    }

    fn start(&mut self, key: Key, assigned: Revision) -> Option<AgentMessage> {
        if self.table.contains_key(&key) {
            return None;
        }
        self.table.insert(key, Record { observed: Observed::Running, assigned, sequence: 0 });
        Some(self.report(Some(key), false))
    }

    /// An attempt that is to stop ends; one that never was here is said to have ended.
    fn end(&mut self, key: Key) -> Option<AgentMessage> {
        let new = Record { observed: Observed::Running, assigned: Revision(0), sequence: 0 };
        let record = self.table.entry(key).or_insert(new);
        if record.observed != Observed::Running {
            return None;
        }
        record.observed = KILLED;
        Some(self.report(Some(key), false))
    }

    fn end_absent(&mut self, set: &[Key], revision: Revision) -> Vec<AgentMessage> {
        let absent = |(key, record): (&Key, &Record)| {
            let unwanted =
                record.observed == Observed::Running && record.assigned <= revision && !set.contains(key);
            unwanted.then_some(*key)
        };
        let keys: Vec<Key> = self.table.iter().filter_map(absent).collect();
        keys.into_iter().filter_map(|key| self.end(key)).collect()
    }

    pub fn is_settled(&self) -> bool {
        self.table.is_empty() && self.has_full_set
    }
}
