//! The cell on turmoil: builds its hosts, moves time tick by tick, kills, cuts and brings back.
//!
//! It decides nothing about what happens when; plans do. What a process needs to outlive itself is in its seat. Who dies
//! and comes back is in `burial`, what is done to hosts, links and disks in `strikes`.

mod burial;
mod strikes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use paceline_identity::Role;
use paceline_master::Door;
use paceline_replica::MemoryHistory;
use paceline_shard::ShardLimits;
use paceline_types::Resources;
use turmoil::Sim;

use crate::clock;
use crate::disk::SimDisk;
use crate::draw::Draw;
use crate::hosts::{AgentSeat, AgentStorage, Lives, MasterSeat, ShardSeat};
use crate::judge::Judge;
use crate::keys::Keys;
use crate::links::Links;
use crate::machine::Machine;
use crate::medium::{LyingMedium, Medium};
use crate::shape::Shape;
use crate::trace::Trace;

/// One step of the simulation: a tenth of the shortest heartbeat in use. Each visits every host, so half of it costs twice.
pub const TICK: Duration = Duration::from_millis(2);
/// Between two readings of the machines' journals: far below the time in which a cell can react to what they say.
const LOOK_MS: u64 = 20;
/// Longer than any run: the driver decides when it is over.
const DURATION_MAX: Duration = Duration::from_secs(1 << 20);
/// Segments of one connection under way, and connections that wait for one listener: more than any role has.
const TCP_SEGMENTS: usize = 1_024;
/// Memory of every node: tasks are placed by CPU.
const NODE_MEMORY_BYTES: u64 = 64 << 30;

/// What is behind a host.
enum Seat {
    Master(MasterSeat),
    Shard,
    Agent(AgentSeat),
    Client,
}

/// What a disk had been through at some moment.
#[derive(Debug, Clone, Copy, Default)]
struct DiskMark {
    operations: u64,
    errors: u64,
}

/// A cell under simulation.
pub struct World {
    sim: Sim<'static>,
    seats: BTreeMap<String, Seat>,
    lives: BTreeMap<String, Lives>,
    /// When hosts that are down come back.
    down: BTreeMap<String, u64>,
    /// What the disks of masters had been through when their present lives began.
    disks: BTreeMap<String, DiskMark>,
    /// Masters whose next snapshot from another one is to be cut in the middle, and how long they are gone then.
    cut_installs: BTreeMap<String, u64>,
    /// Disks that are full or slow, and until when.
    sick_disks: BTreeMap<String, u64>,
    is_lossy: bool,
    is_slow: bool,
    /// Hosts whose clocks run fast: by how many in a thousand, and until when.
    drifts: BTreeMap<String, (u64, u64)>,
    /// When the journals of machines are read next.
    next_look_ms: u64,
    /// Cuts that end by themselves.
    cuts: Vec<(u64, u64)>,
    /// The cut around a machine without power: it says no goodbye.
    dark: BTreeMap<String, u64>,
    links: Links,
    draw: Draw,
    trace: Trace,
    judge: Judge,
    keys: Keys,
}

impl World {
    /// A cell of this shape, about to start.
    ///
    /// # Errors
    /// Its certificates cannot be made.
    pub fn new(seed: u64, shape: &Shape, trace: &Trace) -> Result<Self> {
        let draw = Draw::new(seed);
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(draw.part("network").word())
            .epoch(UNIX_EPOCH + Duration::from_secs(clock::WALL_START_UNIX_S))
            .tick_duration(TICK)
            .simulation_duration(DURATION_MAX)
            .tcp_capacity(TCP_SEGMENTS)
            .enable_random_order()
            .min_message_latency(Duration::from_millis(shape.latency_min_ms))
            .max_message_latency(Duration::from_millis(shape.latency_max_ms));
        let mut world = Self {
            sim: builder.build(),
            seats: BTreeMap::new(),
            lives: BTreeMap::new(),
            down: BTreeMap::new(),
            disks: BTreeMap::new(),
            cut_installs: BTreeMap::new(),
            sick_disks: BTreeMap::new(),
            is_lossy: false,
            is_slow: false,
            drifts: BTreeMap::new(),
            next_look_ms: 0,
            cuts: Vec::new(),
            dark: BTreeMap::new(),
            links: Links::default(),
            draw: draw.part("world"),
            judge: Judge::new(trace.clone()),
            trace: trace.clone(),
            keys: Keys::new()?,
        };
        for (at, name) in shape.master_names().into_iter().enumerate() {
            world.add_master(shape, at, name)?;
        }
        for name in shape.shard_names() {
            world.add_shard(shape, name);
        }
        for name in shape.agent_names() {
            world.add_agent(shape, name)?;
        }
        Ok(world)
    }

    fn lives_of(&mut self, name: &str) -> Lives {
        let lives = Lives::new(name, self.trace.clone());
        self.lives.insert(name.to_owned(), lives.clone());
        lives
    }

