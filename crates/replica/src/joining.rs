//! A master that is to join a cell: its peer port is open, its disk has an identity, and it waits for a Raft id.
//!
//! It knows nobody and asks nobody. An operator tells the leader of it, the leader gives it an id, which its disk keeps
//! for ever, and from then on it is a replica like the others.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::fatal::FatalHandler;
use crate::log::{Identity, LogOpenError, NO_RAFT_ID, adopt, prepare};
use crate::member::{DiskId, format_disk_id};
use crate::peer::{Door, HandleError, PeerHandler, Refusal, routes};
use crate::replica::{OpenError, Replica};
use crate::wire::proto;
use crate::worker::Execution;

/// Who a master is before it has a Raft id.
#[derive(Debug, Clone, Default)]
pub struct Newcomer {
    /// The cell that it is to join.
    pub cell: String,
    /// The name in its certificate.
    pub name: String,
    /// Where the other masters reach it.
    pub peer_address: String,
    /// Where clients and shards reach it.
    pub api_address: String,
}

/// A master before it is a replica.
pub struct Joining {
    waiting: Arc<Waiting>,
}

/// What its port answers from.
pub struct Waiting {
    disk: Arc<dyn Disk>,
    who: Newcomer,
    disk_id: DiskId,
    execution: Execution,
    fatal: FatalHandler,
    raft_id: watch::Sender<u64>,
    /// One id at a time, from the look at the disk until it is told.
    adopting: Mutex<()>,
    handler: OnceLock<PeerHandler>,
}

impl Joining {
    /// Reads whose disk it is; a new one is claimed by this name, without an id.
    pub async fn prepare(
        disk: Arc<dyn Disk>,
        who: Newcomer,
        execution: Execution,
        fatal: FatalHandler,
    ) -> Result<Self, OpenError> {
        let (of, whose) = (disk.clone(), who.clone());
        let known = execution.blocking(move || prepare(of.as_ref(), &whose.cell, &whose.name)).await;
        let known = known.ok_or_else(|| OpenError::Replay("reading the disk panicked".into()))??;
        let (disk_id, raft_id) = (known.disk_id, watch::Sender::new(known.who.raft_id));
        let handler = OnceLock::new();
        let adopting = Mutex::default();
        let waiting = Waiting { disk, who, disk_id, execution, fatal, raft_id, adopting, handler };
        Ok(Self { waiting: Arc::new(waiting) })
    }

    /// The identity of its disk.
    pub fn disk_id(&self) -> DiskId {
        self.waiting.disk_id
    }

    /// Whether it has to wait.
    pub fn waits(&self) -> bool {
        *self.waiting.raft_id.borrow() == NO_RAFT_ID
    }

    /// Its Raft id, once it has one.
    pub async fn raft_id(&self) -> u64 {
        let mut given = self.waiting.raft_id.subscribe();
        let given = given.wait_for(|id| *id != NO_RAFT_ID).await;
        *given.expect("the sender lives in this value")
    }

    /// The gRPC routes for the other masters: of one that waits, and of the replica afterwards.
    pub fn peer_routes(&self) -> axum::Router {
        routes(Door::Waiting(self.waiting.clone()))
    }

    /// From now on the replica answers.
    pub fn enter(&self, replica: &Replica) {
        // A second replica behind one port is a bug of the caller; the first one stays.
        let _ = self.waiting.handler.set(replica.handler());
    }
}

impl Waiting {
    /// The replica's, once there is one.
    pub(crate) fn handler(&self) -> Option<&PeerHandler> {
        self.handler.get()
    }

    fn check_cell(&self, cell: &str) -> Result<(), HandleError> {
        if cell == self.who.cell {
            return Ok(());
        }
        let (me, found) = (self.who.name.clone(), cell.to_owned());
        Err(Refusal::OtherCell { me, cell: self.who.cell.clone(), found }.into())
    }

