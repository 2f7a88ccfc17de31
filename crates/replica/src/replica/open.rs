//! Opening a replica: snapshot, then log, then replay, and only then Raft.

use std::sync::Arc;
use std::time::Duration;

use openraft::entry::RaftEntry;
use openraft::{Config, SnapshotPolicy};
use paceline_identity::Connector;
use paceline_types::plant::{Plant, is_planted};

use super::errors::OpenError;
use super::handover::Handover;
use super::membership::{Changes, Hearing};
use super::propose::Admission;
use super::{Inner, Replica, compaction, membership, read, status};
use crate::config::{ReplicaConfig, Timings};
use crate::disk::Disk;
use crate::history::{History, HistorySource};
use crate::log::{DiskOwner, LogOptions, LogStore, LogView};
use crate::machine::{MachineHandle, MachineStore, StateMachine};
use crate::peer::{GrpcTransport, Me, NetworkFactory, PeerHandler, PeerTransport};
use crate::raft::Raft;
use crate::snapshot::SnapshotFolder;

/// The log is replayed in portions of this size.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;
/// Transfer and installation of a whole snapshot, at a few megabytes a second at worst.
const INSTALL_SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// A follower this many entries behind gets a snapshot. The log decides by bytes what it keeps; as long as the entries
/// are there, sending them is right.
const LAG_ENTRIES: u64 = u64::MAX / 2;
/// Entries per replication request; the byte budget is what bounds it.
const ENTRIES_PER_REQUEST: u64 = 4096;
/// openraft purges nothing on its own.
const KEEP_ALL_ENTRIES: u64 = u64::MAX / 2;

impl Replica {
    /// Opens the replica on its disk and its history, and joins its peers through `connector`, which holds the peer CA's
    /// credentials.
    pub async fn open(
        config: ReplicaConfig,
        disk: Arc<dyn Disk>,
        history: Arc<dyn History>,
        machine: impl StateMachine,
        connector: Arc<dyn Connector>,
    ) -> Result<Replica, OpenError> {
        Self::open_with(config, disk, history, machine, Arc::new(GrpcTransport::new(connector))).await
    }

    /// Like [`Replica::open`] over any transport.
    pub async fn open_with(
        config: ReplicaConfig,
        disk: Arc<dyn Disk>,
        history: Arc<dyn History>,
        machine: impl StateMachine,
        transport: Arc<dyn PeerTransport>,
    ) -> Result<Replica, OpenError> {
        let raft_config = Arc::new(raft_config(&config)?);
        let (snapshots, store) = open_disk(&config, disk, history.clone()).await?;
        let log = store.view();
        let me = Me {
            cell: config.cell.clone(),
            name: config.name.clone(),
            raft_id: config.raft_id,
            disk_id: store.disk_id(),
            peer_address: config.peer_address.clone(),
            api_address: config.api_address.clone(),
        };
        let machine = MachineHandle::start(Box::new(machine), config.execution, config.fatal.clone());
        recover(&machine, &snapshots, &log).await?;

        let history = HistorySource::new(history, config.execution);
        let stall = Duration::from_millis(config.timings.election_max_ms * 2);
        let network = NetworkFactory::new(me.clone(), transport.clone(), stall, history);
        let (execution, abort) = (config.execution, config.fatal.clone());
        let machine = MachineStore::new(machine, snapshots.clone(), log.clone(), execution, abort);
        let raft = Raft::new(config.raft_id, raft_config, network, store, machine).await;
        let raft = raft.map_err(|e| OpenError::Raft(e.to_string()))?;
        // An answer from the core means that what it says of itself is what was recovered. Before that it knows no
        // masters, as on an empty disk: a founder would refuse its own folder, and others would be told that there is
        // no cell yet.
        raft.is_initialized().await.map_err(|e| OpenError::Raft(e.to_string()))?;
        let hearing = Hearing::new();
        let (folder, abort) = (snapshots.clone(), config.fatal.clone());
        let handler = PeerHandler::new(me.clone(), raft.clone(), folder, execution, abort, hearing.clone());
        let (status, fatal) = status::follow(&raft);
        let changes = Changes::new(me.raft_id, raft.clone());
        let handover = Arc::new(Handover {
            me: me.raft_id,
            raft: raft.clone(),
            status: status.clone(),
            changes: changes.clone(),
            deadline: Duration::from_millis(config.timings.election_max_ms * 4),
        });
        let beside = [
            compaction::start(raft.clone(), log.clone(), snapshots.clone(), &config),
            membership::drive(changes.clone(), handover.clone(), status.clone()),
            membership::watch_for_dismissal(me.clone(), raft.clone(), transport.clone(), hearing.clone()),
        ];
        let reads = read::start(raft.clone());
        let admission = Admission::new(config.in_flight_bytes);
        let inner = Inner {
            me,
            raft,
            log,
            snapshots,
            transport,
            handler,
            status,
            fatal,
            admission,
            reads,
            changes,
            handover,
            hearing,
            beside,
        };
        Ok(Replica { inner: Arc::new(inner) })
    }
}

