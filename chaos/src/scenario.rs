//! The scenarios, each a file: what is done to a cell, and what must be true of it afterwards.

mod agent_kill;
mod all_killed;
mod at_most_one;
mod follower_behind;
mod leader_kill;
mod leader_pause;
mod member_replace;
mod node_loss;
mod shard_kill;
mod throughput;

mod big;
mod checks;
mod frame;
mod links;
mod masters;
mod workload;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cell::{DevCell, Settings};
use crate::report::Report;

/// What is done to the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The leader is killed again and again while a large job runs.
    LeaderKill,
    /// The leader is paused while its successor assigns and removes tasks, and runs on.
    LeaderPause,
    /// All masters and shards are killed at once while tasks run, and come back later.
    AllKilled,
    /// An agent is killed while its tasks run and end, and comes back later.
    AgentKill,
    /// An agent whose tasks must never run twice is paused until they run elsewhere, and goes on.
    AtMostOne,
    /// Nodes are killed with everything on them and kept away: one, and then three of four.
    NodeLoss,
    /// The shard that agents speak through is killed, then all shards are, and they come back later.
    ShardKill,
    /// A follower is away until the log behind it is purged, and comes back.
    FollowerBehind,
    /// Every master that the cell began with is replaced: one alive, one dead, one while the leader is killed.
    MemberReplace,
    /// Nothing is done to it: what a large job takes.
    Throughput,
}

/// How much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the fault is injected.
    pub runs: usize,
    /// Tasks of the job that runs meanwhile.
    pub tasks: u32,
    /// How long everything is away.
    pub outage_seconds: u64,
    /// Fewer acknowledged calls make the run void.
    pub acknowledged_min: usize,
}

/// What a scenario does where nothing else is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// How often the fault is injected.
    pub runs: usize,
    /// How many tasks run meanwhile.
    pub tasks: u32,
    /// How long a part is away or paused; zero where that follows from something else.
    pub outage_seconds: u64,
    /// Fewer acknowledged calls than this for each fault show nothing. Ten are one second's submissions.
    pub acknowledged_per_run: usize,
}

impl Scenario {
    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaderKill => "leader-kill",
            Self::LeaderPause => "leader-pause",
            Self::AllKilled => "all-killed",
            Self::AgentKill => "agent-kill",
            Self::AtMostOne => "at-most-one",
            Self::NodeLoss => "node-loss",
            Self::ShardKill => "shard-kill",
            Self::FollowerBehind => "follower-behind",
            Self::MemberReplace => "member-replace",
            Self::Throughput => "throughput",
        }
    }

    /// What it does where nothing else is asked for.
    pub const fn defaults(self) -> Defaults {
        let (runs, tasks, outage_seconds, acknowledged_per_run) = match self {
            Self::LeaderKill => (10, 20_000, 0, 10),
            Self::LeaderPause => (1, 20, 20, 10),
            Self::AllKilled => (1, 40, 60, 10),
            Self::AgentKill => (1, 40, 10, 10),
            Self::AtMostOne => (1, 8, 0, 10),
            Self::NodeLoss => (1, 8, 0, 10),
            Self::ShardKill => (1, 40, 20, 10),
            Self::FollowerBehind => (1, 20, 0, 10),
            Self::MemberReplace => (3, 20, 0, 10),
            Self::Throughput => (3, 20_000, 0, 0),
        };
        Defaults { runs, tasks, outage_seconds, acknowledged_per_run }
    }

    /// How the cell is started. Only where it is to bring back by itself what is killed is it told so.
    pub fn settings(self) -> Settings {
        let small_log = (follower_behind::SNAPSHOT_AFTER_LOG_BYTES, follower_behind::LOG_TAIL_BYTES);
        Settings {
            restart: self == Self::LeaderKill,
            log: (self == Self::FollowerBehind).then_some(small_log),
        }
    }

    /// What stands in the report as what was asked for.
    pub fn params(self, options: &Options) -> Value {
        let Options { runs, tasks, outage_seconds, acknowledged_min } = options;
        let mut params = json!({"runs": runs, "tasks": tasks, "acknowledged_min": acknowledged_min});
        if self.defaults().outage_seconds > 0 {
            params["outage_seconds"] = json!(outage_seconds);
        }
        if let Some((snapshot_after, tail)) = self.settings().log {
            params["snapshot_after_log_bytes"] = json!(snapshot_after);
            params["log_tail_bytes"] = json!(tail);
        }
        params
    }

    /// Runs it against a cell that is ready. What was seen is in the report, after an error too.
    pub async fn run(self, cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
        match self {
            Self::LeaderKill => leader_kill::run(cell, options, report).await,
            Self::LeaderPause => leader_pause::run(cell, options, report).await,
            Self::AllKilled => all_killed::run(cell, options, report).await,
            Self::AgentKill => agent_kill::run(cell, options, report).await,
            Self::AtMostOne => at_most_one::run(cell, options, report).await,
            Self::NodeLoss => node_loss::run(cell, options, report).await,
            Self::ShardKill => shard_kill::run(cell, options, report).await,
            Self::FollowerBehind => follower_behind::run(cell, options, report).await,
            Self::MemberReplace => member_replace::run(cell, options, report).await,
            Self::Throughput => throughput::run(cell, options, report).await,
        }
    }
}
