//! What a master is told when it starts.

use paceline_replica::{ReplicaConfig, Timings};

/// Who the master is and where it is reached. Names come from its certificate.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// The cell's name.
    pub cell: String,
    /// The master's name, as in its certificate.
    pub name: String,
    /// Its Raft id, never used again after removal. [`NO_RAFT_ID`](paceline_replica::NO_RAFT_ID): it joins a cell that
    /// serves, waits until it is taken in, and keeps the id that it is given.
    pub raft_id: u64,
    /// Where clients and shards reach it, `host:port`.
    pub api_address: String,
    /// Where the other masters reach it, `host:port`.
    pub peer_address: String,
    /// Begin a new cell with this master and these others, if its disk is pristine. Nothing: join what there is.
    pub bootstrap: Option<Vec<Founder>>,
    /// A port on loopback that says nothing but healthy or not, without certificates.
    pub health_port: Option<u16>,
    /// Raft's clocks.
    pub timings: Timings,
    /// How much log is kept.
    pub log: LogBudget,
}

/// How much log there is before a snapshot, and behind one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBudget {
    /// A snapshot is taken after this many bytes: a restart replays no more.
    pub snapshot_after_bytes: u64,
    /// This much stays behind a snapshot, for followers that were away for a short while.
    pub tail_bytes: u64,
}

impl Default for LogBudget {
    fn default() -> Self {
        let replica = ReplicaConfig::new("", "", 0);
        Self { snapshot_after_bytes: replica.snapshot_after_log_bytes, tail_bytes: replica.log_tail_bytes }
    }
}

/// Another master of a cell that begins. Its Raft id and disk are learnt from itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its name, as in its certificate.
    pub name: String,
    /// Where the other masters reach it, `host:port`.
    pub peer_address: String,
    /// Where clients and shards reach it, `host:port`.
    pub api_address: String,
}
