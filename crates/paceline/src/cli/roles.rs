//! What a process that runs a part of a cell is started with, and a whole cell on one machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use paceline_master::Founder;
use paceline_types::{parse_cpu_milli, parse_memory_bytes};

use super::{ShardCommand, parse_pair};
use crate::dev::{DevOptions, LogPlan, Part, Size};

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
    /// With --only master:N, where the cell has no such master: make it, and start it so that it waits to be taken in by
    /// paceline cell member add or replace.
    #[arg(long, requires = "only")]
    join: bool,
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
        let DevArgs { dir, restart, only, join, exit_with_stdin, log, .. } = args;
        Self { dir, size, restart, only, join, exit_with_stdin, log: log.into() }
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
    /// The Raft id of a master that the cell begins with, below 1048576: never used again after removal.
    #[arg(long, required_unless_present = "join", value_parser = clap::value_parser!(u64).range(1..1 << 20))]
    pub raft_id: Option<u64>,
    /// Join a cell that serves: wait to be taken in by paceline cell member add or replace, and keep the Raft id that
    /// is given then. Later starts on the same folder go on from there.
    #[arg(long, conflicts_with_all = ["raft_id", "bootstrap"])]
    pub join: bool,
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

/// Reads `NAME,PEER,API`: a name and two addresses.
fn parse_founder(text: &str) -> Result<Founder, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let [name, peer, api] = parts[..] else {
        return Err(format!("`{text}` is not NAME,PEER-ADDRESS,API-ADDRESS"));
    };
    Ok(Founder { name: name.to_owned(), peer_address: peer.to_owned(), api_address: api.to_owned() })
}
