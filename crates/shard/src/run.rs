//! A shard from start to end: serves agents, keeps a leader, sends agents elsewhere before it leaves.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use paceline_api::v1::agent_link_server::{self, AgentLinkServer};
use paceline_api::{FILE_DESCRIPTOR_SET, FRAME_BYTES_MAX};
use paceline_identity::{Connector, Credentials, Listener, ServeError, grpc, serve};
use paceline_link::ShardLogic;
use paceline_telemetry::{
    Health, Metrics, Probe, ReflectionError, grpc_routes, http_routes, serve_loopback_health,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::backoff::Backoff;
use crate::config::ShardConfig;
use crate::leader::Dialler;
use crate::logs::{LogDesk, LogDiallers};
use crate::masters::Masters;
use crate::owner::{EVENTS_MAX, Event, Owner};
use crate::service::{AGENT_FRAME_BYTES_MAX, AgentService};

/// How often the days left of the certificate are looked at: it warns each time.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(3_600);

/// What a gRPC tool may ask about: the server as a whole, and the service that needs a leader.
const HEALTH_SERVICES: [&str; 2] = ["", agent_link_server::SERVICE_NAME];

/// Why a shard ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Nobody to connect to.
    #[error("shard {shard} was given no address of a master")]
    NoMasters {
        /// The shard.
        shard: String,
    },
    /// The listener has no address.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
    /// The port gives nothing but errors.
    #[error("the port of the shard cannot be served")]
    Serve(#[from] ServeError),
    /// The compiled contract cannot be served for reflection.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// The health port cannot be served.
    #[error("the health port cannot be served")]
    Health(#[source] io::Error),
    /// A task of the role panicked: a bug.
    #[error("a task of the shard failed: {0}")]
    Task(String),
}

/// Runs a shard until `shutdown` completes.
///
/// # Errors
/// Whatever keeps it from starting, and whatever ends it before it was asked to. A missing leader is neither.
pub async fn run(
    config: ShardConfig,
    listener: impl Listener,
    connector: Arc<dyn Connector>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ShardError> {
    if config.masters.is_empty() {
        return Err(ShardError::NoMasters { shard: config.name.to_string() });
    }
    let address = match &config.address {
        Some(address) => address.clone(),
        None => listener.local_addr().map_err(ShardError::Listener)?.to_string(),
    };
    let (metrics, health) = (Arc::new(Metrics::new()), Health::new());
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let logs = LogDesk::new();
    let (standard, serving) = grpc_routes(FILE_DESCRIPTOR_SET, &HEALTH_SERVICES).await?;
    let router = agent_routes(&events, &logs, &metrics)
        .merge(standard)
        .merge(http_routes(metrics.clone(), health.clone()));
    let logic = ShardLogic::new(config.name.clone(), address.clone(), config.limits.clone());
    let ready = health.check(Probe::Ready, "leader");
    let owner = Owner::new(logic, metrics.clone(), ready);
    let probes = probes(config.health_port, health.clone());
    let masters = Masters::new(config.masters);
    let mut tasks = JoinSet::new();
    // Any master may be asked for output, so each has a stream for it.
    let log_diallers = LogDiallers {
        connector: connector.clone(),
        masters: masters.subscribe(),
        desk: logs.clone(),
        seed: config.seed,
    };
    tasks.spawn(log_diallers.run());
    let dialler = Dialler {
        connector,
        masters,
        metrics: metrics.clone(),
        events: events.clone(),
        backoff: Backoff::new(config.seed),
        in_flight_max: config.limits.batches_in_flight_max,
    };
    tasks.spawn(owner.run(inbox));
    tasks.spawn(dialler.run());
    tasks.spawn(serving.follow(health));
    if let Some(credentials) = config.credentials {
        tasks.spawn(watch_certificate(credentials, metrics));
    }
    tracing::info!(cell = config.cell, shard = %config.name, address, "serving");
    let served = serve(listener, router, async move {
        shutdown.await;
        leave(&events).await;
        logs.close();
    });
    tokio::select! {
        served = served => Ok(served?),
        failed = probes => failed,
        // None of them ends by itself.
        Some(ended) = tasks.join_next() => {
            let why = ended.err().map_or_else(|| "it ended early".to_owned(), |error| error.to_string());
            Err(ShardError::Task(why))
        }
    }
}

/// The health port, where one is wanted; it ends only by failing.
async fn probes(port: Option<u16>, health: Health) -> Result<(), ShardError> {
    match port {
        Some(port) => serve_loopback_health(port, health).await.map_err(ShardError::Health),
        None => std::future::pending().await,
    }
}

/// Tells agents to go elsewhere, before the port closes.
async fn leave(events: &mpsc::Sender<Event>) {
    let (told, done) = oneshot::channel();
    if events.send(Event::Leave(told)).await.is_ok() {
        // An error means that the owner is gone, and every stream with it.
        let _ = done.await;
    }
}

/// What agents may call.
fn agent_routes(events: &mpsc::Sender<Event>, logs: &LogDesk, metrics: &Arc<Metrics>) -> Router {
    let service = AgentService::new(events.clone(), logs.clone(), metrics.clone());
    let agents = AgentLinkServer::new(service)
        .max_decoding_message_size(AGENT_FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    grpc(agents)
}

async fn watch_certificate(credentials: Arc<Credentials>, metrics: Arc<Metrics>) {
    let mut timer = interval(CERTIFICATE_LOOK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.observe_certificate(&credentials, i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    }
}
