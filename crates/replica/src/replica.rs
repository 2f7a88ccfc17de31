//! The replica: opened, told its members once, and then asked to propose and to read.
//!
//! It sees bytes only. The revision of an entry is its index in the Raft log.

mod compaction;
mod errors;
mod handover;
mod membership;
pub(crate) mod open;
mod propose;
mod read;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::log::LogView;
use crate::member::{DiskId, Member};
use crate::peer::{Door, Me, PeerHandler, PeerTransport};
use crate::raft::Raft;
use crate::snapshot::SnapshotFolder;
use crate::wire::proto;

pub use errors::{
    ErrorClass, InitializeError, MembershipError, OpenError, ProbeError, ProposeError, ReadError,
    SnapshotNowError, TransferError,
};
pub use membership::{
    Changes, Dismissal, FIRST_MINTED_RAFT_ID, Hearing, Leaving, MEMBERS_MAX, NewMaster, removed_at,
};
pub use propose::Proposed;
pub use status::{ReplicaStatus, ServerRole};

/// How long another master may take to say who it is: less than a client's first try lasts (1.5 s), so that whoever
/// asked for it hears what went wrong, and asks again.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// How long a requested snapshot may take: it writes the whole state at disk speed.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(300);

/// One master's part of the replicated log. Clones are handles on the same replica.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

struct Inner {
    me: Me,
    raft: Raft,
    log: LogView,
    snapshots: Arc<SnapshotFolder>,
    transport: Arc<dyn PeerTransport>,
    handler: PeerHandler,
    status: watch::Receiver<ReplicaStatus>,
    fatal: watch::Receiver<Option<String>>,
    admission: propose::Admission,
    reads: mpsc::Sender<read::Waiter>,
    changes: Changes,
    handover: Arc<handover::Handover>,
    hearing: Hearing,
    /// What runs beside Raft and ends with the replica.
    beside: [AbortHandle; 3],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.beside.iter().for_each(AbortHandle::abort);
    }
}

/// What another master says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerDescription {
    /// Its Raft id.
    pub raft_id: u64,
    /// Its name.
    pub name: String,
    /// Its disk.
    pub disk_id: DiskId,
    /// It knows the masters of a cell.
    pub has_begun: bool,
    /// Where it says that the others reach it; empty where it does not say.
    pub peer_address: String,
    /// Where it says that clients reach it; empty where it does not say.
    pub api_address: String,
}

impl Replica {
    /// The identity of this replica's disk: minted when the disk was first opened.
    pub fn disk_id(&self) -> DiskId {
        self.inner.me.disk_id
    }

    /// Makes these members the cell's masters. Once, on pristine disks; doing it again with the same members is fine.
    pub async fn initialize(&self, members: Vec<Member>) -> Result<(), InitializeError> {
        let wanted: BTreeMap<u64, Member> = members.into_iter().map(|m| (m.raft_id, m)).collect();
        let me = &self.inner.me;
        let listed = wanted.get(&me.raft_id);
        if listed.is_none_or(|member| member.name != me.name || member.disk_id != me.disk_id) {
            return Err(InitializeError::NotAMember { name: me.name.clone(), raft_id: me.raft_id });
        }
        match self.inner.raft.initialize(wanted.clone()).await {
            Ok(()) => Ok(()),
            Err(openraft::errors::RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => {
                self.check_initialized(&wanted)
            }
            Err(error) => Err(InitializeError::Raft(error.to_string())),
        }
    }

    fn check_initialized(&self, wanted: &BTreeMap<u64, Member>) -> Result<(), InitializeError> {
        let membership = self.inner.raft.metrics().borrow_watched().membership_config.clone();
        let found: BTreeMap<u64, Member> = membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
        if found == *wanted || found.is_empty() {
            return Ok(());
        }
        Err(InitializeError::OtherMembers { found: found.into_values().map(|member| member.name).collect() })
    }

    /// Asks the master at an address who it is: how the disk ids for [`Replica::initialize`] are learnt.
    pub async fn probe(&self, peer_address: &str, name: &str) -> Result<PeerDescription, ProbeError> {
        let member =
            Member { name: name.to_owned(), peer_address: peer_address.to_owned(), ..Member::default() };
        let request = proto::HandshakeRequest { cell: self.inner.me.cell.clone(), from_raft_id: 0 };
        let client = self.inner.transport.client(&member);
        let answer = client.handshake(request, PROBE_DEADLINE).await.map_err(ProbeError::Peer)?;
        if answer.name != name {
            return Err(ProbeError::OtherMaster { expected: name.to_owned(), found: answer.name });
        }
        let disk_id = answer.disk_id.as_ref().try_into().map_err(|_| ProbeError::NoDiskId)?;
        let proto::HandshakeResponse { raft_id, name, has_begun, peer_address, api_address, .. } = answer;
        Ok(PeerDescription { raft_id, name, disk_id, has_begun, peer_address, api_address })
    }

    /// The gRPC routes for the other masters, to be served behind the peer CA.
    pub fn peer_routes(&self) -> axum::Router {
        crate::peer::routes(Door::Open(self.inner.handler.clone()))
    }

    /// What serves peers behind a port that was open before the replica was.
    pub(crate) fn handler(&self) -> PeerHandler {
        self.inner.handler.clone()
    }

    /// What serves peers, for transports of tests.
    #[cfg(feature = "testing")]
    pub fn peer_handler(&self) -> PeerHandler {
        self.inner.handler.clone()
    }

    /// Proposes an entry. `Ok` means durable on a majority and applied here.
    pub async fn propose(&self, payload: Bytes) -> Result<Proposed, ProposeError> {
        propose::propose(&self.inner, propose::Share::Common, payload).await
    }

    /// As [`Replica::propose`], for what the leader itself has to say: with a share of the budget that no caller fills.
    pub async fn propose_own(&self, payload: Bytes) -> Result<Proposed, ProposeError> {
        propose::propose(&self.inner, propose::Share::Own, payload).await
    }

    /// The revision of a linearizable read; returns once this replica has applied it. Calls that arrive within two
    /// milliseconds share one round.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        read::read_index(&self.inner.reads).await
    }

