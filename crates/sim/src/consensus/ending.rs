//! The end of a run: everything heals, the cell must serve again, and what it holds is judged.

use std::collections::BTreeMap;

use super::world::World;

/// A healed cell serves and has caught up within thirty seconds: the longest deadline that anything waits for on a
/// network that works is ten (a piece of a snapshot), and dials give up after five.
const HEAL_TICKS: u64 = 15_000;
/// How often the driver looks whether a healed cell serves.
const LOOK_TICKS: u64 = 25;

impl World {
    /// Everything that was broken is mended, but what is damaged stays damaged.
    pub(super) fn heal(&mut self) {
        self.trace.event("world", "all is healed");
        self.healing = true;
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
                self.connections.reset(one, other);
            }
        }
    }

    /// Within the bound a write commits and every member has it.
    pub(super) fn serves_again(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
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
    pub(super) fn judge(&mut self) {
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
        self.note_truncations();
        self.trace.count("terms_led", self.checks.terms_led() as u64);
        self.trace.count("hosts", self.hosts.len() as u64);
        let operations: u64 = self.hosts.values().map(|host| host.seat.disk.operations()).sum();
        self.trace.count("disk_operations", operations);
    }

    /// Logs that gave up their ends, for the summary.
    pub(super) fn note_truncations(&self) {
        let truncations: u64 = self.hosts.values().map(|host| host.seat.disk.truncations()).sum();
        self.trace.count("truncations", truncations);
        if truncations > 0 {
            self.trace.sometimes("a log was truncated");
        }
    }
}
