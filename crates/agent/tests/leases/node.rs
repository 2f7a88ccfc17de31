//! A machine, the tasks that pretend to run on it, and its agent's table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use paceline_agent::AgentTable;
use paceline_agent::table::{Action, Decision, End, Seen, Stored, TableLimits};
use paceline_link::message::{AgentMessage, AgentOrder, Hello};
use paceline_rules::{JobSpec, SIMULATED, Simulate};
use paceline_runtime::{ClockReading, Launch, Observed, Runtime, SimulatedNode, SimulatedRuntime};
use paceline_types::{
    AgentInstance, AttemptId, BootId, LEASE_ASK_EVERY_MS, LinkSession, NodeName, OnStop, Resources,
};

/// Far below the detection period.
const HEARTBEAT_MS: u64 = 2_000;
/// Tasks of the job.
pub const TASKS: u32 = 4;

/// A clock that does not go as fast as the world's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub began_ms: u64,
    pub permille: u64,
}

impl Clock {
    pub fn read(self, world_ms: u64) -> u64 {
        (world_ms - self.began_ms) * self.permille / 1_000
    }

    /// When it showed this.
    fn world_ms(self, reading: u64) -> u64 {
        self.began_ms + (reading * 1_000).div_ceil(self.permille)
    }
}

/// The one job: tasks that run for ever and ignore SIGTERM, of which no two attempts may run at once.
pub fn spec() -> JobSpec {
    let block = Simulate { on_stop: OnStop::Ignores, ..Simulate::lasting(1_000_000_000) };
    JobSpec {
        simulate: Some(block),
        at_most_one: true,
        replace_after_ms: Some(2_000),
        max_attempts: 1,
        ..JobSpec::batch("one", TASKS, &["/bin/true"], Resources::new(100, 10))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form that tables ask for")]
fn decode(_: &[u8]) -> Result<JobSpec, String> {
    Ok(spec())
}

/// A stretch of the world's time in which an attempt ran; open while it does.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub attempt: AttemptId,
    pub from_ms: u64,
    pub to_ms: Option<u64>,
}

pub struct Node {
    pub name: NodeName,
    at: u8,
    machine: SimulatedNode,
    runtime: SimulatedRuntime,
    reading: Arc<AtomicU64>,
    clock: Clock,
    boot: u8,
    table: AgentTable,
    stored: Stored,
    session: u64,
    ask_at_ms: u64,
    heard_ms: u64,
    seen: BTreeMap<AttemptId, Seen>,
    /// The agent stands still; what it is told waits.
    pub paused: bool,
    /// Nothing comes through in this direction; it is late, not lost.
    pub slow_up: bool,
    pub slow_down: bool,
    pub shard: Option<usize>,
    pub inbox: VecDeque<AgentOrder>,
    pub outbox: VecDeque<AgentMessage>,
    lives: Vec<Life>,
}

impl Node {
    pub fn new(at: u8, permille: u64) -> Self {
        let (machine, reading) = (SimulatedNode::new(), Arc::new(AtomicU64::new(0)));
        let runtime = runtime(&machine, &reading);
        Self {
            name: format!("n{at}").parse().unwrap(),
            at,
            machine,
            runtime,
            reading,
            clock: Clock { began_ms: 0, permille },
            boot: 1,
            table: AgentTable::new(TableLimits::default(), decode),
            stored: Stored::default(),
            session: 0,
            ask_at_ms: 0,
            heard_ms: 0,
            seen: BTreeMap::new(),
            paused: false,
            slow_up: false,
            slow_down: false,
            shard: None,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            lives: Vec::new(),
        }
    }

    /// The machine's time goes on, whatever its agent does.
    pub fn advance(&mut self, world_ms: u64) {
        let boot_ms = self.clock.read(world_ms);
        self.reading.store(boot_ms, Ordering::Relaxed);
        self.machine.advance(ClockReading { boot_ms, unix_ms: 0 });
        self.note_lives();
    }

    fn note_lives(&mut self) {
        let (clock, lives) = (self.clock, self.machine.take_lives());
        self.lives.retain(|life| life.to_ms.is_some());
        let world = |lived: &paceline_runtime::Lived| Life {
            attempt: lived.attempt,
            from_ms: clock.world_ms(lived.started_boot_ms),
            to_ms: lived.ended_boot_ms.map(|ended_ms| clock.world_ms(ended_ms)),
        };
        self.lives.extend(lives.ended.iter().chain(&lives.alive).map(world));
    }

    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub fn live(&self) -> impl Iterator<Item = AttemptId> {
        self.lives.iter().filter(|life| life.to_ms.is_none()).map(|life| life.attempt)
    }

    /// The agent begins a session through a shard.
    pub fn hello(&mut self, shard: usize, world_ms: u64) {
        self.session += 1;
        self.shard = Some(shard);
        (self.heard_ms, self.ask_at_ms) = (world_ms, 0);
        self.inbox.clear();
        self.outbox.clear();
        self.table.on_session();
        self.outbox.push_back(AgentMessage::Hello(Box::new(Hello {
            node: self.name.clone(),
            instance: AgentInstance([self.at; 16]),
            boot: BootId([self.boot; 16]),
            epoch: self.table.epoch(),
            session: LinkSession(self.session),
            fence: self.table.fence(),
            capacity: Resources::new(400, 400),
            labels: BTreeMap::new(),
            capabilities: vec![SIMULATED.to_owned()],
            certificate_der: Vec::new(),
            signature: Vec::new(),
        })));
    }

    /// The agent is killed and another one takes its place, without a session.
    pub fn restart(&mut self) {
        let attempts = self.runtime.attempts().unwrap().into_iter();
        let seen = attempts.map(|(attempt, observed)| (attempt, seen(&observed))).collect();
        self.runtime = runtime(&self.machine, &self.reading);
        let (table, decision) =
            AgentTable::recover(TableLimits::default(), decode, self.stored.clone(), seen);
        self.table = table;
        self.seen.clear();
        (self.paused, self.shard) = (false, None);
        self.inbox.clear();
        self.outbox.clear();
        self.carry_out(decision);
    }

    /// The machine loses its power and is booted anew.
    pub fn reboot(&mut self, world_ms: u64) {
        self.machine.reboot(ClockReading { boot_ms: self.clock.read(world_ms), unix_ms: 0 });
        self.note_lives();
        self.clock.began_ms = world_ms;
        self.reading.store(0, Ordering::Relaxed);
        self.boot += 1;
        self.restart();
    }

    /// The agent does what is to be done now.
    pub fn act(&mut self, world_ms: u64) {
        if self.paused {
            return;
        }
        while !self.slow_down
            && let Some(order) = self.inbox.pop_front()
        {
            self.hear(order);
        }
        for (attempt, observed) in self.runtime.attempts().unwrap() {
            let now = seen(&observed);
            if self.seen.insert(attempt, now) != Some(now) {
                let decision = self.table.on_observed(attempt, now);
                self.carry_out(decision);
            }
        }
        let decision = self.table.retry_stops();
        self.carry_out(decision);
        if self.shard.is_some() {
            self.speak(world_ms);
        }
    }

    fn speak(&mut self, world_ms: u64) {
        let boot_ms = self.runtime.boot_clock_ms();
        if self.table.wants_lease() && (self.table.wants_lease_now() || boot_ms >= self.ask_at_ms) {
            self.ask_at_ms = boot_ms + LEASE_ASK_EVERY_MS;
            let number = self.table.ask_lease(boot_ms);
            self.outbox.push_back(AgentMessage::LeaseRequest { number });
        }
        while let Some(report) = self.table.next_report() {
            self.outbox.push_back(AgentMessage::Report(report));
        }
        if world_ms - self.heard_ms >= HEARTBEAT_MS {
            self.heard_ms = world_ms;
            self.outbox.push_back(AgentMessage::Alive);
        }
    }

    fn hear(&mut self, order: AgentOrder) {
        let decision = match order {
            AgentOrder::Welcome { epoch, .. } => self.table.on_welcome(epoch),
            AgentOrder::Orders(orders) => self.table.on_orders(&orders),
            AgentOrder::Acknowledge { sequence } => self.table.on_acknowledge(sequence),
            AgentOrder::Lease(lease) => self.table.on_lease(&lease),
            AgentOrder::Refused { .. } => {
                self.shard = None;
                self.table.on_session();
                return;
            }
            AgentOrder::Shards(_) => return,
        };
        self.carry_out(decision);
    }

    fn carry_out(&mut self, decision: Decision) {
        decision.changes.iter().for_each(|change| self.stored.apply(change));
        for action in decision.actions {
            match action {
                Action::Launch { attempt, spec } => {
                    self.runtime.launch(&launch(attempt, &spec)).unwrap();
                    let decision = self.table.on_launched(attempt, true);
                    self.carry_out(decision);
                }
                Action::Stop { attempt, grace_ms } => {
                    let told = self.runtime.stop(&attempt, grace_ms);
                    self.table.on_stop_told(attempt, told.is_ok());
                }
                Action::Renew { attempt, lease } => self.runtime.renew_lease(&attempt, lease).unwrap(),
                Action::Forget { attempt } => {
                    self.runtime.forget(&attempt).unwrap();
                    self.seen.remove(&attempt);
                }
                Action::Resync(_) => {
                    self.shard = None;
                    self.table.on_session();
                }
            }
        }
    }
}

fn runtime(machine: &SimulatedNode, reading: &Arc<AtomicU64>) -> SimulatedRuntime {
    let reading = Arc::clone(reading);
    machine.runtime(move || ClockReading { boot_ms: reading.load(Ordering::Relaxed), unix_ms: 0 })
}

fn seen(observed: &Observed) -> Seen {
    match observed {
        Observed::Starting => Seen::Starting,
        Observed::Running { pid, .. } => Seen::Running { pid: *pid },
        Observed::Exited(exit) => Seen::Ended(End { status: Some(exit.status), reason: exit.reason }),
    }
}

fn launch(attempt: AttemptId, spec: &JobSpec) -> Launch {
    let task = spec.task(attempt.task);
    Launch {
        attempt,
        job_name: spec.name.clone(),
        task_count: spec.tasks,
        run: task.run,
        env: task.env,
        user: task.user,
        resources: task.resources,
        cpu_limit_milli: task.cpu_limit_milli,
        time_limit_ms: task.time_limit_ms,
        grace_ms: task.grace_ms,
        at_most_one: spec.at_most_one,
        script: spec.simulate.map(|block| block.script(attempt)),
    }
}
