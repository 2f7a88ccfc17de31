//! What strikes: processes, power, disks and the network, each at its rate.

use std::time::Duration;

use super::host::Command;
use super::machine::REGISTERS;
use super::world::World;
use crate::disk::{CrashKind, Damage, Faults, Operation};

/// How a network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// What is sent is lost; connections are reset at the end.
    Drop,
    /// What one side sends is lost.
    DropOneWay,
    /// What is sent arrives late, as from a network that sends lost segments again.
    Hold,
}

/// A cut network.
#[derive(Debug, Clone)]
pub struct Cut {
    how: How,
    pairs: Vec<(String, String)>,
    until: u64,
}

/// The longest cut: five seconds, several elections.
const CUT_TICKS_MAX: u64 = 2_500;

impl World {
    /// Lets every fault strike that is due.
    pub(super) fn strike(&mut self) {
        let plan = self.plan.clone();
        let rates = &plan.rates;
        if self.happens("kill", rates.kill) {
            self.crash_one("kill", CrashKind::Kill);
        }
        if self.happens("power", rates.power_cut) {
            self.crash_one("power", CrashKind::PowerCut);
        }
        if self.happens("cut", rates.cut_at_operation) {
            self.cut_one();
        }
        if self.happens("blackout", rates.blackout) {
            self.trace.event("world", "blackout");
            self.blackout();
        }
        if self.happens("damage", rates.damage) {
            self.damage_one();
        }
        if self.happens("error", rates.disk_error) {
            self.fail_one();
        }
        if self.happens("full", rates.disk_full) {
            self.fill_one();
        }
        self.strike_network();
        if self.happens("transfer", rates.transfer) {
            self.tell_leader("transfer", Command::Transfer(None));
        }
        if self.happens("snapshot", rates.snapshot)
            && let Some(name) = self.someone("snapshot")
        {
            self.tell(&name, Command::Snapshot);
            self.strike_snapshot(&name);
        }
    }

    fn tell_leader(&mut self, purpose: &'static str, command: Command) {
        let leaders = self.leaders();
        if !leaders.is_empty() {
            let name = self.draw(purpose).one_of(&leaders);
            self.tell(&name, command);
        }
    }

    fn someone(&mut self, purpose: &'static str) -> Option<String> {
        let up = self.up();
        (!up.is_empty()).then(|| self.draw(purpose).one_of(&up))
    }

    fn crash_one(&mut self, purpose: &'static str, kind: CrashKind) {
        if let Some(name) = self.someone(purpose) {
            self.crash(&name, kind);
        }
    }

    /// The power goes, or the process dies, at one of the next operations of its disk.
    fn cut_one(&mut self) {
        let Some(name) = self.someone("cut") else { return };
        let draw = self.draw("cut");
        let operations = draw.between(1, 40);
        let kind = draw.one_of(&[CrashKind::PowerCut, CrashKind::PowerCut, CrashKind::Kill]);
        self.hosts[&name].seat.disk.cut_after(operations, kind);
        self.trace.event(&name, format_args!("{kind:?} in {operations} operations"));
    }

    fn fail_one(&mut self) {
        let Some(name) = self.someone("error") else { return };
        let operation = self.draw("error").one_of(&[
            Operation::WriteKeys,
            Operation::SyncKeys,
            Operation::SyncKeys,
            Operation::WriteFile,
            Operation::SyncFile,
            Operation::SyncFile,
            Operation::ChangeName,
            Operation::SyncFolder,
        ]);
        self.hosts[&name].seat.disk.fail_next(operation);
        self.trace.event(&name, format_args!("the next {operation:?} fails"));
    }

    fn fill_one(&mut self) {
        let Some(name) = self.someone("full") else { return };
        // Its next start finds room again: somebody made some.
        let full = Faults { capacity_bytes: Some(0), ..Faults::default() };
        self.hosts[&name].seat.disk.set_faults(full);
        self.trace.event(&name, "its disk is full");
    }

