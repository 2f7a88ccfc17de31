//! Who died by itself, and who comes back when.
//!
//! A process that ends with nobody's doing is a violation: production has a bug, or the simulation lies to it. Only a
//! disk that failed, filled or was cut excuses a master, and only in the life in which it did.

use super::{DiskMark, Seat, World};
use crate::clock;
use crate::disk::{CrashKind, Faults};
use crate::hosts::Lives;

/// A process that ended by itself is started again after this, as a supervisor of services would.
const RESTART_MS: u64 = 500;
/// A life that did no more than this to its disk was still reading it back.
const RECOVERY_OPERATIONS: u64 = 12;

impl World {
    /// Processes that aborted or ended, and machines whose power went at an operation of their disk, are taken away and
    /// come back a little later.
    pub(super) fn bury(&mut self, now: u64) {
        let why = |lives: &Lives| lives.power().reason().or_else(|| lives.ended());
        let is_cut = |name: &str| self.disk_of(name).is_some_and(|disk| disk.is_cut());
        let up = self.lives.iter().filter(|(name, _)| !self.down.contains_key(*name));
        let dead: Vec<(String, bool, Option<String>)> = up
            .map(|(name, lives)| (name, is_cut(name), why(lives)))
            .filter(|(_, cut, why)| *cut || why.is_some())
            .map(|(name, cut, why)| (name.clone(), cut, why))
            .collect();
        for (name, cut, why) in dead {
            if cut {
                self.note_cut(&name);
                self.cut_power(&name, RESTART_MS);
            } else if let Some(why) = why {
                self.bury_one(&name, &why, now);
            }
        }
    }

    fn bury_one(&mut self, name: &str, why: &str, now: u64) {
        self.trace.event(name, format_args!("died: {why}"));
        self.trace.count("died_by_itself", 1);
        if !self.is_excused(name) {
            self.trace.violation("no-death-without-cause", format_args!("{name}: {why}"));
        }
        self.sim.crash(name);
        self.crash_disk(name, CrashKind::Kill);
        self.down.insert(name.to_owned(), now + RESTART_MS);
    }

    /// Whether the disk of a master has failed in its present life, or is one that lies.
    fn is_excused(&self, name: &str) -> bool {
        let Some(Seat::Master(seat)) = self.seats.get(name) else { return false };
        let Some(disk) = seat.medium.disk() else { return true };
        let begun = self.disks.get(name).copied().unwrap_or_default();
        disk.errors() > begun.errors
    }

    fn note_cut(&self, name: &str) {
        let begun = self.disks.get(name).copied().unwrap_or_default();
        let done = self.disk_of(name).map_or(0, |disk| disk.operations()).saturating_sub(begun.operations);
        if begun.operations > 0 && done <= RECOVERY_OPERATIONS {
            self.trace.sometimes("a recovery from a crash was cut short");
        }
        self.trace.sometimes("the power went at an operation of a disk");
    }

    /// What the disk of a master loses with its process.
    pub(super) fn crash_disk(&mut self, name: &str, kind: CrashKind) {
        let Some(disk) = self.disk_of(name) else { return };
        let loss = disk.crash(kind);
        if !loss.is_nothing() {
            self.trace.sometimes("a crash lost unsynced bytes");
            self.trace.event(name, loss);
        }
    }

    /// A host that is down comes back.
    pub(super) fn start(&mut self, name: &str) {
        self.down.remove(name);
        self.judge.up(name, true);
        self.judge.powered(name);
        if let Some(cut) = self.dark.remove(name) {
            self.links.lift(&self.sim, cut);
        }
        if let Some(disk) = self.disk_of(name) {
            // Whoever starts a machine again has made room on its disk before.
            disk.set_faults(Faults::default());
            self.sick_disks.remove(name);
            let mark = DiskMark { operations: disk.operations(), errors: disk.errors() };
            self.disks.insert(name.to_owned(), mark);
        }
        self.sim.bounce(name);
    }

    /// A host has just gone down.
    pub(super) fn note_points(&self) {
        let mut masters = self.seats.iter().filter(|(_, seat)| matches!(seat, Seat::Master(_)));
        if masters.all(|(name, _)| self.down.contains_key(name)) {
            self.trace.sometimes("all masters were down at once");
        }
        let mut shards = self.seats.iter().filter(|(_, seat)| matches!(seat, Seat::Shard));
        if shards.all(|(name, _)| self.down.contains_key(name)) {
            self.trace.sometimes("all shards were down at once");
        }
    }

    /// A host goes down now and comes back later.
    pub(super) fn take_down(&mut self, name: &str, back_after_ms: u64) {
        self.sim.crash(name);
        self.down.insert(name.to_owned(), clock::now_ms() + back_after_ms);
        self.judge.up(name, false);
        self.note_points();
    }
}