    fn add_master(&mut self, shape: &Shape, at: usize, name: String) -> Result<()> {
        let others = || shape.master_names().into_iter().filter(|other| *other != name).collect();
        let medium: Arc<dyn Medium> = if shape.lying_disks {
            Arc::new(LyingMedium::default())
        } else {
            Arc::new(SimDisk::new(&name, self.draw.part(&format!("disk of {name}"))))
        };
        let seat = MasterSeat {
            raft_id: at as u64 + 1,
            founders: (at == 0).then(others),
            timings: shape.timings,
            log: shape.log,
            medium,
            history: MemoryHistory::new(),
            credentials: self.keys.issue(Role::Master, &name)?,
            identity: self.keys.injected(Role::Master, &name),
            lives: self.lives_of(&name),
            judge: self.judge.clone(),
            door: Door::default(),
            name: name.clone(),
        };
        let software = seat.clone();
        self.sim.host(name.as_str(), move || software.clone().live());
        self.seats.insert(name, Seat::Master(seat));
        Ok(())
    }

    fn add_shard(&mut self, shape: &Shape, name: String) {
        let seat = ShardSeat {
            masters: shape.master_names(),
            limits: ShardLimits::default(),
            seed: self.draw.word(),
            identity: self.keys.injected(Role::Shard, &name),
            lives: self.lives_of(&name),
            name: name.clone(),
        };
        self.sim.host(name.as_str(), move || seat.clone().live());
        self.seats.insert(name, Seat::Shard);
    }

    fn add_agent(&mut self, shape: &Shape, name: String) -> Result<()> {
        let seat = AgentSeat {
            shards: shape.shard_names(),
            masters: shape.master_names(),
            capacity: Resources::new(shape.node_cpu_milli, NODE_MEMORY_BYTES),
            timings: shape.agent_timings,
            seed: self.draw.word(),
            storage: AgentStorage::new(&mut self.draw),
            machine: Machine::new(&name),
            credentials: self.keys.issue(Role::Agent, &name)?,
            lives: self.lives_of(&name),
            name: name.clone(),
        };
        let software = seat.clone();
        self.sim.host(name.as_str(), move || software.clone().live());
        self.seats.insert(name, Seat::Agent(seat));
        Ok(())
    }

    /// A host of a client program.
    pub fn add_client<F>(&mut self, name: &str, software: impl Fn() -> F + 'static)
    where
        F: Future<Output = turmoil::Result> + 'static,
    {
        self.sim.host(name, software);
        self.seats.insert(name.to_owned(), Seat::Client);
    }

    /// The certificates of the cell.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who judges what is seen of it.
    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Every host, by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.seats.keys().cloned().collect()
    }

    /// Moves time by one tick, then clears away what died in it and brings back what is due.
    ///
    /// # Errors
    /// A host's own plumbing failed: a port that is taken, a certificate that cannot be read.
    pub fn step(&mut self) -> Result<()> {
        self.sim.step().map_err(|error| anyhow!("{error}"))?;
        clock::set_now(self.sim.elapsed());
        let now = clock::now_ms();
        self.move_machines(now);
        self.look_at_disks(now);
        self.bury(now);
        while let Some(at) = self.cuts.iter().position(|(until, _)| *until <= now) {
            let (_, id) = self.cuts.remove(at);
            self.trace.event("net", format_args!("cut {id} is lifted"));
            self.links.lift(&self.sim, id);
        }
        let due: Vec<String> =
            self.down.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.start(&name);
        }
        Ok(())
    }

    /// What runs on machines goes on, whether their agents live or not; now and then their journals are read.
    fn move_machines(&mut self, now: u64) {
        let look = now >= self.next_look_ms;
        for seat in self.seats.values() {
            let Seat::Agent(AgentSeat { machine, .. }) = seat else { continue };
            machine.advance();
            if look {
                self.judge.machine(machine);
            }
        }
        if look {
            self.next_look_ms = now + LOOK_MS;
            self.drift_on(now, LOOK_MS);
            self.judge.broken(self.is_broken());
        }
    }

    /// Whether anything is, so that a node may not be heard.
    fn is_broken(&self) -> bool {
        !(self.down.is_empty() && self.cuts.is_empty() && self.dark.is_empty() && self.sick_disks.is_empty())
            || self.is_lossy
            || self.is_slow
    }

    /// Whether a host is up.
    #[must_use]
    pub fn is_up(&self, name: &str) -> bool {
        !self.down.contains_key(name)
    }

    /// The disk of a master, where it is one that fails like a real one.
    fn disk_of(&self, name: &str) -> Option<SimDisk> {
        match self.seats.get(name) {
            Some(Seat::Master(seat)) => seat.medium.disk(),
            _ => None,
        }
    }
}
