//! The lives of hosts: how they are set up, end, come back and are taken away. When that strikes is `faults`' business.

use std::sync::Arc;
use std::time::Duration;

use paceline_replica::{Folder, MemoryHistory};

use super::host::{Life, Seat, Stage};
use super::world::{Host, World};
use crate::disk::{CrashKind, Faults, SimDisk, SlowSync};
use crate::draw::Draw;
use crate::plants::Switch;

/// How a file is called that a follower receives a snapshot into.
const INCOMING: &str = ".incoming";

impl World {
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
            connections: self.connections.clone(),
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
            was_damaged: false,
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

    /// A process that lost its power by itself, or its disk, is cleared away and starts again soon.
    pub(super) fn bury(&mut self, name: &str) {
        let host = &self.hosts[name];
        if !host.up {
            return;
        }
        let (reason, opening) = {
            let life = host.seat.life.lock();
            (life.power.reason(), life.stage != Stage::Running)
        };
        let cut = host.seat.disk.is_cut();
        if reason.is_none() && !cut {
            return;
        }
        if cut && opening && host.lives > 1 {
            self.trace.sometimes("a recovery was cut");
        }
        self.note_error(name);
        let host = &self.hosts[name];
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

    /// A process that ended of a failed write or sync.
    fn note_error(&self, name: &str) {
        let Host { seat, errors_before, .. } = &self.hosts[name];
        if seat.disk.errors() > *errors_before {
            self.trace.sometimes("a sync or write failed");
            if seat.disk.is_full() {
                self.trace.sometimes("a full disk ended a master");
            }
        }
    }

    pub(super) fn notice_refusal(&mut self, name: &str) {
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
            if reason.contains("gone back in time") {
                self.trace.sometimes("a disk that went back in time was refused");
            }
        }
    }

    /// Ends the process of a host; it starts again after a while.
    pub fn crash(&mut self, name: &str, kind: CrashKind) {
        self.note_transfer(name);
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
        *host.seat.life.lock() = Life { power, ..Default::default() };
        if !loss.is_nothing() {
            self.trace.sometimes("a crash lost unsynced bytes");
        }
        self.trace.count("crashes", 1);
        self.trace.event(name, loss);
    }

    /// A snapshot that is on its way when a process ends.
    fn note_transfer(&self, name: &str) {
        let receives = |host: &Host| host.up && host.seat.disk.has_file(Folder::Snapshots, INCOMING);
        if !self.hosts[name].up {
            return;
        }
        if receives(&self.hosts[name]) {
            self.trace.sometimes("a follower crashed while it took a snapshot");
        }
        let others = self.hosts.values().filter(|host| host.seat.name != name);
        if self.leading().as_deref() == Some(name) && others.into_iter().any(receives) {
            self.trace.sometimes("the leader crashed while a follower took a snapshot");
        }
    }

    pub(super) fn restart(&mut self, name: &str) {
        let faults = self.steady_faults();
        let others: Vec<_> = self.hosts.keys().cloned().collect();
        // A machine that comes back resets what it does not know.
        for other in &others {
            self.connections.reset(name, other);
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
        self.strike_recovery(name);
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
        self.trace.sometimes("all masters lost their power");
        for name in self.up() {
            self.crash(&name, CrashKind::PowerCut);
        }
    }
}
