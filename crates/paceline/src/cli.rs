//! The grammar of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use paceline_master::Founder;
use paceline_types::{parse_cpu_milli, parse_memory_bytes};

use crate::dev::{DevOptions, LogPlan, Part, Size};

/// Paceline: the control plane of a datacenter cell.
#[derive(Debug, Parser)]
#[command(name = "paceline", version, max_term_width = 100, after_help = crate::exit::CODES)]
pub struct Cli {
    #[command(flatten)]
    pub cell: CellOptions,
    #[command(subcommand)]
    pub command: Command,
}

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
pub enum Command {
    /// Run a whole cell on this machine.
    Dev(DevArgs),
    /// Jobs: submit, watch, read, stop.
    #[command(subcommand)]
    Job(JobCommand),
    /// Nodes: read, drain, label, remove.
    #[command(subcommand)]
    Node(NodeCommand),
    /// The cell as a whole.
    #[command(subcommand)]
    Cell(CellCommand),
    /// Run a link shard, or read and remove shards.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Shard(ShardArgs),
    /// Run a master.
    Master(MasterArgs),
    /// Run a node agent.
    Agent(AgentArgs),
    /// Authorities and certificates.
    #[command(subcommand)]
    Ca(CaCommand),
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// How many masters.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=7))]
    masters: u32,
    /// How many link shards.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    shards: u32,
    /// How many agents; they split the machine's capacity.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    agents: u32,
    /// The cell's folder; it is created, and kept.
    #[arg(long, default_value = "paceline-dev")]
    dir: PathBuf,
    /// Bring back any role that ends.
    #[arg(long)]
    restart: bool,
    /// Start only this part of the cell in DIR again, as in master:2, shard:1 or agent:3.
    #[arg(long, value_name = "PART", conflicts_with_all = ["restart", "exit_with_stdin"])]
    only: Option<Part>,
    /// End when standard input ends.
    #[arg(long)]
    exit_with_stdin: bool,
    #[command(flatten)]
    log: LogOptions,
}

/// How much log a master keeps.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LogOptions {
    /// A master takes a snapshot after this much log, as in 64Mi [default: 128Mi].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_bytes)]
    pub snapshot_after_log: Option<u64>,
    /// So much log stays behind a snapshot, for masters that were away briefly [default: 64Mi].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_bytes)]
    pub log_tail: Option<u64>,
}

impl From<LogOptions> for LogPlan {
    fn from(options: LogOptions) -> Self {
        Self { snapshot_after_bytes: options.snapshot_after_log, tail_bytes: options.log_tail }
    }
}

impl From<DevArgs> for DevOptions {
    fn from(args: DevArgs) -> Self {
        let size = Size { masters: args.masters, shards: args.shards, agents: args.agents };
        let DevArgs { dir, restart, only, exit_with_stdin, log, .. } = args;
        Self { dir, size, restart, only, exit_with_stdin, log: log.into() }
    }
}

