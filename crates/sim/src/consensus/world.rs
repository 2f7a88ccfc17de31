//! The world of one seed: hosts, network and disks, moved on one tick at a time.
//!
//! It starts, crashes and restarts hosts, makes calls, and judges the end. What strikes when is `faults`' business, who
//! joins and leaves `membership`'s, what must hold `checks`' and the ledger's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use paceline_replica::{MemoryHistory, ServerRole};
use parking_lot::Mutex;

use super::checks::{Checks, Known};
use super::faults::Cut;
use super::host::{Changed, Command, Seat, Stage};
use super::ledger::Ledger;
use super::links::Links;
use super::machine::REGISTERS;
use super::membership::Change;
use super::plan::{Plan, Rate, Switch};
use crate::clock;
use crate::disk::{CrashKind, Faults, SimDisk, SlowSync};
use crate::draw::Draw;
use crate::trace::Trace;

/// One step of virtual time: a twenty-fifth of the default heartbeat, so that order within a tick hardly matters.
pub const TICK: Duration = Duration::from_millis(2);
/// Rates are per so many ticks.
const RATE_TICKS: u64 = 100_000;
/// A cell that was just begun has a leader within ten seconds.
const BIRTH_TICKS: u64 = 5_000;
/// A healed cell serves and has caught up within thirty seconds: the longest deadline that anything waits for on a
/// network that works is ten (a piece of a snapshot), and dials give up after five.
const HEAL_TICKS: u64 = 15_000;
/// How often the driver looks whether a healed cell serves.
const LOOK_TICKS: u64 = 25;
/// More than any run takes: turmoil's own limit is not ours.
const SIMULATION_LIMIT: Duration = Duration::from_secs(3_600);

/// A host and what the driver knows about it.
pub struct Host {
    /// What outlives its processes.
    pub seat: Seat,
    /// Its process runs.
    pub up: bool,
    /// How often it was started.
    pub lives: u64,
    /// Its disk was damaged at rest.
    pub damaged: bool,
    /// Changes of its disk that had failed before its present life.
    pub errors_before: u64,
    /// It refused its disk.
    pub broken: bool,
    /// It is no master any more and never comes back.
    pub gone: bool,
    /// When it starts again.
    pub restart_at: Option<u64>,
    /// When it is taken away for good.
    pub retire_at: Option<u64>,
}

/// Everything.
pub struct World {
    pub(super) sim: turmoil::Sim<'static>,
    pub(super) plan: Arc<Plan>,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) trace: Trace,
    pub(super) links: Links,
    pub(super) tick: u64,
    pub(super) cut: Option<Cut>,
    pub(super) change: Option<Change>,
    pub(super) changes: Arc<Mutex<Vec<Changed>>>,
    pub(super) slow_until: Option<(u64, String, String)>,
    ledger: Ledger,
    checks: Checks,
    draws: BTreeMap<&'static str, Draw>,
    calls: u64,
}

