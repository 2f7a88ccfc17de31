//! Puts an agent together: certificate, folder, what was started before, link, listener.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use paceline_api::decode_spec;
use paceline_identity::{Connector, Credentials, Listener, serve};
use paceline_runtime::{Observed, Runtime};
use paceline_telemetry::{Health, http_routes, serve_loopback_health};
use paceline_types::AttemptId;
use tokio::sync::oneshot;

use crate::agent::Agent;
use crate::config::{AgentConfig, Workers};
use crate::error::AgentError;
use crate::facts::capability_words;
use crate::folder::{Folder, Storage};
use crate::link::Link;
use crate::link::dial::Dialler;
use crate::table::{AgentTable, TableLimits};
use crate::work::{self, Work};

/// Runs an agent until `shutdown`. Tasks go on when it returns, whatever it returns.
///
/// `listener` serves health and metrics.
///
/// # Errors
/// [`AgentError`]: the agent did not start, or cannot go on.
pub async fn run(
    config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    connector: Arc<dyn Connector>,
    credentials: Arc<Credentials>,
    listener: Option<impl Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let storage =
        Folder::open(&config.data_dir, &config.cell, &config.node, config.boot, config.fresh_instance)?;
    run_with(config, storage, runtime, connector, credentials, listener, shutdown).await
}

/// [`run`] with another storage than a folder.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: AgentConfig,
    storage: impl Storage,
    runtime: Arc<dyn Runtime>,
    connector: Arc<dyn Connector>,
    credentials: Arc<Credentials>,
    listener: Option<impl Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    check_certificate(&config, &credentials)?;
    let dialler = Dialler {
        connector,
        credentials: Arc::clone(&credentials),
        cell: config.cell.clone(),
        deadline: Duration::from_millis(config.timings.connect_ms),
    };
    let link = Link::new(&config, dialler, Arc::clone(&runtime));
    if !link.has_targets() {
        return Err(AgentError::NoAddress);
    }
    // News that come while the folder is read must not be lost: subscribe first.
    let work = Work::new(Arc::clone(&runtime), config.workers);
    let (capabilities, attempts) = survey(&config, &runtime).await?;
    let seen = attempts.iter().map(|(attempt, observed)| (*attempt, work::seen(observed))).collect();
    let decode = |bytes: &[u8]| decode_spec(bytes).map_err(|error| error.to_string());
    let limits = limits(config.workers);
    let (table, recovered) = AgentTable::recover(limits, decode, storage.stored().clone(), seen);
    let counts = table.counts();
    tracing::info!(node = %config.node, instance = %storage.instance(), ?counts, capacity = %config.capacity, "starting");
    let routes = http_routes(Arc::clone(&config.metrics), config.health.clone());
    let probes = probes(config.health_port, config.health.clone());
    let agent = Agent::new(config, credentials, storage, table, link, work, capabilities);
    let (left, leave) = oneshot::channel::<()>();
    let agent = async {
        let ended = Box::pin(agent.run(recovered, shutdown)).await;
        drop(left);
        ended
    };
    let leaving = async {
        // The other end is only ever dropped.
        let _ = leave.await;
    };
    let server = async {
        match listener {
            Some(listener) => serve(listener, routes, leaving).await.map_err(AgentError::from),
            None => Ok(()),
        }
    };
    let work = async { tokio::try_join!(agent, server).map(drop) };
    tokio::select! {
        ended = work => ended,
        failed = probes => failed,
    }
}

/// More processes being created than a few per core only take time from those that run, the agent's own and the
/// masters' on a small machine among them.
const LAUNCHES_PER_CORE: usize = 4;

/// What a runtime without threads does costs nothing, and must not depend on the machine.
fn limits(workers: Workers) -> TableLimits {
    let defaults = TableLimits::default();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    match workers {
        Workers::Inline => defaults,
        Workers::Threads => TableLimits {
            launches_in_flight: defaults.launches_in_flight.min(cores * LAUNCHES_PER_CORE),
            ..defaults
        },
    }
}

/// The health port, where one is wanted; it ends only by failing.
async fn probes(port: Option<u16>, health: Health) -> Result<(), AgentError> {
    match port {
        Some(port) => serve_loopback_health(port, health).await.map_err(AgentError::Health),
        None => std::future::pending().await,
    }
}

fn check_certificate(config: &AgentConfig, credentials: &Credentials) -> Result<(), AgentError> {
    let presented = credentials.identity();
    if presented.cell == config.cell && presented.speaks_for_node(config.node.as_str()) {
        return Ok(());
    }
    Err(AgentError::WrongCertificate {
        node: config.node.clone(),
        cell: config.cell.clone(),
        presented: presented.spiffe_id(),
    })
}

/// What the runtime can enforce, and what it has from before.
async fn survey(
    config: &AgentConfig,
    runtime: &Arc<dyn Runtime>,
) -> Result<(Vec<String>, Vec<(AttemptId, Observed)>), AgentError> {
    let runtime = Arc::clone(runtime);
    let look = move || (capability_words(&runtime.capabilities()), runtime.attempts());
    let (capabilities, attempts) = work::on_worker(config.workers, look).await;
    Ok((capabilities, attempts.map_err(AgentError::Recover)?))
}
