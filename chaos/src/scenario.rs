//! The scenarios, each a file: what is done to a cell, and what must be true of it afterwards.

mod all_killed;
mod checks;
mod leader_kill;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cell::DevCell;
use crate::report::Report;

/// What is done to the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The leader is killed again and again while a large job runs.
    LeaderKill,
    /// All masters and shards are killed at once while tasks run, and come back later.
    AllKilled,
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

impl Scenario {
    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaderKill => "leader-kill",
            Self::AllKilled => "all-killed",
        }
    }

    /// How often the fault is injected where nothing else is asked for.
    pub const fn runs_default(self) -> usize {
        match self {
            Self::LeaderKill => 10,
            Self::AllKilled => 1,
        }
    }

    /// How many tasks run meanwhile where nothing else is asked for.
    pub const fn tasks_default(self) -> u32 {
        match self {
            Self::LeaderKill => 20_000,
            Self::AllKilled => 40,
        }
    }

    /// Fewer acknowledged calls than this for each fault show nothing. Ten are one second's submissions.
    pub const fn acknowledged_min_per_run(self) -> usize {
        match self {
            Self::LeaderKill | Self::AllKilled => 10,
        }
    }

    /// Whether the cell brings back by itself what is killed.
    pub const fn restarts(self) -> bool {
        match self {
            Self::LeaderKill => true,
            Self::AllKilled => false,
        }
    }

    /// What stands in the report as what was asked for.
    pub fn params(self, options: &Options) -> Value {
        let Options { runs, tasks, outage_seconds, acknowledged_min } = options;
        let mut params = json!({"runs": runs, "tasks": tasks, "acknowledged_min": acknowledged_min});
        if self == Self::AllKilled {
            params["outage_seconds"] = json!(outage_seconds);
        }
        params
    }

    /// Runs it against a cell that is ready. What was seen is in the report, after an error too.
    pub async fn run(self, cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
        match self {
            Self::LeaderKill => leader_kill::run(cell, options, report).await,
            Self::AllKilled => all_killed::run(cell, options, report).await,
        }
    }
}
