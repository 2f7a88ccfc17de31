//! A master from start to end: opens the replica, serves its two ports, runs the leader's loop, leaves in good order.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use paceline_api::FILE_DESCRIPTOR_SET;
use paceline_api::v1::{
    cell_server, jobs_server, master_link_server, members_server, nodes_server, shards_server,
};
use paceline_cell::Cell;
use paceline_identity::{Connector, Credentials, Listener, ServeError, serve};
use paceline_replica::{
    Disk, DiskError, Execution, FatalHandler, History, InitializeError, NO_RAFT_ID, OpenError, Replica,
    ReplicaConfig, ReplicaStatus, ServerRole,
};
use paceline_telemetry::{
    Check, Health, Metrics, Probe, ReflectionError, Serving, grpc_routes, http_routes, serve_loopback_health,
};
use paceline_types::TaskState;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::api::{Heard, LogRelay, Readers, Services, Watchers, counted};
use crate::bootstrap::begin_cell;
use crate::certificates::Certificates;
use crate::config::MasterConfig;
use crate::history;
use crate::joining;
use crate::leader::{LINK_EVENTS_MAX, LeaderLoop, QUESTIONS_MAX};
use crate::leaving;
use crate::machine::Machine;
use crate::own_entry::OwnEntry;
use crate::pages::Pages;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::reads::Reads;
use crate::room::{FREE_BYTES_MIN, Room};
use crate::witness::{Door, Witness};

/// How long a leader that was asked to end may take to hand over; then it ends all the same.
const HAND_OVER: Duration = Duration::from_secs(2);
/// When the master has ended, its disk is free: whoever starts the next one in this process may rely on it. Calls
/// that are cut off let go of it within moments.
const RELEASE: Duration = Duration::from_secs(5);
const RELEASE_LOOK: Duration = Duration::from_millis(5);
/// How often gauges are brought up to date.
const OBSERVE: Duration = Duration::from_secs(1);

/// What a gRPC tool may ask about: the server as a whole, and each service that needs a leader.
const HEALTH_SERVICES: [&str; 7] = [
    "",
    cell_server::SERVICE_NAME,
    jobs_server::SERVICE_NAME,
    master_link_server::SERVICE_NAME,
    members_server::SERVICE_NAME,
    nodes_server::SERVICE_NAME,
    shards_server::SERVICE_NAME,
];

/// What a master is made of besides its configuration: the simulation hands in its own.
pub struct MasterParts<L> {
    /// Log and snapshots.
    pub disk: Arc<dyn Disk>,
    /// Finished jobs.
    pub history: Arc<dyn History>,
    /// For clients and shards.
    pub api_listener: L,
    /// For the other masters, with certificates of the peer authority.
    pub peer_listener: L,
    /// To the other masters.
    pub peer_connector: Arc<dyn Connector>,
    /// To check what agents sign.
    pub credentials: Arc<Credentials>,
}

/// What a master takes from the process around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Where owner loops and blocking work run.
    pub execution: Execution,
    /// What a disk or a state that can no longer be trusted leads to.
    pub fatal: FatalHandler,
    /// Who is told of every entry that is applied.
    pub witness: Option<Witness>,
    /// What comes through it is proposed as it is.
    pub door: Option<Door>,
}

/// Why a master ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The replica cannot be opened.
    #[error("the replica cannot be opened")]
    Open(#[from] OpenError),
    /// The history of finished jobs cannot be read.
    #[error("the history of finished jobs cannot be used")]
    History(#[from] DiskError),
    /// The cell cannot be begun.
    #[error("the cell cannot be initialised")]
    Initialize(#[from] InitializeError),
    /// A port gives nothing but errors.
    #[error("a port cannot be served")]
    Serve(#[from] ServeError),
    /// The compiled contract cannot be served for reflection.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// Raft died in this process; whoever started it starts it again.
    #[error("Raft has stopped: {0}")]
    Raft(String),
    /// It is no master of the cell any more, or can never be one.
    #[error(
        "master {name} was removed from cell {cell} (entry {at} of the log), or never became a part of it, and ends: this folder serves no master any more. It can come back on an empty folder only: start it with --join, then paceline cell member add"
    )]
    Removed {
        /// Its name.
        name: String,
        /// The cell.
        cell: String,
        /// The entry whose membership shows it.
        at: u64,
    },
    /// It stands on an empty disk, and the others know it on another.
    #[error(
        "cell {cell} knows master {name} on disk {known}, and this folder is the empty disk {own}: under its old Raft id an empty disk could vote twice. Start it on an empty folder with --join, then paceline cell member replace {name}"
    )]
    OtherDisk {
        /// Its name.
        name: String,
        /// The cell.
        cell: String,
        /// The disk that the others know.
        known: String,
        /// The one that it stands on.
        own: String,
    },
    /// The health port cannot be served.
    #[error("the health port cannot be served")]
    Health(#[source] io::Error),
    /// A task of the role panicked: a bug.
    #[error("a task of the master failed: {0}")]
    Task(String),
}

