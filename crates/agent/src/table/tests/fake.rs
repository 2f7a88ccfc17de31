//! A node in a test: the table, its storage folded in memory, and a runtime that does what it is told.

use std::collections::{BTreeMap, BTreeSet};

use paceline_link::message::{Desired, JobBody, Lease as Granted, OrderRun, OrderSet, Orders, Report};
use paceline_rules::JobSpec;
use paceline_runtime::Lease;
use paceline_types::{
    Attempt, AttemptId, ExitStatus, FenceToken, Generation, JobUid, NodeEpoch, Reason, Resources, Revision,
    SpecVersion, TaskIndex, Term,
};

use crate::table::{Action, AgentTable, Decision, End, ResyncCause, Seen, Stored, TableLimits};

pub const GRACE_MS: u64 = 700;
pub const EXITED: End = End { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };

pub fn job(number: u64) -> JobUid {
    JobUid { revision: Revision(number), ordinal: 0 }
}

pub fn id(task: u32, attempt: u32) -> AttemptId {
    AttemptId { job: job(1), task: TaskIndex(task), attempt: Attempt(attempt) }
}

pub fn token(term: u64, revision: u64) -> FenceToken {
    FenceToken { generation: Generation(0), term: Term(term), revision: Revision(revision) }
}

pub fn body() -> JobBody {
    JobBody { job: job(1), version: SpecVersion(1), spec: b"j".to_vec() }
}

pub fn order(attempt: AttemptId, desired: Desired) -> OrderRun {
    let tasks = [attempt.task].into_iter().collect();
    OrderRun { job: attempt.job, attempt: attempt.attempt, tasks, desired }
}

pub fn run(attempt: AttemptId, assigned: u64) -> OrderRun {
    order(attempt, Desired::Run { assigned: Revision(assigned) })
}

pub fn stop(attempt: AttemptId) -> OrderRun {
    order(attempt, Desired::Stop { grace_ms: 50 })
}

pub fn diff(token: FenceToken, runs: Vec<OrderRun>) -> Orders {
    Orders { token, set: OrderSet::Diff, jobs: vec![body()], runs }
}

pub fn full(token: FenceToken, runs: Vec<OrderRun>) -> Orders {
    Orders { set: OrderSet::Full { first: true, last: true }, ..diff(token, runs) }
}

/// The same orders, of a job whose tasks need a lease.
pub fn leased_body(orders: Orders) -> Orders {
    Orders { jobs: vec![JobBody { spec: b"leased".to_vec(), ..body() }], ..orders }
}

pub fn decode(bytes: &[u8]) -> Result<JobSpec, String> {
    let name = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut spec = JobSpec::batch(name, 100, &["/bin/true"], Resources::new(1, 1));
    spec.template.grace_ms = GRACE_MS;
    if name == "leased" {
        (spec.name, spec.at_most_one) = ("j".to_owned(), true);
    }
    Ok(spec)
}

pub fn limits() -> TableLimits {
    TableLimits { attempts: 40, launches_in_flight: 3, ..TableLimits::default() }
}

/// What the fake runtime has of an attempt.
#[derive(Clone, Debug, Default)]
pub struct Process {
    pub stops: Vec<u64>,
    pub running: bool,
    pub end: Option<End>,
    pub lease: Option<Lease>,
}

pub struct Node {
    pub table: AgentTable,
    pub stored: Stored,
    pub processes: BTreeMap<AttemptId, Process>,
    /// Launches that the table asked for and the runtime has not answered.
    pub in_flight: Vec<AttemptId>,
    pub ever_launched: BTreeSet<AttemptId>,
    pub resyncs: Vec<ResyncCause>,
    pub leases_told: usize,
}

impl Node {
    /// A node whose session was welcomed.
    pub fn new() -> Self {
        let mut node = Self {
            table: AgentTable::new(limits(), decode),
            stored: Stored::default(),
            processes: BTreeMap::new(),
            in_flight: Vec::new(),
            ever_launched: BTreeSet::new(),
            resyncs: Vec::new(),
            leases_told: 0,
        };
        node.connect();
        node
    }

    pub fn connect(&mut self) {
        self.table.on_session();
        let decision = self.table.on_welcome(NodeEpoch(1));
        self.carry_out(&decision);
    }