impl World {
    /// The world of a plan, with its first masters.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let replica_bug = match plan.switch {
            Some(Switch::Replica(bug)) => Some(bug),
            _ => None,
        };
        paceline_replica::plant::plant(replica_bug);
        let sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .simulation_duration(SIMULATION_LIMIT)
            .min_message_latency(Duration::from_micros(500))
            .max_message_latency(Duration::from_millis(plan.latency_ms))
            .tcp_capacity(4_096)
            .rng_seed(plan.seed)
            .build();
        let mut world = Self {
            sim,
            hosts: BTreeMap::new(),
            ledger: Ledger::new(trace.clone()),
            checks: Checks::new(trace.clone()),
            trace,
            links: Links::default(),
            tick: 0,
            cut: None,
            change: None,
            changes: Arc::default(),
            slow_until: None,
            draws: BTreeMap::new(),
            calls: 0,
            plan: Arc::new(plan),
        };
        for raft_id in 1..=world.plan.masters {
            world.add_host(raft_id);
        }
        world
    }

    /// Birth, faults, healing, and once more after a blackout.
    pub fn run(mut self) -> turmoil::Result {
        if !self.begin()? {
            self.trace.violation("begins", "no leader within ten seconds of the beginning");
            return Ok(());
        }
        for _ in 0..self.plan.fault_ticks {
            self.step()?;
            self.call();
            self.strike();
            self.change_masters();
        }
        self.heal();
        if !self.serves_again()? {
            return Ok(());
        }
        self.trace.event("world", "one last blackout");
        self.blackout();
        self.heal();
        self.serves_again()?;
        self.judge();
        Ok(())
    }

    /// A stream of choices of its own for each purpose.
    pub fn draw(&mut self, purpose: &'static str) -> &mut Draw {
        let seed = self.plan.seed;
        self.draws.entry(purpose).or_insert_with(|| Draw::new(seed).part(purpose))
    }

    /// Whether something that happens at a rate happens now.
    pub fn happens(&mut self, purpose: &'static str, rate: Rate) -> bool {
        rate > 0 && self.draw(purpose).between(0, RATE_TICKS - 1) < rate
    }

    /// A new master on an empty disk; returns its name.
    pub fn add_host(&mut self, raft_id: u64) -> String {
        let name = format!("m{}", self.hosts.len() + 1);
        let disk = SimDisk::new(&name, Draw::new(self.plan.seed).part("disk").part(&name));
        let seat = Seat {
            name: name.clone(),
            raft_id,
            disk,
            history: MemoryHistory::new(),
            plan: self.plan.clone(),
            ledger: self.ledger.clone(),
            links: self.links.clone(),
            trace: self.trace.clone(),
            life: Arc::default(),
            disk_id: Arc::default(),
            changes: self.changes.clone(),
        };
        let (host_seat, disk) = (seat.clone(), seat.disk.clone());
        self.sim.host(name.as_str(), move || host_seat.clone().live());
        let host = Host {
            seat,
            up: true,
            lives: 1,
            damaged: false,
            errors_before: 0,
            broken: false,
            gone: false,
            restart_at: None,
            retire_at: None,
        };
        disk.set_faults(self.steady_faults());
        self.hosts.insert(name.clone(), host);
        self.trace.event(&name, format_args!("starts with Raft id {raft_id}"));
        name
    }

    /// What disks do all the time under this plan.
    fn steady_faults(&self) -> Faults {
        let longest = Duration::from_millis(self.plan.slow_sync_ms);
        let slow_sync = SlowSync { permille: self.plan.slow_syncs_permille, longest };
        let lying_sync = self.plan.switch == Some(Switch::LyingSync);
        Faults { slow_sync: Some(slow_sync), lying_sync, ..Faults::default() }
    }

    fn begin(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let all_open = |world: &Self| world.hosts.values().all(|host| host.seat.member().is_some());
        if !self.until(BIRTH_TICKS, all_open)? {
            return Ok(false);
        }
        let members = self.hosts.values().filter_map(|host| host.seat.member()).collect();
        self.tell("m1", Command::Initialize(members));
        self.until(BIRTH_TICKS, |world| world.leading().is_some())
    }

    fn until(
        &mut self,
        ticks: u64,
        reached: impl Fn(&Self) -> bool,
    ) -> Result<bool, Box<dyn std::error::Error>> {
        for _ in 0..ticks {
            if reached(self) {
                return Ok(true);
            }
            self.step()?;
        }
        Ok(reached(self))
    }

    /// One tick: the hosts run, those that died are buried, all is checked, and those that are due start again.
    fn step(&mut self) -> turmoil::Result {
        self.sim.step()?;
        self.tick += 1;
        clock::set_now(self.sim.elapsed());
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for name in &names {
            self.bury(name);
            let host = &self.hosts[name];
            if host.up && !host.broken {
                let Host { lives: life, damaged, errors_before, .. } = *host;
                self.checks.look(&host.seat, Known { life, damaged, errors_before });
                self.notice_refusal(name);
            }
        }
        for name in &names {
            let host = &self.hosts[name];
            if host.retire_at.is_some_and(|at| at <= self.tick) {
                self.retire(name);
            } else if host.restart_at.is_some_and(|at| at <= self.tick) {
                self.restart(name);
            }
        }
        Ok(())
    }

    /// A process that lost its power by itself, or its disk, is cleared away and starts again soon.
    fn bury(&mut self, name: &str) {
        let host = &self.hosts[name];
        if !host.up {
            return;
        }
        let reason = host.seat.life.lock().power.reason();
        let cut = host.seat.disk.is_cut();
        if reason.is_none() && !cut {
            return;
        }
        let explained = cut || host.seat.disk.errors() > host.errors_before || host.damaged;
        if let Some(reason) = &reason {
            self.trace.event(name, format_args!("ends itself: {reason}"));
            if !explained {
                self.trace.violation("no-death-without-cause", format_args!("{name}: {reason}"));
            }
        }
        self.trace.count("deaths", 1);
        self.crash(name, CrashKind::Kill);
    }

    fn notice_refusal(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("hosts stay");
        let stage = host.seat.life.lock().stage.clone();
        if let Stage::Refused(reason) = stage {
            if host.seat.disk.errors() > host.errors_before {
                // The disk failed while it was opened: the process ends, and whoever runs it starts it again.
                self.trace.event(name, format_args!("cannot open its disk: {reason}"));
                self.crash(name, CrashKind::Kill);
                return;
            }
            host.broken = true;
            self.trace.event(name, format_args!("refuses its disk: {reason}"));
            self.trace.count("refused_disks", 1);
            self.trace.sometimes("a damaged disk was refused");
        }
    }

    /// Ends the process of a host; it starts again after a while.
    pub fn crash(&mut self, name: &str, kind: CrashKind) {
        let after = self.draw("restart").one_of(&[1, 20, 100, 500, 1_500]);
        let tick = self.tick;
        let host = self.hosts.get_mut(name).expect("only hosts that exist are crashed");
        if !host.up {
            return;
        }
        host.up = false;
        host.restart_at = (!host.broken && !host.gone).then_some(tick + after);
        let (loss, power) = (host.seat.disk.crash(kind), host.seat.life.lock().power.clone());
        power.cut("crashed");
        self.sim.crash(name);
        // The handles go only now: their runtime is gone.
        *host.seat.life.lock() = super::host::Life { power, ..Default::default() };
        if !loss.is_nothing() {
            self.trace.sometimes("a crash lost unsynced bytes");
        }
        self.trace.count("crashes", 1);
        self.trace.event(name, loss);
    }

    fn restart(&mut self, name: &str) {
        let faults = self.steady_faults();
        let others: Vec<_> = self.hosts.keys().cloned().collect();
        // A machine that comes back resets what it does not know.
        for other in &others {
            self.links.reset(name, other);
        }
        let host = self.hosts.get_mut(name).expect("hosts stay");
        host.restart_at = None;
        host.seat.disk.set_faults(faults);
        if host.up || host.gone || host.broken {
            return;
        }
        host.up = true;
        host.lives += 1;
        host.errors_before = host.seat.disk.errors();
        self.trace.event(name, "starts again");
        self.sim.bounce(name);
    }

    /// Takes a host away for good.
    pub fn retire(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("hosts stay");
        (host.gone, host.retire_at, host.restart_at) = (true, None, None);
        self.trace.event(name, "is taken away");
        self.crash(name, CrashKind::PowerCut);
    }

    /// All processes lose their power at once.
    pub fn blackout(&mut self) {
        for name in self.up() {
            self.crash(&name, CrashKind::PowerCut);
        }
    }

    /// The hosts that run.
    pub fn up(&self) -> Vec<String> {
        let up = self.hosts.values().filter(|host| host.up && !host.broken);
        up.map(|host| host.seat.name.clone()).collect()
    }

    /// A host that leads and may act.
    pub fn leading(&self) -> Option<String> {
        let leads = |host: &&Host| {
            host.up && host.seat.life.lock().status.as_ref().is_some_and(|status| status.borrow().leading)
        };
        self.hosts.values().find(leads).map(|host| host.seat.name.clone())
    }

    /// Those who believe that they lead.
    pub fn leaders(&self) -> Vec<String> {
        let leads = |host: &&Host| {
            let life = host.seat.life.lock();
            host.up && life.status.as_ref().is_some_and(|status| status.borrow().role == ServerRole::Leader)
        };
        self.hosts.values().filter(leads).map(|host| host.seat.name.clone()).collect()
    }

    /// Puts a command into a host's inbox; a host that is down or does not keep up never hears of it.
    pub fn tell(&self, name: &str, command: Command) -> bool {
        let life = self.hosts[name].seat.life.lock();
        life.inbox.as_ref().is_some_and(|inbox| inbox.try_send(command).is_ok())
    }

    /// A client calls, mostly whoever leads, sometimes anyone.
    fn call(&mut self) {
        let (rate, reads) = (self.plan.calls, self.plan.reads_permille);
        if !self.happens("call", rate) {
            return;
        }
        let (leaders, up) = (self.leaders(), self.up());
        let longest = self.plan.payload_bytes;
        let draw = self.draw("client");
        let anyone = leaders.is_empty() || draw.chance(100);
        let whom = if anyone { up } else { leaders };
        let (register, is_read) = (draw.between(0, u64::from(REGISTERS) - 1) as u8, draw.chance(reads));
        let bytes = draw.between(0, longest) as usize;
        if !whom.is_empty() {
            let name = self.draw("client").one_of(&whom);
            self.make_call(&name, register, is_read, bytes);
        }
    }

    fn make_call(&mut self, name: &str, register: u8, is_read: bool, bytes: usize) {
        self.calls += 1;
        let call = self.calls;
        self.ledger.begin(call);
        let command =
            if is_read { Command::Read { call, register } } else { Command::Write { call, register, bytes } };
        self.tell(name, command);
    }

    /// Everything that was broken is mended, but what is damaged stays damaged.
    fn heal(&mut self) {
        self.trace.event("world", "all is healed");
        self.mend_network();
        for host in self.hosts.values_mut() {
            if !host.up && !host.gone && !host.broken {
                host.restart_at = Some(self.tick + 1);
            }
            host.seat.disk.forgive();
        }
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                self.links.reset(one, other);
            }
        }
    }

    /// Within the bound a write commits and every member has it.
    fn serves_again(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let (began, floor) = (self.tick, self.ledger.floor());
        for _ in 0..HEAL_TICKS / LOOK_TICKS {
            for _ in 0..LOOK_TICKS {
                self.step()?;
            }
            let Some(leader) = self.leading() else { continue };
            let target = self.ledger.floor();
            if target > floor && self.has_everywhere(&leader, target) {
                let took_ms = (self.tick - began) * 2;
                self.trace.event("world", format_args!("serves again after {took_ms} ms"));
                self.trace.count("healed_ms", took_ms);
                return Ok(true);
            }
            if target <= floor {
                self.make_call(&leader, 0, false, 16);
            }
        }
        let standing: Vec<_> = self
            .hosts
            .values()
            .map(|host| {
                let life = host.seat.life.lock();
                let status = life.status.as_ref().map(|status| status.borrow().clone());
                let words = status.map(|s| {
                    format!("{:?} term {} applied {:?} log {:?}", s.role, s.term, s.applied, s.last_log)
                });
                format!("{}: {}", host.seat.name, words.unwrap_or_else(|| "down".into()))
            })
            .collect();
        let what = format_args!("not within {} s of healing: {}", HEAL_TICKS / 500, standing.join("; "));
        self.trace.violation("serves-again", what);
        Ok(false)
    }

    fn has_everywhere(&self, leader: &str, revision: u64) -> bool {
        let status =
            self.hosts[leader].seat.life.lock().status.as_ref().map(|status| status.borrow().clone());
        let Some(status) = status else { return false };
        status.members.iter().all(|member| {
            let host = &self.hosts[&member.name];
            let life = host.seat.life.lock();
            let applied = life.status.as_ref().and_then(|status| status.borrow().applied);
            host.broken || host.gone || host.up && applied >= Some(revision)
        })
    }

    /// What was acknowledged is there, on every master.
    fn judge(&mut self) {
        let acknowledged = self.ledger.acknowledged_writes();
        for host in self.hosts.values().filter(|host| host.up && !host.broken && !host.gone) {
            let state = host.seat.life.lock().published.lock().clone();
            let journal: BTreeMap<_, _> = state.journal.iter().copied().collect();
            for (call, revision) in acknowledged.iter().filter(|(_, revision)| *revision <= state.applied) {
                if journal.get(call) != Some(revision) {
                    let what = format_args!("{} has call {call} not at {revision}", host.seat.name);
                    self.trace.violation("nothing-acknowledged-is-lost", what);
                }
            }
        }
        self.trace.count("terms_led", self.checks.terms_led() as u64);
        self.trace.count("hosts", self.hosts.len() as u64);
        let operations: u64 = self.hosts.values().map(|host| host.seat.disk.operations()).sum();
        self.trace.count("disk_operations", operations);
    }
}
