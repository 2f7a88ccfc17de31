//! The roles as processes: credentials, sockets and disks in, one role's loop until it is asked to end.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use paceline_agent::AgentConfig;
use paceline_identity::{Credentials, Role, TlsConnector, TlsListener};
use paceline_master::{LogBudget, MasterConfig, MasterParts, NO_RAFT_ID, Timings};
use paceline_shard::{ShardConfig, ShardLimits};
use paceline_telemetry::{LogFormat, init_tracing};
use paceline_types::Resources;

use crate::cli::{self, AgentArgs, MasterArgs, RaftTimings, RoleOptions, ShardPlace};
use crate::shutdown::asked_to_end_or_stdin;

/// Loads credentials of the role, sets up logging, and says when the certificate ends.
fn begin(options: &RoleOptions, role: Role) -> Result<Arc<Credentials>> {
    let format = match options.log_format {
        cli::LogFormat::Text => LogFormat::Text,
        cli::LogFormat::Json => LogFormat::Json,
    };
    init_tracing(format, &options.log)?;
    let credentials = Credentials::load(&options.credentials)?;
    let identity = credentials.identity();
    if identity.role != role {
        bail!(
            "{} holds the credentials of {} {}: expected those of a {role}",
            options.credentials.display(),
            identity.role,
            identity.name
        );
    }
    refuse_ended(&credentials, options)?;
    Ok(Arc::new(credentials))
}

/// Nobody would talk to a process with a certificate that has ended. Of one that ends soon each role warns by itself.
fn refuse_ended(credentials: &Credentials, options: &RoleOptions) -> Result<()> {
    let identity = credentials.identity();
    if identity.not_after_unix < unix_seconds() {
        bail!(
            "the certificate of {} in {} ended at unix time {}: issue another",
            identity.spiffe_id(),
            options.credentials.display(),
            identity.not_after_unix
        );
    }
    Ok(())
}

/// A server has a descriptor for each connection, and the soft limit of most systems (1,024) is for programs that
/// cannot count further. Agents keep it: their tasks would inherit another.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files cannot be raised");
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

async fn listen(address: std::net::SocketAddr, credentials: &Arc<Credentials>) -> Result<TlsListener> {
    let bound = TlsListener::bind(address, credentials.clone()).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

/// Runs a master.
pub async fn master(args: MasterArgs) -> Result<()> {
    let credentials = begin(&args.role, Role::Master)?;
    raise_open_files();
    let peer = Arc::new(Credentials::load_peer(&args.role.credentials)?);
    refuse_ended(&peer, &args.role)?;
    let identity = credentials.identity();
    let config = MasterConfig {
        cell: identity.cell.clone(),
        name: identity.name.clone(),
        raft_id: args.raft_id.unwrap_or(NO_RAFT_ID),
        api_address: args.api.to_string(),
        peer_address: args.peer.to_string(),
        bootstrap: args.bootstrap.then_some(args.founders),
        health_port: args.role.health_port,
        timings: match args.timings {
            RaftTimings::Default => Timings::DEFAULT,
            RaftTimings::Fast => Timings::FAST,
            RaftTimings::SlowDisk => Timings::SLOW_DISK,
        },
        log: log_budget(args.log),
    };
    let disk = paceline_store::RocksDisk::open(&args.data)?;
    let history = paceline_store::HistoryStore::open(&args.data)?;
    let parts = MasterParts {
        disk: Arc::new(disk),
        history: Arc::new(history),
        api_listener: listen(args.api, &credentials).await?,
        peer_listener: listen(args.peer, &peer).await?,
        peer_connector: Arc::new(TlsConnector::new(peer)),
        credentials,
    };
    Ok(paceline_master::run(config, parts, asked_to_end_or_stdin(args.role.exit_with_stdin)).await?)
}

/// Runs a link shard.
pub async fn shard(role: RoleOptions, place: ShardPlace) -> Result<()> {
    let credentials = begin(&role, Role::Shard)?;
    raise_open_files();
    let identity = credentials.identity();
    let (_, seed) = paceline_agent::random_instance_and_seed()?;
    let config = ShardConfig {
        name: identity.name.parse()?,
        cell: identity.cell.clone(),
        address: Some(place.listen.to_string()),
        masters: place.masters,
        credentials: Some(credentials.clone()),
        health_port: role.health_port,
        limits: ShardLimits::default(),
        seed,
    };
    let listener = listen(place.listen, &credentials).await?;
    let connector = Arc::new(TlsConnector::new(credentials));
    Ok(paceline_shard::run(config, listener, connector, asked_to_end_or_stdin(role.exit_with_stdin)).await?)
}

/// Runs a node agent.
pub async fn agent(args: AgentArgs) -> Result<()> {
    let credentials = begin(&args.role, Role::Agent)?;
    let identity = credentials.identity();
    let mut config = AgentConfig::of_this_machine(&identity.cell, identity.name.parse()?, args.data.clone())?;
    config.shards = args.shards;
    config.masters = args.masters;
    config.health_port = args.role.health_port;
    config.labels = args.labels.into_iter().collect();
    let cpu_milli = args.cpu.unwrap_or(config.capacity.cpu_milli());
    let memory_bytes = args.memory.unwrap_or(config.capacity.memory_bytes());
    config.capacity = Resources::new(cpu_milli, memory_bytes);
    config.task_uids = args.task_uids;
    let runtime = paceline_agent::process_runtime(&config, &supervisor()?)?;
    let listener = match args.listen {
        Some(address) => Some(listen(address, &credentials).await?),
        None => None,
    };
    let connector = Arc::new(TlsConnector::new(credentials.clone()));
    let shutdown = asked_to_end_or_stdin(args.role.exit_with_stdin);
    Ok(paceline_agent::run(config, runtime, connector, credentials, listener, shutdown).await?)
}

/// The supervisor's program, which is installed beside this one.
pub fn supervisor() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own.with_file_name("paceline-supervisor");
    if !beside.is_file() {
        bail!("{} is missing: it is installed beside {}", beside.display(), own.display());
    }
    Ok(beside)
}

fn log_budget(options: cli::LogOptions) -> LogBudget {
    let usual = LogBudget::default();
    LogBudget {
        snapshot_after_bytes: options.snapshot_after_log.unwrap_or(usual.snapshot_after_bytes),
        tail_bytes: options.log_tail.unwrap_or(usual.tail_bytes),
    }
}