/// What every role has.
#[derive(Clone, Debug, Args)]
pub struct RoleOptions {
    /// The folder with this role's certificate, key and authority.
    #[arg(long, value_name = "DIR")]
    pub credentials: PathBuf,
    /// End when standard input ends.
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// What is logged, as in info or paceline_master=debug,warn.
    #[arg(long, default_value = "info,openraft=warn")]
    pub log: String,
    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// A port on loopback that says healthy or not, without certificates and without data.
    #[arg(long, value_name = "PORT")]
    pub health_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct MasterArgs {
    #[command(flatten)]
    pub role: RoleOptions,
    /// The folder for log, snapshots and history.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// This master's Raft id: never used again after removal.
    #[arg(long)]
    pub raft_id: u64,
    /// Where clients and shards reach it.
    #[arg(long, value_name = "ADDRESS")]
    pub api: SocketAddr,
    /// Where the other masters reach it.
    #[arg(long, value_name = "ADDRESS")]
    pub peer: SocketAddr,
    /// Begin a new cell with this master and the founders, if its data folder is new.
    #[arg(long)]
    pub bootstrap: bool,
    /// Another master of the cell that begins; repeat for each.
    #[arg(long = "founder", value_name = "NAME,PEER,API", value_parser = parse_founder, requires = "bootstrap")]
    pub founders: Vec<Founder>,
    /// Raft's clocks.
    #[arg(long, value_enum, default_value_t = RaftTimings::Default)]
    pub timings: RaftTimings,
    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RaftTimings {
    /// Heartbeat 50 ms, election 150 to 300 ms.
    Default,
    /// Heartbeat 20 ms, election 60 to 120 ms.
    Fast,
    /// Heartbeat 100 ms, election 300 to 600 ms.
    SlowDisk,
}

#[derive(Debug, Args)]
pub struct ShardArgs {
    #[command(subcommand)]
    pub command: Option<ShardCommand>,
    // Two groups: clap tells whether an optional group was given only where it holds no other group.
    #[command(flatten)]
    pub role: Option<RoleOptions>,
    #[command(flatten)]
    pub place: Option<ShardPlace>,
}

/// Where a shard stands.
#[derive(Clone, Debug, Args)]
pub struct ShardPlace {
    /// Where agents reach it.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// A master's API address; repeat for each.
    #[arg(long = "master", value_name = "ADDRESS", required = true)]
    pub masters: Vec<String>,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    pub role: RoleOptions,
    /// The folder for attempts and the agent's own records.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where health and metrics are served.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// A shard's address; repeat for each.
    #[arg(long = "shard", value_name = "ADDRESS")]
    pub shards: Vec<String>,
    /// A master's API address, to ask for shards; repeat for each.
    #[arg(long = "master", value_name = "ADDRESS")]
    pub masters: Vec<String>,
    /// CPU for tasks, as in 1500m or 4; the machine's by default.
    #[arg(long, value_parser = parse_cpu_milli)]
    pub cpu: Option<u64>,
    /// Memory for tasks, as in 4Gi; the machine's by default.
    #[arg(long, value_parser = parse_memory_bytes)]
    pub memory: Option<u64>,
    /// A label, as in zone=east; repeat for each.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub labels: Vec<(String, String)>,
    /// A user id of its own for each task that names no user, as in 200000:1000; as many as attempts at once,
    /// ended ones included until they are acknowledged. Otherwise all of them run as nobody.
    #[arg(long, value_name = "FIRST:COUNT")]
    pub task_uids: Option<paceline_agent::TaskUids>,
}

#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Create the authorities of a new cell.
    Init {
        /// The cell's name.
        #[arg(long, value_name = "NAME")]
        cell_name: String,
        /// The authorities' folder; it must not exist.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issue a certificate that lives a year.
    Issue {
        /// The authorities' folder.
        #[arg(long)]
        dir: PathBuf,
        /// master, shard, agent, agent-group, user or operator.
        #[arg(long)]
        role: paceline_identity::Role,
        /// The name in the certificate.
        name: String,
        /// The folder for certificate, key and authority.
        #[arg(long)]
        out: PathBuf,
    },
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
    /// Hand the leadership over.
    TransferLeadership {
        /// The master that shall lead; the leader chooses by default.
        #[arg(long)]
        to: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum BrakeCommand {
    /// Say that the silent nodes are gone: their tasks run elsewhere as soon as their jobs allow.
    Release,
}

/// Reads `NAME,PEER,API`: a name and two addresses.
fn parse_founder(text: &str) -> Result<Founder, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let [name, peer, api] = parts[..] else {
        return Err(format!("`{text}` is not NAME,PEER-ADDRESS,API-ADDRESS"));
    };
    Ok(Founder { name: name.to_owned(), peer_address: peer.to_owned(), api_address: api.to_owned() })
}

/// Reads `NAME=VALUE`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_task_is_named_by_job_and_index() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let Ok(Cli { command: Command::Job(JobCommand::Logs(logs)), .. }) =
            parse("paceline job logs j 3 -f --stderr --attempt 2 --tail 10")
        else {
            panic!("logs")
        };
        assert_eq!((logs.task, logs.attempt, logs.tail), (3, 2, Some(10)));
        assert!(logs.follow && logs.stderr);
        for wrong in ["job logs j", "job logs j -1", "job logs j 1 --tail 3 --offset 4"] {
            assert!(parse(&format!("paceline {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_timeout_is_between_a_second_and_a_year() {
        let parse = |seconds: &str| Cli::try_parse_from(["paceline", "cell", "status", "--timeout", seconds]);
        assert!(parse("1").is_ok() && parse("31536000").is_ok());
        for wrong in ["0", "31536001", "18446744073709551615"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shard_is_a_role_and_a_noun() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("paceline shard list").is_ok());
        let role = parse("paceline shard --credentials c --listen 127.0.0.1:1 --master 127.0.0.1:2");
        let Ok(Cli {
            command: Command::Shard(ShardArgs { command: None, role: Some(_), place: Some(place) }),
            ..
        }) = role
        else {
            panic!("a role")
        };
        assert_eq!(place.masters, ["127.0.0.1:2"]);
        assert!(parse("paceline shard").is_err());
        assert!(parse("paceline shard --listen 127.0.0.1:1").is_err());
    }
}
