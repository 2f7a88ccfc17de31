//! The faults that a plan may hold.

use crate::links::Way;

/// Whom a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This host.
    Host(String),
    /// Whoever led when a client last heard.
    Leader,
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
    /// Links between two sides are cut for a while.
    Cut {
        /// One side; the leader alone if it is empty.
        from: Vec<String>,
        /// The other; everybody else if it is empty.
        to: Vec<String>,
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
