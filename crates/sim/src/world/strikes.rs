//! What is done to hosts, links and disks, and how everything is made whole again.

use std::time::Duration;

use bytes::Bytes;
use paceline_replica::Folder;

use super::{Seat, World};
use crate::clock;
use crate::disk::{CrashKind, Faults, Operation, SlowSync};
use crate::links::Way;
use crate::shape::Shape;

/// A snapshot on its way from another master has this in the name of its file.
const INCOMING: &str = ".incoming";
/// Operations that the disk of a master does while it takes over a snapshot: writes, syncs, a rename, removals.
const INSTALL_OPERATIONS_MAX: u64 = 12;
/// Room on a disk that is nearly full: the master takes no changes from clients and goes on by itself.
const NEARLY_FULL_BYTES: u64 = 64 << 20;

impl World {
    /// Kills a process; its machine lives, so its connections are closed and its disk keeps everything.
    pub fn kill(&mut self, name: &str, back_after_ms: u64) {
        if !self.is_up(name) {
            return;
        }
        self.trace.event(name, format_args!("is killed, back in {back_after_ms} ms"));
        self.trace.count("kills", 1);
        self.take_down(name, back_after_ms);
        self.crash_disk(name, CrashKind::Kill);
    }

    /// A machine loses its power: connections hang, unsynced bytes and running tasks are gone.
    pub fn cut_power(&mut self, name: &str, back_after_ms: u64) {
        if !self.is_up(name) {
            return;
        }
        self.trace.event(name, format_args!("loses its power, back in {back_after_ms} ms"));
        self.trace.count("power_cuts", 1);
        let cut = self.links.cut(&self.sim, &[name.to_owned()], &self.hosts(), Way::Drop);
        self.dark.insert(name.to_owned(), cut);
        self.take_down(name, back_after_ms);
        self.crash_disk(name, CrashKind::PowerCut);
        match self.seats.get(name) {
            Some(Seat::Master(seat)) if seat.medium.disk().is_none() => {
                seat.medium.power_cut(&mut self.draw);
            }
            Some(Seat::Agent(seat)) => {
                seat.storage.power_cut(&mut self.draw);
                seat.machine.power_cut();
                self.judge.machine(&seat.machine);
                self.judge.powerless(name);
            }
            Some(Seat::Master(_) | Seat::Shard | Seat::Client) | None => {}
        }
    }

    /// The power of a master goes at one of the next operations of its disk.
    pub fn cut_at_operation(&mut self, name: &str, operations: u64) {
        if let Some(disk) = self.disk_of(name).filter(|_| self.is_up(name)) {
            self.trace.event(name, format_args!("loses its power in {operations} operations of its disk"));
            disk.cut_after(operations, CrashKind::PowerCut);
        }
    }

    /// The power of a master goes while it takes over the next snapshot that another one sends.
    pub fn cut_next_install(&mut self, name: &str, within_ms: u64) {
        self.trace.event(name, "loses its power with the next snapshot that it is sent");
        self.cut_installs.insert(name.to_owned(), clock::now_ms() + within_ms);
    }

    /// The next such operation of the disk of a master fails.
    pub fn fail_disk(&mut self, name: &str, operation: Operation) {
        if let Some(disk) = self.disk_of(name).filter(|_| self.is_up(name)) {
            self.trace.event(name, format_args!("the next {operation:?} of its disk fails"));
            disk.fail_next(operation);
        }
    }

    /// The disk of a master is full for a while, or nearly so.
    pub fn fill_disk(&mut self, name: &str, nearly: bool, for_ms: u64) {
        let words = if nearly { "nearly full" } else { "full" };
        let room = if nearly { NEARLY_FULL_BYTES } else { 0 };
        self.sicken(name, words, for_ms, |used| Faults {
            capacity_bytes: Some(if nearly { used + room } else { 0 }),
            ..Faults::default()
        });
    }

    /// Syncs of the disk of a master take their time for a while.
    pub fn slow_disk(&mut self, name: &str, permille: u64, longest_ms: u64, for_ms: u64) {
        let longest = Duration::from_millis(longest_ms);
        let faults = |_| Faults { slow_sync: Some(SlowSync { permille, longest }), ..Faults::default() };
        self.sicken(name, "slow", for_ms, faults);
    }

    fn sicken(&mut self, name: &str, words: &str, for_ms: u64, faults: impl FnOnce(u64) -> Faults) {
        let Some(disk) = self.disk_of(name).filter(|_| self.is_up(name)) else { return };
        self.trace.event(name, format_args!("its disk is {words} for {for_ms} ms"));
        disk.set_faults(faults(disk.used_bytes()));
        self.sick_disks.insert(name.to_owned(), clock::now_ms() + for_ms);
    }