/// Runs a master until `shutdown` completes.
///
/// # Errors
/// Whatever keeps it from starting, and whatever ends it before it was asked to.
pub async fn run<L: Listener>(
    config: MasterConfig,
    parts: MasterParts<L>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), MasterError> {
    run_in(Surroundings::default(), config, parts, shutdown).await
}

/// Proposes whatever comes; what became of it shows in the log.
async fn propose_from(door: Door, replica: Arc<Replica>) {
    loop {
        let payload = door.next().await;
        if let Err(error) = replica.propose(payload).await {
            tracing::debug!(%error, "what came through the door was not committed");
        }
    }
}

/// [`run`] in other surroundings than a process of its own: the simulation.
///
/// # Errors
/// As [`run`].
pub async fn run_in<L: Listener>(
    surroundings: Surroundings,
    config: MasterConfig,
    parts: MasterParts<L>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), MasterError> {
    let execution = surroundings.execution;
    let (disk, store) = (parts.disk.clone(), parts.history.clone());
    let cell = Cell::genesis(&config.cell);
    let published = Arc::new(Published::new(cell.clone()));
    let metrics = Arc::new(Metrics::new());
    let certificates = Certificates::new(&parts.credentials, parts.peer_connector.as_ref());
    let peers = certificates.watching(parts.peer_connector);
    let mut options = ReplicaConfig::new(&config.cell, &config.name, config.raft_id);
    options.timings = config.timings;
    (options.peer_address, options.api_address) = (config.peer_address.clone(), config.api_address.clone());
    options.snapshot_after_log_bytes = config.log.snapshot_after_bytes;
    options.log_tail_bytes = config.log.tail_bytes;
    (options.execution, options.fatal) = (execution, surroundings.fatal);
    let (retiring, history) = history::start(store.clone(), options.execution, options.fatal.clone())?;
    let machine = Machine::new(cell, published.clone(), metrics.clone(), retiring, options.fatal.clone())
        .witnessed(surroundings.witness);
    let (leave, leaving) = watch::channel(false);
    let mut tasks: JoinSet<Result<(), MasterError>> = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut peer_listener = Some(parts.peer_listener);
    let mut joining = None;
    if config.raft_id == NO_RAFT_ID {
        let fatal = options.fatal.clone();
        let waiting = joining::prepare(&config, disk.clone(), execution, fatal).await?;
        if let Some(listener) = peer_listener.take() {
            tasks.spawn(serve_port(listener, waiting.peer_routes(), leaving.clone()));
        }
        options.raft_id = tokio::select! {
            raft_id = waiting.raft_id() => raft_id,
            () = &mut shutdown => return Ok(()),
            Some(ended) = tasks.join_next() => return Err(end_of(ended)),
        };
        joining = Some(waiting);
    }
    let replica = Replica::open(options, parts.disk, parts.history, machine, peers).await?;
    let replica = Arc::new(replica);
    if let Some(joining) = joining {
        joining.enter(&replica);
    }
    published.begin_counting();
    let config = Arc::new(config);
    let health = Health::new();
    let ready = health.check(Probe::Ready, "leader");
    let disk_ready = health.check(Probe::Ready, "disk");
    let room = Arc::new(Room::new(FREE_BYTES_MIN));
    let (links, link_events) = mpsc::channel(LINK_EVENTS_MAX);
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let proposer = Proposer::new(replica.clone(), metrics.clone());
    let logs = LogRelay::new();
    let pages = Arc::new(Pages::default());
    let services = Services {
        config: config.clone(),
        replica: replica.clone(),
        published: published.clone(),
        history,
        proposer: proposer.clone(),
        reads: Reads::new(replica.clone(), published.clone()),
        credentials: parts.credentials,
        certificates: certificates.clone(),
        room: room.clone(),
        links,
        questions,
        pages: pages.clone(),
        next_link: Arc::new(AtomicU64::new(1)),
        logs: logs.clone(),
        log_readers: Readers::default(),
        watchers: Watchers::default(),
        heard: Heard::default(),
        execution,
    };
    let (standard, serving) = grpc_routes(FILE_DESCRIPTOR_SET, &HEALTH_SERVICES).await?;
    let router = counted(services.routes(), metrics.clone(), replica.clone())
        .merge(standard)
        .merge(http_routes(metrics.clone(), health.clone()));
    let leader = LeaderLoop {
        replica: replica.clone(),
        published: published.clone(),
        proposer,
        metrics: metrics.clone(),
        links: link_events,
        questions: asked,
    };

    tasks.spawn(serve_port(parts.api_listener, router, leaving.clone()));
    if let Some(listener) = peer_listener.take() {
        tasks.spawn(serve_port(listener, replica.peer_routes(), leaving));
    }
    tasks.spawn(async move {
        leader.run().await;
        Ok(())
    });
    let founding = async {
        match &config.bootstrap {
            Some(founders) => begin_cell(&replica, &config, founders).await,
            None => Ok(()),
        }
    };
    if let Some(port) = config.health_port {
        let mut leaving = leave.subscribe();
        let on_loopback = health.clone();
        tasks.spawn(async move {
            tokio::select! {
                served = serve_loopback_health(port, on_loopback) => served.map_err(MasterError::Health),
                _ = leaving.wait_for(|leave| *leave) => Ok(()),
            }
        });
    }
    let observer = Observer {
        replica: replica.clone(),
        published,
        metrics,
        ready,
        pages,
        health: health.clone(),
        serving,
        certificates,
        disk: disk.clone(),
        disk_ready,
        room,
        execution,
        entry: OwnEntry::new(&config),
    };
    let observing = tokio::spawn(observer.run());
    let knocking = surroundings.door.map(|door| tokio::spawn(propose_from(door, replica.clone())));
    tracing::info!(cell = %config.cell, master = %config.name, api = %config.api_address, "serving");

    let mut fatal = replica.fatal();
    let mut dismissal = replica.dismissal();
    let run = async {
        // The others ask who this master is while it asks them: its own port is open by now.
        founding.await?;
        std::future::pending().await
    };
    let outcome = tokio::select! {
        // Raft's death first: it ends the other parts too, which then look as if they had ended well.
        biased;
        () = &mut shutdown => {
            hand_over(&replica).await;
            Ok(())
        }
        ended = run => ended,
        why = death(&mut fatal) => Err(MasterError::Raft(why)),
        why = leaving::dismissed(&mut dismissal, &config, &replica) => Err(why),
        Some(ended) = tasks.join_next() => Err(end_of(ended)),
    };
    leave.send_replace(true);
    logs.close();
    observing.abort();
    if let Some(knocking) = knocking {
        knocking.abort();
    }
    (*replica).clone().shutdown().await;
    while tasks.join_next().await.is_some() {}
    drop(replica);
    if let Err(error) = &outcome {
        leaving::note(error, &disk, execution).await;
    }
    close(disk, execution).await;
    close(store, execution).await;
    outcome
}