    /// What this replica knows about itself and the cell now.
    pub fn status(&self) -> ReplicaStatus {
        self.inner.status.borrow().clone()
    }

    /// The committed entry that made the masters what they are; nothing before the cell has begun.
    pub fn members_at(&self) -> Option<u64> {
        self.inner.status.borrow().members_at
    }

    /// On a leader: how long ago each other member last answered it, `None` for one that has not since it leads. Empty
    /// on any other master. Apart from the status, whose followers would otherwise wake at every heartbeat.
    pub fn silences(&self) -> BTreeMap<u64, Option<Duration>> {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let answered = metrics.heartbeat.into_iter().flatten();
        let others = answered.filter(|(id, _)| *id != self.inner.me.raft_id);
        others.map(|(id, at)| (id, at.map(|at| openraft::Instant::elapsed(&at.into_inner())))).collect()
    }

    /// Every change of [`Replica::status`]; only the latest is kept.
    pub fn subscribe(&self) -> watch::Receiver<ReplicaStatus> {
        self.inner.status.clone()
    }

    /// Becomes `Some(reason)` when Raft has died in this process; the process should then end.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.inner.fatal.clone()
    }

    /// Hands leadership to `to`, or to the most advanced other voter that answers; returns once another master leads.
    pub async fn transfer_leadership(&self, to: Option<String>) -> Result<(), TransferError> {
        self.inner.handover.hand_over(to).await
    }

    /// Becomes `Some` when this master must not go on: it was removed, or stands on a disk that the others do not know.
    pub fn dismissal(&self) -> watch::Receiver<Option<Dismissal>> {
        self.inner.hearing.subscribe()
    }

    /// Takes a snapshot of everything applied so far; returns the revision that it covers.
    pub async fn snapshot_now(&self) -> Result<u64, SnapshotNowError> {
        let Some(target) = self.status().applied else { return Err(SnapshotNowError::NothingApplied) };
        let mut status = self.subscribe();
        let work = async {
            // A snapshot that is being built already may be older than what was asked for.
            while status.borrow_and_update().snapshot < Some(target) {
                let trigger = self.inner.raft.trigger().snapshot().await;
                trigger.map_err(|e| SnapshotNowError::Raft(e.to_string()))?;
                status.changed().await.map_err(|e| SnapshotNowError::Raft(e.to_string()))?;
            }
            Ok(status.borrow().snapshot.unwrap_or(target))
        };
        let timeout = tokio::time::timeout(SNAPSHOT_DEADLINE, work).await;
        timeout.unwrap_or(Err(SnapshotNowError::Timeout { deadline_ms: SNAPSHOT_DEADLINE.as_millis() }))
    }

    /// Bytes handed to the log writer since this process opened the log, framing included.
    pub fn log_bytes_written(&self) -> u64 {
        self.inner.log.bytes_written()
    }

    /// Bytes of log that a restart would replay after the current snapshot.
    pub fn log_bytes_since_snapshot(&self) -> u64 {
        self.inner.log.bytes_after(self.inner.snapshots.current_index())
    }

    /// Stops Raft and waits until everything accepted is durable.
    pub async fn shutdown(self) {
        self.inner.beside.iter().for_each(AbortHandle::abort);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "Raft ended badly");
        }
        if let Err(error) = self.inner.log.barrier().await {
            tracing::warn!(%error, "the log writer had stopped before the shutdown");
        }
    }
}
