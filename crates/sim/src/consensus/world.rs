//! The world of one seed: hosts, network and disks, moved on one tick at a time.
//!
//! What strikes when is `faults`' business, how hosts end and come back `lives`', what clients call `calls`', who joins
//! and leaves `membership`'s, what must hold `checks`' and the ledger's, and how it all ends `ending`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use paceline_replica::ServerRole;
use parking_lot::Mutex;

use super::checks::{Checks, Known};
use super::connections::Connections;
use super::faults::Cut;
use super::host::{Changed, Command, Seat, Stage};
use super::ledger::Ledger;
use super::membership::Change;
use super::plan::{Plan, Rate};
use crate::clock;
use crate::draw::Draw;
use crate::plants::plant_in_code;
use crate::trace::Trace;

/// One step of virtual time: a twenty-fifth of the default heartbeat, so that order within a tick hardly matters.
pub const TICK: Duration = Duration::from_millis(2);
/// Rates are per so many ticks.
const RATE_TICKS: u64 = 100_000;
/// A cell that was just begun has a leader within ten seconds.
const BIRTH_TICKS: u64 = 5_000;
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
    /// Its disk was damaged at rest, and it has not read it since.
    pub damaged: bool,
    /// Its disk was damaged at some time.
    pub was_damaged: bool,
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
    pub(super) connections: Connections,
    pub(super) tick: u64,
    pub(super) cut: Option<Cut>,
    /// Pairs without a link on a graph.
    pub(super) cut_pairs: BTreeSet<(String, String)>,
    /// The leader that is cut off for a moment.
    pub(super) deposed: Option<String>,
    /// Nothing strikes any more.
    pub(super) healing: bool,
    pub(super) change: Option<Change>,
    /// It was asked to remove itself.
    pub(super) leaving_leader: Option<String>,
    pub(super) changes: Arc<Mutex<Vec<Changed>>>,
    pub(super) slow_until: Option<(u64, String, String)>,
    pub(super) ledger: Ledger,
    pub(super) checks: Checks,
    draws: BTreeMap<&'static str, Draw>,
    pub(super) calls: u64,
}

impl World {
    /// The world of a plan, with its first masters.
    pub fn new(plan: Plan, trace: Trace) -> Self {
        plant_in_code(plan.switch);
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
            connections: Connections::default(),
            tick: 0,
            cut: None,
            cut_pairs: BTreeSet::new(),
            deposed: None,
            healing: false,
            change: None,
            leaving_leader: None,
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

    pub(super) fn begin(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let all_open = |world: &Self| world.hosts.values().all(|host| host.seat.member().is_some());
        if !self.until(BIRTH_TICKS, all_open)? {
            return Ok(false);
        }
        let members = self.hosts.values().filter_map(|host| host.seat.member()).collect();
        self.tell("m1", Command::Initialize(members));
        self.until(BIRTH_TICKS, |world| world.leading().is_some())
    }

    pub(super) fn until(
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

    /// Ends the damage of a host that has read its whole disk and serves: from here on nothing is excused by it.
    fn end_damage(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("hosts stay");
        if host.damaged && host.up && host.seat.life.lock().stage == Stage::Running {
            host.damaged = false;
        }
    }

    /// One tick: the hosts run, those that died are buried, all is checked, and those that are due start again.
    pub(super) fn step(&mut self) -> turmoil::Result {
        self.sim.step()?;
        self.tick += 1;
        clock::set_now(self.sim.elapsed());
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for name in &names {
            self.bury(name);
            self.end_damage(name);
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
}