    /// The leader is alone just long enough for another one to be elected, with entries that nobody else has, and its process
    /// ends before it hears of that: when it is back it has to give them up, and what it writes then decides whether they
    /// stay away. One that hears of it while it still sends meets an assertion of openraft (docs/internals/bugs.md).
    fn depose(&mut self) {
        let Some(leader) = self.leading() else { return };
        for call in 0..self.draw("depose").between(5, 40) {
            self.make_call(&leader, (call % u64::from(REGISTERS)) as u8, false, 8);
        }
        let names = self.hosts.values().filter(|host| !host.gone).map(|host| host.seat.name.clone());
        let pairs: Vec<_> = names.filter(|name| *name != leader).map(|name| (leader.clone(), name)).collect();
        for (one, other) in &pairs {
            self.sim.partition(one.as_str(), other.as_str());
        }
        let shortest = self.plan.timings.election_max_ms;
        let until = self.tick + self.draw("depose").between(shortest, 2 * shortest);
        self.trace.event(&leader, "is cut off with entries that nobody else has");
        self.cut = Some(Cut { how: How::Drop, pairs, until });
        self.deposed = Some(leader);
    }

    /// A deposed leader ends before it hears of it, and `strike_recovery` finds it as it comes back.
    fn end_deposed(&mut self) {
        if let Some(name) = self.deposed.clone() {
            let kind = self.draw("deposed").one_of(&[CrashKind::Kill, CrashKind::Kill, CrashKind::PowerCut]);
            self.crash(&name, kind);
        }
    }

    /// One that was deposed is back, and is often struck as it gives up the end of its log.
    fn strike_deposed(&mut self, name: &str) {
        let permille = self.plan.rates.at_truncation_permille;
        if permille == 0 || !self.draw("truncated").chance(permille) {
            return;
        }
        let draw = self.draw("truncated");
        let (operations, kind) =
            (draw.between(3, 24), draw.one_of(&[CrashKind::PowerCut, CrashKind::PowerCut, CrashKind::Kill]));
        self.hosts[name].seat.disk.cut_after(operations, kind);
        self.trace.event(name, format_args!("deposed: {kind:?} in {operations} operations"));
        self.trace.sometimes("a deposed leader was struck as it came back");
    }

    /// The power goes, or the process dies, while it reads its disk back and mends what a crash left.
    pub(super) fn strike_recovery(&mut self, name: &str) {
        if self.healing {
            return;
        }
        if self.deposed.take_if(|deposed| deposed == name).is_some() {
            self.strike_deposed(name);
            return;
        }
        let permille = self.plan.rates.at_recovery_permille;
        if permille == 0 || !self.draw("recovery").chance(permille) {
            return;
        }
        let draw = self.draw("recovery");
        let (operations, kind) = (draw.between(1, 6), draw.one_of(&[CrashKind::PowerCut, CrashKind::Kill]));
        self.hosts[name].seat.disk.cut_after(operations, kind);
        self.trace.event(name, format_args!("recovering: {kind:?} in {operations} operations"));
    }

    /// The power goes, or the process dies, while a snapshot is written, put in its place, or takes that of the last one.
    fn strike_snapshot(&mut self, name: &str) {
        let permille = self.plan.rates.at_snapshot_permille;
        if permille == 0 || !self.draw("snapshotting").chance(permille) {
            return;
        }
        let draw = self.draw("snapshotting");
        let (operations, kind) = (draw.between(1, 12), draw.one_of(&[CrashKind::PowerCut, CrashKind::Kill]));
        self.hosts[name].seat.disk.cut_after(operations, kind);
        self.trace.event(name, format_args!("snapshot: {kind:?} in {operations} operations"));
        self.trace.sometimes("a master was struck as it took a snapshot");
    }

    /// At most one damaged disk at a time: Raft survives a minority.
    fn damage_one(&mut self) {
        if self.hosts.values().any(|host| host.was_damaged && !host.gone) {
            return;
        }
        let Some(name) = self.someone("damage") else { return };
        let kind = self.draw("damage").one_of(&[CrashKind::Kill, CrashKind::PowerCut]);
        self.crash(&name, kind);
        let disk = self.hosts[&name].seat.disk.clone();
        let targets = disk.targets();
        if targets.is_empty() {
            return;
        }
        let draw = self.draw("damage");
        let (target, at) = (draw.one_of(&targets), draw.word());
        let damage = draw.one_of(&[
            Damage::FlipBit { bit: at },
            Damage::Truncate { keep: at },
            Damage::ZeroPage { page: at },
        ]);
        if let Some(done) = disk.damage(&target, &damage) {
            self.trace.event(&name, done);
            self.trace.count("damaged", 1);
            let host = self.hosts.get_mut(&name).expect("it was just up");
            (host.damaged, host.was_damaged) = (true, true);
        }
    }

