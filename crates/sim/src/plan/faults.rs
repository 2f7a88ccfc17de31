//! The faults that a plan may hold.

use crate::disk::Operation;
use crate::links::Way;

/// Whom a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This host.
    Host(String),
    /// Whoever led when a client last heard.
    Leader,
}

/// One side of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// These hosts, of which there is at least one.
    Hosts(Vec<String>),
    /// Whoever led when a client last heard.
    Leader,
    /// Every host but those of the other side.
    Everybody,
}

/// Something that happens to the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed and comes back.
    Kill {
        /// Which.
        who: Target,
        /// After so long.
        back_ms: u64,
    },
    /// A machine loses its power and comes back.
    PowerCut {
        /// Which.
        who: Target,
        /// After so long.
        back_ms: u64,
    },
    /// A master's power goes at one of the next operations of its disk.
    CutAtOperation {
        /// Which.
        who: Target,
        /// After so many.
        operations: u64,
    },
    /// A master's power goes in the middle of the next snapshot that it is sent.
    CutInstall {
        /// Which.
        who: Target,
        /// If it is sent one within so long.
        within_ms: u64,
    },
    /// The next such operation of a master's disk fails.
    DiskError {
        /// Which.
        who: Target,
        /// What fails.
        operation: Operation,
    },
    /// A master's disk is full for a while.
    DiskFull {
        /// Which.
        who: Target,
        /// There is room for what goes on by itself.
        nearly: bool,
        /// For so long.
        for_ms: u64,
    },
    /// Syncs of a master's disk take their time for a while.
    SlowDisk {
        /// Which.
        who: Target,
        /// So many in a thousand.
        permille: u64,
        /// The longest.
        longest_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// A process stands still.
    Pause {
        /// Which.
        who: Target,
        /// For so long.
        for_ms: u64,
    },
    /// Somebody sets the wall clock of a host.
    WallJump {
        /// Which.
        who: Target,
        /// It is off by so much.
        off_by_ms: i64,
    },
    /// The clocks of a host run fast.
    Drift {
        /// Which.
        who: Target,
        /// By so many in a thousand.
        permille: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The leader proposes an entry that this build cannot read.
    BadEntry {
        /// It says that it needs a higher feature level; otherwise it is no entry at all.
        above_the_level: bool,
    },
    /// Links between two sides are cut for a while.
    Cut {
        /// One side.
        from: Side,
        /// The other.
        to: Side,
        /// How.
        way: Way,
        /// For so long.
        for_ms: u64,
    },
    /// Messages get lost from now on.
    Lose {
        /// So many in a million.
        per_million: u32,
    },
    /// Messages take up to so long from now on.
    Slow {
        /// In milliseconds.
        latency_max_ms: u64,
    },
}
