//! What a seed stands for: the size of the cell, its clocks and limits, and which faults it suffers how often.
//!
//! Each seed leaves most faults out and makes the others frequent (swarm testing, Groce and others, ISSTA 2012): faults
//! that always come together hide what one of them alone would show.

use std::fmt;

use paceline_replica::Timings;

use crate::draw::Draw;
use crate::plants::Switch;

/// How often something happens: so many times in a hundred thousand ticks, never where it is zero.
pub type Rate = u64;

/// How often each fault strikes.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// A process dies between two ticks.
    pub kill: Rate,
    /// A machine loses its power between two ticks.
    pub power_cut: Rate,
    /// A disk stops in the middle of its next operations.
    pub cut_at_operation: Rate,
    /// A write or a sync fails.
    pub disk_error: Rate,
    /// A disk gets full.
    pub disk_full: Rate,
    /// Something on the disk of a process that is down is damaged.
    pub damage: Rate,
    /// All processes lose their power at once.
    pub blackout: Rate,
    /// The network falls apart.
    pub partition: Rate,
    /// A connection breaks.
    pub reset: Rate,
    /// A link becomes slow.
    pub slow_link: Rate,
    /// The leader is asked to hand over.
    pub transfer: Rate,
    /// A snapshot is asked for.
    pub snapshot: Rate,
    /// A master joins or leaves.
    pub membership: Rate,
    /// The leader is alone for a moment, with entries that nobody else has.
    pub depose: Rate,
    /// Of a thousand leaders that come back from that, so many are struck at one of their next operations.
    pub at_truncation_permille: u64,
    /// Of a thousand snapshots that are asked for, so many are cut while they are written.
    pub at_snapshot_permille: u64,
    /// Of a thousand starts, so many are cut while the disk is read back.
    pub at_recovery_permille: u64,
}

/// A seed, spelled out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The first masters.
    pub masters: u64,
    /// Raft's clocks.
    pub timings: Timings,
    /// A snapshot is due after so much log.
    pub snapshot_after_log_bytes: u64,
    /// So much log stays behind it.
    pub log_tail_bytes: u64,
    /// So much log stays in memory.
    pub memory_tail_bytes: usize,
    /// The largest payload.
    pub payload_bytes: u64,
    /// New calls per hundred thousand ticks.
    pub calls: Rate,
    /// Of a thousand calls so many read.
    pub reads_permille: u64,
    /// Syncs of a thousand that wait.
    pub slow_syncs_permille: u64,
    /// The longest of them.
    pub slow_sync_ms: u64,
    /// The slowest message.
    pub latency_ms: u64,
    /// The faults.
    pub rates: Rates,
    /// How long they go on, in ticks.
    pub fault_ticks: u64,
    /// The bug to plant, if any.
    pub switch: Option<Switch>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, switch: Option<Switch>) -> Self {
        let mut draw = Draw::new(seed).part("plan");
        let mut rarely = Draw::new(seed).part("plan of moments");
        let timings = draw.one_of(&[Timings::DEFAULT, Timings::DEFAULT, Timings::FAST, Timings::SLOW_DISK]);
        let small = draw.chance(600);
        Self {
            seed,
            masters: draw.one_of(&[3, 3, 3, 4, 5, 5, 7]),
            timings,
            snapshot_after_log_bytes: if small { draw.between(256, 1024) * 1024 } else { 64 << 20 },
            log_tail_bytes: draw.one_of(&[0, 0, 256 << 10, 1 << 20]),
            memory_tail_bytes: draw.one_of(&[16 << 10, 256 << 10, 16 << 20]),
            payload_bytes: if small { draw.between(8, 32) * 1024 } else { draw.between(64, 2_048) },
            calls: draw.between(2_000, 20_000),
            reads_permille: draw.between(100, 500),
            slow_syncs_permille: draw.one_of(&[0, 0, 50, 300]),
            slow_sync_ms: draw.one_of(&[5, 20, 100, 400]),
            latency_ms: draw.one_of(&[2, 2, 5, 20]),
            rates: Rates {
                depose: rarely.one_of(&[0, 0, 60, 200]),
                at_truncation_permille: rarely.one_of(&[0, 300, 800]),
                at_recovery_permille: rarely.one_of(&[0, 0, 150, 400]),
                at_snapshot_permille: rarely.one_of(&[0, 200, 600]),
                ..rates(&mut draw)
            },
            fault_ticks: draw.between(4_000, 10_000),
            switch,
        }
    }
}

impl Plan {
    /// A plan without faults and without calls of its own.
    pub fn quiet(seed: u64, masters: u64, switch: Option<Switch>) -> Self {
        Self {
            seed,
            masters,
            timings: Timings::DEFAULT,
            snapshot_after_log_bytes: 64 << 20,
            log_tail_bytes: 1 << 20,
            memory_tail_bytes: 16 << 20,
            payload_bytes: 64,
            calls: 0,
            reads_permille: 0,
            slow_syncs_permille: 0,
            slow_sync_ms: 0,
            latency_ms: 2,
            rates: Rates::default(),
            fault_ticks: 0,
            switch,
        }
    }
}

/// Each fault is in about a third of the seeds, and then it strikes every second or every ten.
fn rates(draw: &mut Draw) -> Rates {
    let mut rate = |permille: u64, low: u64, high: u64| {
        let (wanted, rate) = (draw.chance(permille), draw.between(low, high));
        if wanted { rate } else { 0 }
    };
    Rates {
        kill: rate(400, 20, 150),
        power_cut: rate(500, 20, 200),
        cut_at_operation: rate(500, 20, 200),
        disk_error: rate(250, 10, 60),
        disk_full: rate(150, 10, 40),
        damage: rate(200, 20, 100),
        blackout: rate(250, 10, 50),
        partition: rate(500, 20, 120),
        reset: rate(300, 50, 500),
        slow_link: rate(250, 20, 100),
        transfer: rate(350, 20, 150),
        snapshot: rate(350, 20, 200),
        membership: rate(450, 20, 120),
        depose: 0,
        at_truncation_permille: 0,
        at_recovery_permille: 0,
        at_snapshot_permille: 0,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { masters, payload_bytes, fault_ticks, rates, .. } = self;
        write!(f, "{masters} masters, payloads to {payload_bytes} B, {fault_ticks} ticks, {rates:?}")?;
        match self.switch {
            Some(switch) => write!(f, ", planted {switch:?}"),
            None => Ok(()),
        }
    }
}