pub(crate) async fn open_disk(
    config: &ReplicaConfig,
    disk: Arc<dyn Disk>,
    history: Arc<dyn History>,
) -> Result<(Arc<SnapshotFolder>, LogStore), OpenError> {
    let cell = config.cell.clone();
    let identity = DiskOwner { cell: cell.clone(), name: config.name.clone(), raft_id: config.raft_id };
    let (memory_tail_bytes, execution) = (config.memory_tail_bytes, config.execution);
    let fatal = config.fatal.clone();
    let runtime = tokio::runtime::Handle::current();
    let opened = execution.blocking(move || {
        let _runtime = runtime.enter();
        // The log first: it knows whose disk this is.
        let options = LogOptions { identity, memory_tail_bytes, any_first_index: false, execution, fatal };
        let log = LogStore::open(disk.clone(), options)?;
        let snapshots = SnapshotFolder::open(disk, history, &cell)?;
        Ok::<_, OpenError>((Arc::new(snapshots), log))
    });
    opened.await.unwrap_or_else(|| Err(OpenError::Replay("reading the disk panicked".into())))
}

/// Brings the state machine to the last commit that this disk knows of.
pub(crate) async fn recover(
    machine: &MachineHandle,
    snapshots: &SnapshotFolder,
    log: &LogView,
) -> Result<(), OpenError> {
    let stopped = |e: crate::machine::MachineStopped| OpenError::Replay(e.to_string());
    let snapshot_index = snapshots.current_index();
    if let Some(snapshot) = snapshots.current() {
        machine.restore(snapshot).await.map_err(stopped)??;
    }
    if let Some(purged) = log.purged().map(|id| id.index()).filter(|purged| Some(*purged) > snapshot_index) {
        let snapshot =
            snapshot_index.map_or("no entry, there is none".into(), |index| format!("entry {index}"));
        return Err(OpenError::Uncovered { purged, snapshot });
    }
    let Some(committed) = log.committed() else { return Ok(()) };
    let reader = log.reader();
    let mut next = snapshot_index.map_or(0, |index| index + 1);
    while next <= committed.index() {
        let entries = reader.read(next, committed.index() + 1, REPLAY_BYTES).await;
        let entries = entries.map_err(|e| OpenError::Replay(e.to_string()))?;
        let last = entries.last().map(RaftEntry::index);
        next = last.ok_or_else(|| OpenError::Replay(format!("entry {next} is missing")))? + 1;
        machine.apply(entries.into_iter().map(|entry| (entry, None)).collect()).await.map_err(stopped)?;
    }
    Ok(())
}

fn raft_config(config: &ReplicaConfig) -> Result<Config, OpenError> {
    let Timings { heartbeat_ms, election_min_ms, election_max_ms } = config.timings;
    let raft = Config {
        cluster_name: config.cell.clone(),
        heartbeat_interval: heartbeat_ms,
        election_timeout_min: election_min_ms,
        election_timeout_max: election_max_ms,
        install_snapshot_timeout: INSTALL_SNAPSHOT_DEADLINE.as_millis() as u64,
        max_payload_entries: ENTRIES_PER_REQUEST,
        replication_lag_threshold: LAG_ENTRIES,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEEP_ALL_ENTRIES,
        // Who led does not lead on after a restart: it has to be elected again, in another term. A leader sends entries out
        // before its own disk has them, so after a crash a follower may hold one that the leader has lost. Leading on in
        // the same term, the leader would give the same term and index to another entry, both would pass for equal, and
        // the replicas would differ for ever. It would also serve reads at the commit that its disk remembers, which may
        // be behind what it acknowledged.
        enable_leader_restore: Some(is_planted(Plant::LeaderRestored)),
        // A node that rejoins or cannot win does not disturb a healthy leader.
        enable_pre_vote: Some(true),
        // Without it a bridge partition can keep a leader that cannot commit and silence those who could (openraft 2080).
        quorum_loss_probe_interval: (!is_planted(Plant::QuorumLossUnseen)).then_some(2 * election_max_ms),
        ..Config::default()
    };
    raft.validate().map_err(|e| OpenError::Config(e.to_string()))
}