/// How a part of the master that should have gone on ended.
fn end_of(ended: Result<Result<(), MasterError>, tokio::task::JoinError>) -> MasterError {
    match ended {
        Ok(Ok(())) => MasterError::Task("a part of the master ended by itself".to_owned()),
        Ok(Err(error)) => error,
        Err(error) => MasterError::Task(error.to_string()),
    }
}

/// Closes the disk, once nobody else holds it: the process, or the next master in it, must not meet a database that
/// is being closed on some other thread.
async fn close<D: ?Sized + Send + Sync + 'static>(disk: Arc<D>, execution: Execution) {
    let released = async {
        while Arc::strong_count(&disk) > 1 {
            sleep(RELEASE_LOOK).await;
        }
    };
    if timeout(RELEASE, released).await.is_err() {
        tracing::warn!("the disk is still in use {RELEASE:?} after the end");
    }
    // A panic in closing is reported by the thread itself; there is nothing left to do about it.
    let _ = execution.blocking(move || drop(disk)).await;
}

/// Why Raft died in this process.
async fn death(fatal: &mut watch::Receiver<Option<String>>) -> String {
    let died = fatal.wait_for(Option::is_some).await;
    died.ok().and_then(|why| why.clone()).unwrap_or_else(|| "no reason was given".to_owned())
}

