//! What a cell can be asked, and how it is found.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::parse_pair;

/// The longest `--timeout`: a year. Whoever waits longer asks again.
const TIMEOUT_S_MAX: u64 = 365 * 86_400;

/// Which cell is asked, and how answers are printed.
#[derive(Clone, Debug, Args)]
pub struct CellOptions {
    /// The cell's folder: cell.json and credentials.
    #[arg(long, global = true, env = "PACELINE_CELL", value_name = "DIR")]
    pub cell: Option<PathBuf>,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Longest time that a call may take, failovers included.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_S_MAX))]
    pub timeout: u64,
    /// Ask this master only, by name or address; unless it leads it answers with --stale only.
    #[arg(long, global = true, value_name = "MASTER")]
    pub from: Option<String>,
    /// Accept an answer that may be behind.
    #[arg(long, global = true)]
    pub stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Print a commented job file.
    Init,
    /// Submit a job file.
    Submit {
        /// The file; - is standard input.
        file: PathBuf,
        /// Wait until every task has ended.
        #[arg(long)]
        wait: bool,
    },
    /// List jobs, newest first.
    List {
        /// Only in this state; repeat for several.
        #[arg(long = "state")]
        states: Vec<paceline_types::JobState>,
    },
    /// Show one job.
    Get {
        /// Its name or uid.
        job: String,
    },
    /// List the tasks of a job.
    Tasks {
        /// Its name or uid.
        job: String,
        /// Only in this state; repeat for several.
        #[arg(long = "state")]
        states: Vec<paceline_types::TaskState>,
    },
    /// Print what a task wrote.
    Logs(LogsArgs),
    /// End all tasks of a job.
    Stop {
        /// Its name or uid.
        job: String,
        /// Wait until every task has ended.
        #[arg(long)]
        wait: bool,
    },
    /// Forget a job that has ended.
    Delete {
        /// Its name or uid.
        job: String,
    },
    /// Follow a job until it ends.
    Watch {
        /// Its name or uid.
        job: String,
    },
}

/// Which output, and how much of it.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The job's name or uid.
    pub job: String,
    /// The task, from 0.
    #[arg(value_name = "INDEX")]
    pub task: u32,
    /// The attempt, from 1; the current or last one by default.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub attempt: u32,
    /// Standard error instead of standard output.
    #[arg(long)]
    pub stderr: bool,
    /// Go on with what is written until the attempt has ended; waits for an attempt that has not begun.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines of what is there.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
    /// From this byte on, counted from the first that the task wrote.
    #[arg(
        long,
        value_name = "BYTE",
        default_value_t = 0,
        hide_default_value = true,
        conflicts_with = "tail"
    )]
    pub offset: u64,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes by name.
    List,
    /// Show one node.
    Get { node: String },
    /// No new work; what runs finishes.
    Drain { node: String },
    /// New work again.
    Resume { node: String },
    /// Set labels (zone=east) and unset them (zone-).
    Label {
        node: String,
        #[arg(required = true, value_name = "NAME=VALUE|NAME-")]
        changes: Vec<String>,
    },
    /// Set taints (key=value) and unset them (key-). A taint keeps off every task that does not tolerate it; there are
    /// no effects to choose from.
    Taint {
        node: String,
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        changes: Vec<String>,
    },
    /// Forget a node; its attempts end.
    Remove { node: String },
    /// Let another machine take the node's name.
    Replace { node: String },
}

#[derive(Clone, Debug, Subcommand)]
pub enum ShardCommand {
    /// List shards by number.
    List,
    /// Forget a shard; its agents move to the others.
    Remove { shard: String },
}

#[derive(Debug, Subcommand)]
pub enum CellCommand {
    /// What an operator looks at first.
    Status {
        /// The digest of this revision.
        #[arg(long, value_name = "REVISION", default_value_t = 0)]
        at_revision: u64,
    },
    /// Show the configuration, or change it.
    Config {
        /// Settings to change, as in heartbeat_ms=1000; none shows them all.
        #[arg(value_name = "NAME=VALUE", value_parser = parse_pair)]
        changes: Vec<(String, String)>,
    },
    /// Write a consistent view of the whole state to a file.
    Snapshot {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// What holds the write-off of silent nodes back when many fall silent together.
    Brake {
        #[command(subcommand)]
        command: BrakeCommand,
    },
    /// The masters as members of the cell: list, add, replace, remove.
    Member {
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// Hand the leadership over.
    TransferLeadership {
        /// The master that shall lead; the leader chooses by default.
        #[arg(long)]
        to: Option<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum MemberCommand {
    /// List the masters: who votes, on which disk each stands, and how far behind it is.
    List,
    /// Take a master into the cell that was started with --join. It votes once it has caught up.
    Add {
        /// The name in its certificate.
        name: String,
        #[command(flatten)]
        place: MemberPlace,
    },
    /// Put a new master, which was started with --join, in the place of another, dead or alive.
    Replace {
        /// The master that goes.
        name: String,
        /// Its Raft id, where two masters have the name.
        #[arg(long, value_name = "ID")]
        raft_id: Option<u64>,
        /// The name of the new one [default: the same name, on a new disk].
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        #[command(flatten)]
        place: MemberPlace,
    },
    /// Remove a master for good: it ends by itself and never starts again on its folder.
    Remove {
        /// The master that goes.
        name: String,
        /// Its Raft id, where two masters have the name, as while one replaces the other.
        #[arg(long, value_name = "ID")]
        raft_id: Option<u64>,
    },
}

/// Where a new master is.
#[derive(Clone, Debug, Args)]
pub struct MemberPlace {
    /// Where the other masters reach it [default: as cell.json says].
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<String>,
    /// Where clients and shards reach it [default: as cell.json says].
    #[arg(long, value_name = "ADDRESS")]
    pub api: Option<String>,
    /// Return once it is a member, and do not wait until it votes.
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum BrakeCommand {
    /// Say that the silent nodes are gone: their tasks run elsewhere as soon as their jobs allow.
    Release,
}
