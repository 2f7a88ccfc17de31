//! What a simulated cell consists of, before anything happens to it.

use paceline_agent::Timings as AgentTimings;
use paceline_master::{LogBudget, Timings};

/// Sizes and clocks of a cell and its network.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Masters, all of them founders.
    pub masters: usize,
    /// Link shards.
    pub shards: usize,
    /// Nodes.
    pub agents: usize,
    /// Programs that submit and read.
    pub clients: usize,
    /// Raft's clocks.
    pub timings: Timings,
    /// How much log is kept.
    pub log: LogBudget,
    /// The agents' periods.
    pub agent_timings: AgentTimings,
    /// CPU that each node offers, in thousandths; memory is never short.
    pub node_cpu_milli: u64,
    /// The masters' disks say that they have synced, and have not.
    pub lying_disks: bool,
    /// The fastest message, in milliseconds.
    pub latency_min_ms: u64,
    /// The slowest message.
    pub latency_max_ms: u64,
}

impl Shape {
    /// The hosts of the masters.
    #[must_use]
    pub fn master_names(&self) -> Vec<String> {
        names("m", self.masters)
    }

    /// The hosts of the shards.
    #[must_use]
    pub fn shard_names(&self) -> Vec<String> {
        names("s", self.shards)
    }

    /// The nodes.
    #[must_use]
    pub fn agent_names(&self) -> Vec<String> {
        names("n", self.agents)
    }

    /// The hosts of clients.
    #[must_use]
    pub fn client_names(&self) -> Vec<String> {
        names("c", self.clients)
    }
}

fn names(letter: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{letter}{number}")).collect()
}
