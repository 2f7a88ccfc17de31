//! What a replica is told when it opens: who it is, its timings and its budgets. Each limit says why it is what it is.

use crate::fatal::FatalHandler;
use crate::worker::Execution;

/// The largest log entry. A 100,000-task job with 1 MiB of overrides fits twice; four of them fit a gRPC message.
pub const ENTRY_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// The most that one replication request carries, unless a single entry is larger: half of gRPC's 4 MiB decode limit
/// stays free for one more entry of the largest size and for framing.
pub const REPLICATION_BUDGET_BYTES: usize = 1024 * 1024;
/// The decode limit of the peer service: budget plus one largest entry plus framing, rounded up to gRPC's default.
pub const PEER_MESSAGE_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Snapshot files travel in requests of this size: large enough for throughput, small enough to retry.
pub const SNAPSHOT_TRANSFER_CHUNK_BYTES: usize = 1024 * 1024;

/// Raft's clocks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How often a leader shows that it lives.
    pub heartbeat_ms: u64,
    /// The shortest random wait before an election, on top of the leader lease.
    pub election_min_ms: u64,
    /// The longest random wait, and the leader lease.
    pub election_max_ms: u64,
}

impl Timings {
    /// For local disks: a new leader within 0.6 s at the median.
    pub const DEFAULT: Self = Self { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 };
    /// For machines whose sync takes a few milliseconds at worst.
    pub const FAST: Self = Self { heartbeat_ms: 20, election_min_ms: 60, election_max_ms: 120 };
    /// For slow or shared disks.
    pub const SLOW_DISK: Self = Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600 };
}

impl Default for Timings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How to open a replica.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// The cell's name; a disk of another cell is refused.
    pub cell: String,
    /// The master's name, as in its certificate.
    pub name: String,
    /// Its Raft id.
    pub raft_id: u64,
    /// Where the other masters reach it, which it tells whoever asks. Empty: it does not say.
    pub peer_address: String,
    /// Where clients reach it, as above.
    pub api_address: String,
    /// Raft's clocks.
    pub timings: Timings,
    /// A snapshot is taken after this many bytes of log: bounds the replay of a cold start.
    pub snapshot_after_log_bytes: u64,
    /// This much log stays behind a snapshot, so that a follower that was away briefly catches up by log.
    pub log_tail_bytes: u64,
    /// Recent entries kept in memory for followers and the applier. Entries that are not durable always stay.
    pub memory_tail_bytes: usize,
    /// Proposals in flight beyond this are refused with a retry-after.
    pub in_flight_bytes: usize,
    /// Where owner loops run.
    pub execution: Execution,
    /// What a write error leads to.
    pub fatal: FatalHandler,
}

impl ReplicaConfig {
    /// A replica with the default budgets.
    pub fn new(cell: impl Into<String>, name: impl Into<String>, raft_id: u64) -> Self {
        Self {
            cell: cell.into(),
            name: name.into(),
            raft_id,
            peer_address: String::new(),
            api_address: String::new(),
            timings: Timings::DEFAULT,
            // Replays in a fraction of a second at memory speed.
            snapshot_after_log_bytes: 128 * 1024 * 1024,
            log_tail_bytes: 64 * 1024 * 1024,
            memory_tail_bytes: 64 * 1024 * 1024,
            in_flight_bytes: 64 * 1024 * 1024,
            execution: Execution::Threads,
            fatal: FatalHandler::abort(),
        }
    }
}