async fn serve_port<L: Listener>(
    listener: L,
    router: Router,
    mut leaving: watch::Receiver<bool>,
) -> Result<(), MasterError> {
    let left = async move {
        // An error means that the sender is gone, which is a leave as well.
        let _ = leaving.wait_for(|leave| *leave).await;
    };
    Ok(serve(listener, router, left).await?)
}

/// Hands the leadership to another master before leaving, so that the cell does not wait for an election.
async fn hand_over(replica: &Replica) {
    let status = replica.status();
    if status.role != ServerRole::Leader || status.voters.len() < 2 {
        return;
    }
    match timeout(HAND_OVER, replica.transfer_leadership(None)).await {
        Ok(Ok(())) => tracing::info!("the leadership was handed over"),
        Ok(Err(error)) => tracing::warn!(%error, "the leadership was not handed over"),
        Err(_) => tracing::warn!("the leadership was not handed over within {HAND_OVER:?}"),
    }
}

/// Keeps gauges and readiness true.
struct Observer {
    replica: Arc<Replica>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    ready: Check,
    pages: Arc<Pages>,
    health: Health,
    serving: Serving,
    certificates: Arc<Certificates>,
    disk: Arc<dyn Disk>,
    disk_ready: Check,
    room: Arc<Room>,
    execution: Execution,
    entry: OwnEntry,
}

impl Observer {
    async fn run(mut self) {
        let mut timer = interval(OBSERVE);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let status = self.replica.status();
            self.observe(&status);
            self.entry.look(&status, self.replica.disk_id());
            self.look_at_disk().await;
            self.pages.sweep();
            self.serving.set(self.health.ready().healthy).await;
            self.metrics.raft.log_bytes.advance_to(self.replica.log_bytes_written());
        }
    }

    fn observe(&self, status: &ReplicaStatus) {
        let raft = &self.metrics.raft;
        let number = |value: Option<u64>| i64::try_from(value.unwrap_or(0)).unwrap_or(i64::MAX);
        raft.term.set(number(Some(status.term)));
        raft.leader.set(i64::from(status.leading));
        raft.last_log.set(number(status.last_log));
        raft.committed.set(number(status.committed));
        raft.applied.set(number(Some(self.published.view().revision().0)));
        raft.snapshot.set(number(status.snapshot));
        self.metrics.schedule.pending_tasks.set_u64(if status.leading { self.pending() } else { 0 });
        self.observe_certificates(status);
        match &status.leader {
            Some(_) => self.ready.pass(),
            None => self.ready.fail("no leader is known"),
        }
    }

    fn pending(&self) -> u64 {
        self.published.view().jobs().map(|job| u64::from(job.count(TaskState::Pending))).sum()
    }

    /// Those of the other masters too: whoever reads the leader's log hears of all.
    fn observe_certificates(&self, status: &ReplicaStatus) {
        let now_unix = crate::api::unix_seconds();
        self.metrics.observe_certificates(self.certificates.own(), now_unix);
        let others = status.members.iter().filter(|member| Some(member.name.as_str()) != self.own_name());
        for member in others {
            if let Some(days_left) = self.certificates.days_left(&member.name, now_unix) {
                self.metrics.consider_certificate(&format!("master/{}", member.name), days_left);
            }
        }
    }

    fn own_name(&self) -> Option<&str> {
        self.certificates.own().first().map(|own| own.name.as_str())
    }

    /// A filesystem may take its time to answer, so it is asked on a thread of its own.
    async fn look_at_disk(&self) {
        let disk = self.disk.clone();
        match self.execution.blocking(move || disk.free_bytes()).await {
            Some(Ok(Some(free_bytes))) => {
                self.metrics.disk.free_bytes.set_u64(free_bytes);
                self.room.observe(free_bytes);
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => tracing::warn!(%error, "the room on the disk is not known"),
            // Only a runtime that ends refuses a blocking call.
            None => return,
        }
        let full = self.room.check();
        self.metrics.disk.nearly_full.set(i64::from(full.is_err()));
        match full {
            Ok(()) => self.disk_ready.pass(),
            Err(full) => self.disk_ready.fail(full.to_string()),
        }
    }
}