    pub fn carry_out(&mut self, decision: &Decision) {
        decision.changes.iter().for_each(|change| self.stored.apply(change));
        for action in &decision.actions {
            match action {
                Action::Launch { attempt, spec } => {
                    assert_eq!(spec.name, "j");
                    assert!(self.ever_launched.insert(*attempt), "{attempt} was launched twice");
                    self.in_flight.push(*attempt);
                }
                Action::Stop { attempt, grace_ms } => {
                    let process = self.processes.get_mut(attempt).expect("only what runs is stopped");
                    process.stops.push(*grace_ms);
                }
                Action::Forget { attempt } => {
                    let process = self.processes.remove(attempt).expect("only what is there is forgotten");
                    assert!(process.end.is_some(), "{attempt} was forgotten before it ended");
                }
                Action::Renew { attempt, lease } => {
                    let process = self.processes.get_mut(attempt).expect("only what is there is renewed");
                    process.lease = Some(*lease);
                    self.leases_told += 1;
                }
                Action::Resync(cause) => self.resyncs.push(*cause),
            }
        }
    }

    pub fn granted(&mut self, lease: &Granted) {
        let decision = self.table.on_lease(lease);
        self.carry_out(&decision);
    }

    pub fn order(&mut self, orders: &Orders) -> Decision {
        let decision = self.table.on_orders(orders);
        self.carry_out(&decision);
        decision
    }

    /// The runtime takes on what is in flight, and the processes run.
    pub fn launch_all(&mut self) {
        while !self.in_flight.is_empty() {
            let attempt = self.in_flight.remove(0);
            self.launched(attempt);
            self.runs(attempt);
        }
    }

    pub fn launched(&mut self, attempt: AttemptId) {
        self.processes.insert(attempt, Process::default());
        let decision = self.table.on_launched(attempt, true);
        self.carry_out(&decision);
    }

    pub fn runs(&mut self, attempt: AttemptId) {
        self.processes.get_mut(&attempt).expect("launched").running = true;
        self.observe(attempt);
    }

    pub fn exits(&mut self, attempt: AttemptId, end: End) {
        self.processes.get_mut(&attempt).expect("launched").end = Some(end);
        self.observe(attempt);
    }

    fn seen(process: &Process) -> Seen {
        match process.end {
            Some(end) => Seen::Ended(end),
            None if process.running => Seen::Running { pid: 7 },
            None => Seen::Starting,
        }
    }

    pub fn observe(&mut self, attempt: AttemptId) {
        let seen = Self::seen(&self.processes[&attempt]);
        let decision = self.table.on_observed(attempt, seen);
        self.carry_out(&decision);
    }

    /// The agent is killed and comes back. Launches that the runtime had not taken on are gone with it.
    pub fn restart(&mut self) {
        for attempt in std::mem::take(&mut self.in_flight) {
            self.ever_launched.remove(&attempt);
        }
        let seen = self.processes.iter().map(|(&attempt, process)| (attempt, Self::seen(process))).collect();
        let (table, decision) = AgentTable::recover(limits(), decode, self.stored.clone(), seen);
        self.table = table;
        self.carry_out(&decision);
    }

    pub fn reports(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.table.next_report()).collect()
    }

    pub fn acknowledge(&mut self, sequence: u64) {
        let decision = self.table.on_acknowledge(sequence);
        self.carry_out(&decision);
    }

    /// Attempts whose processes live.
    pub fn live(&self) -> Vec<AttemptId> {
        let live = self.processes.iter().filter(|(_, process)| process.end.is_none());
        live.map(|(&attempt, _)| attempt).collect()
    }

    pub fn stops(&self, attempt: AttemptId) -> &[u64] {
        &self.processes[&attempt].stops
    }
}

/// Everything that reports say ended.
pub fn ends(reports: &[Report]) -> Vec<(AttemptId, End)> {
    let mut found = Vec::new();
    for run in reports.iter().flat_map(|report| &report.runs) {
        if let paceline_link::message::Observed::Ended { status, reason } = run.observed {
            let end = End { status, reason };
            let ids = run.tasks.iter().map(|task| AttemptId { job: run.job, task, attempt: run.attempt });
            found.extend(ids.map(|attempt| (attempt, end)));
        }
    }
    found
}