    /// Disks get well when their time is over, and a master that is being sent a snapshot is cut where that was planned.
    pub(super) fn look_at_disks(&mut self, now: u64) {
        let well: Vec<String> = self
            .sick_disks
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in well {
            self.sick_disks.remove(&name);
            if let Some(disk) = self.disk_of(&name) {
                self.trace.event(&name, "its disk is well again");
                disk.set_faults(Faults::default());
            }
        }
        self.cut_installs.retain(|_, until| *until > now);
        let armed: Vec<String> = self.cut_installs.keys().filter(|name| self.is_up(name)).cloned().collect();
        for name in armed {
            let Some(Seat::Master(seat)) = self.seats.get(&name) else { continue };
            let Some(disk) = seat.medium.disk() else { continue };
            if disk.names(Folder::Snapshots).iter().any(|file| file.contains(INCOMING)) {
                self.cut_installs.remove(&name);
                let operations = self.draw.between(1, INSTALL_OPERATIONS_MAX);
                self.trace.sometimes("a master lost its power as a snapshot came");
                self.cut_at_operation(&name, operations);
            }
        }
    }

    /// Cuts links for a while.
    pub fn cut(&mut self, from: &[String], to: &[String], way: Way, for_ms: u64) {
        let id = self.links.cut(&self.sim, from, to, way);
        let (from, to) = (from.join(" "), to.join(" "));
        self.trace.event("net", format_args!("cut {id} {way:?} of [{from}] from [{to}] for {for_ms} ms"));
        self.trace.count("cuts", 1);
        self.cuts.push((clock::now_ms() + for_ms, id));
    }

    /// A process stands still for a while: see `hosts::clock`.
    pub fn pause(&mut self, name: &str, for_ms: u64) {
        let Some(lives) = self.lives.get(name).filter(|_| self.is_up(name)) else { return };
        self.trace.event(name, format_args!("is paused for {for_ms} ms"));
        self.trace.count("pauses", 1);
        lives.clock().advance(for_ms);
        let hosts = self.hosts();
        self.cut(&[name.to_owned()], &hosts, Way::Hold, for_ms);
    }

    /// Somebody sets the wall clock of a host.
    pub fn set_wall(&mut self, name: &str, off_by_ms: i64) {
        let Some(lives) = self.lives.get(name) else { return };
        self.trace.event(name, format_args!("its wall clock is off by {off_by_ms} ms"));
        self.trace.sometimes("a wall clock jumped");
        lives.clock().set_wall(off_by_ms);
    }

    /// The clocks of a host run fast for a while.
    pub fn drift(&mut self, name: &str, permille: u64, for_ms: u64) {
        self.trace.event(name, format_args!("its clocks are {permille} in 1000 fast for {for_ms} ms"));
        self.drifts.insert(name.to_owned(), (permille, clock::now_ms() + for_ms));
    }

    /// Clocks that run fast gain what they do in `passed_ms`.
    pub(super) fn drift_on(&mut self, now: u64, passed_ms: u64) {
        self.drifts.retain(|_, (_, until)| *until > now);
        for (name, (permille, _)) in &self.drifts {
            if let Some(lives) = self.lives.get(name).filter(|_| !self.down.contains_key(name)) {
                lives.clock().advance(passed_ms * permille / 1_000);
            }
        }
    }

    /// Puts bytes before the leader that no service would propose.
    pub fn propose(&mut self, name: &str, payload: Bytes) {
        if let Some(Seat::Master(seat)) = self.seats.get(name) {
            self.trace.event(name, format_args!("proposes {payload:02x?}"));
            seat.door.put(payload);
        }
    }

    /// Messages get lost: a link fails at so many in a million messages, and may be whole again at the next one.
    pub fn lose(&mut self, per_million: u32) {
        self.trace.event("net", format_args!("loses {per_million} in a million"));
        self.sim.set_fail_rate(f64::from(per_million) / 1e6);
        self.is_lossy = per_million > 0;
    }

    /// The slowest message takes this long from now on; usually it is not above `usual_max_ms`.
    pub fn slow(&mut self, latency_max_ms: u64, usual_max_ms: u64) {
        self.trace.event("net", format_args!("is slow: up to {latency_max_ms} ms"));
        self.is_slow = latency_max_ms > usual_max_ms;
        self.sim.set_max_message_latency(Duration::from_millis(latency_max_ms));
    }

    /// Everything is whole again and everybody comes back at once.
    pub fn heal(&mut self, shape: &Shape) {
        self.trace.event("net", "heals");
        self.judge.healed();
        (self.is_lossy, self.is_slow) = (false, false);
        self.sim.set_fail_rate(0.0);
        self.sim.set_max_message_latency(Duration::from_millis(shape.latency_max_ms));
        self.cuts.clear();
        self.dark.clear();
        self.links.heal(&self.sim);
        self.cut_installs.clear();
        self.drifts.clear();
        self.sick_disks.clear();
        for name in self.hosts() {
            if let Some(disk) = self.disk_of(&name) {
                disk.forgive();
                disk.set_faults(Faults::default());
            }
        }
        for name in self.down.keys().cloned().collect::<Vec<_>>() {
            self.start(&name);
        }
    }
}