    /// Who waits here.
    pub(crate) fn handshake(
        &self,
        request: &proto::HandshakeRequest,
    ) -> Result<proto::HandshakeResponse, HandleError> {
        self.check_cell(&request.cell)?;
        Ok(proto::HandshakeResponse {
            cell: self.who.cell.clone(),
            raft_id: *self.raft_id.borrow(),
            name: self.who.name.clone(),
            disk_id: self.disk_id.to_vec().into(),
            has_begun: false,
            removed_at: None,
            peer_address: self.who.peer_address.clone(),
            api_address: self.who.api_address.clone(),
        })
    }

    /// Takes an id, durably, before it answers. Whoever asked may have gone by then: the work goes on all the same.
    pub(crate) async fn adopt(self: &Arc<Self>, request: proto::AdoptRequest) -> Result<(), HandleError> {
        self.check_cell(&request.cell)?;
        if request.disk_id != self.disk_id[..] {
            return Err(HandleError::Adopt(format!(
                "this is disk {}, the Raft id is for another",
                format_disk_id(&self.disk_id)
            )));
        }
        let waiting = self.clone();
        let taken = self.execution.blocking(move || waiting.take(request.raft_id)).await;
        taken.unwrap_or_else(|| Err(HandleError::Stopped("storing a Raft id panicked".into())))
    }

    /// Stores an id and lets the master go on with it. One that the disk has already stays, and it goes on with that.
    fn take(&self, raft_id: u64) -> Result<(), HandleError> {
        let _one_at_a_time = self.adopting.lock();
        let (disk, Newcomer { cell, name, .. }) = (self.disk.as_ref(), &self.who);
        let tell = |known: &Identity| {
            if known.who.raft_id != NO_RAFT_ID {
                self.raft_id.send_replace(known.who.raft_id);
            }
        };
        let known = prepare(disk, cell, name).inspect(tell);
        match known.and_then(|_| adopt(disk, cell, name, raft_id)) {
            Ok(adopted) => {
                tell(&adopted);
                Ok(())
            }
            // What the disk holds after a failed sync is not known, and it is believed later.
            Err(LogOpenError::Disk(error)) => {
                self.fatal.call(&format!("a Raft id cannot be stored: {error}"));
                Err(HandleError::Stopped(error.to_string()))
            }
            Err(error) => Err(HandleError::Adopt(error.to_string())),
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::disk::MemoryDisk;

    fn who() -> Newcomer {
        Newcomer { cell: "c".into(), name: "m4".into(), ..Newcomer::default() }
    }

    async fn joining(disk: &MemoryDisk) -> Joining {
        let disk = Arc::new(disk.clone());
        let prepared = Joining::prepare(disk, who(), Execution::Threads, FatalHandler::abort()).await;
        prepared.expect("a disk of its own")
    }

    fn request(joining: &Joining, raft_id: u64) -> proto::AdoptRequest {
        proto::AdoptRequest { cell: "c".into(), disk_id: joining.disk_id().to_vec().into(), raft_id }
    }

    async fn given(joining: &Joining) -> u64 {
        let given = tokio::time::timeout(Duration::from_secs(30), joining.raft_id()).await;
        given.expect("it goes on with its id")
    }

    #[tokio::test]
    async fn an_id_counts_although_whoever_gave_it_has_hung_up() {
        let joining = joining(&MemoryDisk::new()).await;
        // Polled once, which begins the work, and dropped.
        let _ = joining.waiting.adopt(request(&joining, 1_048_600)).now_or_never();
        assert_eq!(given(&joining).await, 1_048_600);
        joining.waiting.adopt(request(&joining, 1_048_601)).await.expect_err("it has one");
        assert_eq!(given(&joining).await, 1_048_600);
    }

    #[tokio::test]
    async fn a_disk_that_has_an_id_goes_on_with_it_before_another_is_refused() {
        let disk = MemoryDisk::new();
        let joining = joining(&disk).await;
        adopt(&disk, "c", "m4", 1_048_600).expect("stored, and told to nobody");
        joining.waiting.adopt(request(&joining, 1_048_601)).await.expect_err("it has one");
        assert_eq!(given(&joining).await, 1_048_600);
    }
}