    fn strike_network(&mut self) {
        if self.cut.as_ref().is_some_and(|cut| cut.until <= self.tick) {
            self.mend_network();
        }
        if self.slow_until.as_ref().is_some_and(|(until, _, _)| *until <= self.tick) {
            self.speed_up();
        }
        let rates = self.plan.rates.clone();
        if self.cut.is_none() && self.happens("depose", rates.depose) {
            self.depose();
        }
        if self.cut.is_none() && self.happens("partition", rates.partition) {
            self.cut_network();
        }
        if self.happens("reset", rates.reset)
            && let (Some(one), Some(other)) = (self.someone("reset"), self.someone("reset"))
        {
            let broken = self.connections.reset(&one, &other);
            self.trace.count("resets", broken as u64);
        }
        if self.slow_until.is_none()
            && self.happens("slow", rates.slow_link)
            && let (Some(one), Some(other)) = (self.someone("slow"), self.someone("slow"))
            && one != other
        {
            let draw = self.draw("slow");
            let (latency_ms, ticks) = (draw.between(10, 400), draw.between(50, 2_000));
            self.sim.set_link_latency(one.as_str(), other.as_str(), Duration::from_millis(latency_ms));
            self.trace.event("net", format_args!("{one} and {other} are {latency_ms} ms apart"));
            self.slow_until = Some((self.tick + ticks, one, other));
        }
    }

    fn speed_up(&mut self) {
        if let Some((_, one, other)) = self.slow_until.take() {
            self.sim.set_link_latency(one.as_str(), other.as_str(), Duration::from_millis(1));
        }
    }

    fn cut_network(&mut self) {
        let names: Vec<_> =
            self.hosts.values().filter(|host| !host.gone).map(|host| host.seat.name.clone()).collect();
        let tick = self.tick;
        let draw = self.draw("partition");
        let how = draw.one_of(&[How::Drop, How::Drop, How::DropOneWay, How::Hold]);
        let bridge = draw.chance(250).then(|| draw.position(names.len()));
        let lonely = draw.chance(400).then(|| draw.position(names.len()));
        let sides: Vec<_> =
            (0..names.len()).map(|at| lonely.map_or_else(|| draw.chance(500), |only| at == only)).collect();
        let until = tick + draw.between(50, CUT_TICKS_MAX);
        let mut pairs = Vec::new();
        for (at, one) in names.iter().enumerate() {
            for (to, other) in names.iter().enumerate() {
                let bridged = bridge == Some(at) || bridge == Some(to);
                if sides[at] && !sides[to] && !bridged {
                    pairs.push((one.clone(), other.clone()));
                }
            }
        }
        for (one, other) in &pairs {
            match how {
                How::Drop => self.sim.partition(one.as_str(), other.as_str()),
                How::DropOneWay => self.sim.partition_oneway(one.as_str(), other.as_str()),
                How::Hold => self.sim.hold(one.as_str(), other.as_str()),
            }
        }
        if pairs.is_empty() {
            return;
        }
        let words: Vec<_> = pairs.iter().map(|(one, other)| format!("{one}-{other}")).collect();
        self.trace.event("net", format_args!("{how:?} {}", words.join(" ")));
        self.trace.count("partitions", 1);
        if bridge.is_some() {
            self.trace.sometimes("a partition left a bridge");
        }
        if how == How::DropOneWay {
            self.trace.sometimes("masters were cut off from one side only");
        }
        self.cut = Some(Cut { how, pairs, until });
    }

    /// The network is whole again.
    pub(super) fn mend_network(&mut self) {
        self.speed_up();
        let Some(cut) = self.cut.take() else { return };
        for (one, other) in &cut.pairs {
            match cut.how {
                How::Hold => self.sim.release(one.as_str(), other.as_str()),
                How::Drop => self.sim.repair(one.as_str(), other.as_str()),
                How::DropOneWay => self.sim.repair_oneway(one.as_str(), other.as_str()),
            }
            if cut.how != How::Hold {
                self.connections.reset(one, other);
            }
        }
        self.trace.event("net", "whole again");
        self.end_deposed();
    }
}
