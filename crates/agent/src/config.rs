//! What an agent is told when it starts, and the named periods and bounds that it keeps to.

use std::path::PathBuf;
use std::sync::Arc;

use paceline_rules::Labels;
use paceline_runtime::TaskUids;
use paceline_telemetry::{Health, Metrics};
use paceline_types::{AgentInstance, BootId, NodeName, Resources};

use crate::facts::FactsError;

/// What makes one agent differ from another.
#[derive(Clone)]
pub struct AgentConfig {
    /// The cell it belongs to, as in its certificate.
    pub cell: String,
    /// Its node, as in its certificate.
    pub node: NodeName,
    /// Where it keeps what must outlive it.
    pub data_dir: PathBuf,
    /// Shards to begin with, `host:port`; afterwards the cell's own list counts.
    pub shards: Vec<String>,
    /// Masters to ask for the shards, `host:port`.
    pub masters: Vec<String>,
    /// What the node offers to tasks.
    pub capacity: Resources,
    /// Labels of the node.
    pub labels: Labels,
    /// The kernel's boot id.
    pub boot: BootId,
    /// The id of the data folder, if it is new.
    pub fresh_instance: AgentInstance,
    /// A user id of its own for each task that names no user.
    pub task_uids: Option<TaskUids>,
    /// Where jitter comes from: the same seed waits the same times.
    pub seed: u64,
    /// Who carries out calls to the runtime.
    pub workers: Workers,
    /// Periods that tests and simulation shorten.
    pub timings: Timings,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it says how it is.
    pub health: Health,
    /// A port on loopback that says nothing but healthy or not, without certificates.
    pub health_port: Option<u16>,
}

impl AgentConfig {
    /// A configuration with the boot id, capacity and randomness of this machine, and no addresses.
    ///
    /// # Errors
    /// The machine does not say what is needed.
    pub fn of_this_machine(cell: &str, node: NodeName, data_dir: PathBuf) -> Result<Self, FactsError> {
        let (instance, seed) = crate::facts::random_instance_and_seed()?;
        Ok(Self {
            cell: cell.to_owned(),
            node,
            data_dir,
            shards: Vec::new(),
            masters: Vec::new(),
            capacity: crate::facts::detect_capacity()?,
            labels: Labels::new(),
            boot: crate::facts::read_boot_id()?,
            fresh_instance: instance,
            task_uids: None,
            seed,
            workers: Workers::Threads,
            timings: Timings::default(),
            metrics: Arc::new(Metrics::new()),
            health: Health::new(),
            health_port: None,
        })
    }
}

/// Who carries out calls to the runtime, which may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// The blocking threads of tokio.
    Threads,
    /// The task that asks, one call after the other: for a runtime that never blocks, in simulation.
    Inline,
}

/// Periods in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// A change waits this long for others before it is reported, far below what a person or a scheduler would
    /// notice.
    pub flush_ms: u64,
    /// Reports are at least this long apart: a lone change is told at once, and of a thousand ends a second each
    /// report has dozens. Every report is a message to the leader, a part of an entry on every master's disk and
    /// a sync on this one.
    pub report_every_ms: u64,
    /// How often attempts are looked at of which no news came, and stops repeated that failed. News come
    /// promptly; this only finds what was lost.
    pub sweep_ms: u64,
    /// The first wait before dialling again. It doubles up to `backoff_max_ms`; half of it is jitter.
    pub backoff_min_ms: u64,
    /// The longest wait before dialling again where nobody listens: an outage of an hour costs nobody
    /// anything, its end is noticed within it.
    pub backoff_absent_max_ms: u64,
    /// The longest wait before dialling again where somebody answers and does not serve: that costs a
    /// shard one handshake per agent and this period.
    pub backoff_max_ms: u64,
    /// Dialling, opening a stream and asking a master each end after this.
    pub connect_ms: u64,
    /// How often the agent is heard before a Welcome says how often it must be.
    pub heartbeat_ms: u64,
    /// How long a session without a Welcome is kept before another shard is tried; doubled each time, up to
    /// sixteen times, because without a leader no shard can do better.
    pub welcome_ms: u64,
    /// How long leaving may take: launches on their way, the last report.
    pub leave_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            flush_ms: 5,
            report_every_ms: 100,
            sweep_ms: 5_000,
            backoff_min_ms: 100,
            backoff_absent_max_ms: 2_000,
            backoff_max_ms: 10_000,
            connect_ms: 10_000,
            heartbeat_ms: 2_000,
            welcome_ms: 30_000,
            leave_ms: 3_000,
        }
    }
}
