//! A master that is to join a cell: its peer port is open, its disk has an identity, and it waits for a Raft id.
//!
//! It knows nobody and asks nobody. An operator tells the leader of it, the leader gives it an id, which its disk keeps
//! for ever, and from then on it is a replica like the others.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::disk::Disk;
use crate::fatal::FatalHandler;
use crate::log::{LogOpenError, NO_RAFT_ID, adopt, prepare};
use crate::member::{DiskId, format_disk_id};
use crate::peer::{Door, HandleError, PeerHandler, Refusal, routes};
use crate::replica::{OpenError, Replica};
use crate::wire::proto;
use crate::worker::Execution;

/// A master before it is a replica.
pub struct Joining {
    waiting: Arc<Waiting>,
}

/// What its port answers from.
pub struct Waiting {
    disk: Arc<dyn Disk>,
    cell: String,
    name: String,
    disk_id: DiskId,
    execution: Execution,
    fatal: FatalHandler,
    raft_id: watch::Sender<u64>,
    handler: OnceLock<PeerHandler>,
}

impl Joining {
    /// Reads whose disk it is; a new one is claimed by this name, without an id.
    pub async fn prepare(
        disk: Arc<dyn Disk>,
        cell: &str,
        name: &str,
        execution: Execution,
        fatal: FatalHandler,
    ) -> Result<Self, OpenError> {
        let (cell, name) = (cell.to_owned(), name.to_owned());
        let (of, as_whom, by) = (disk.clone(), cell.clone(), name.clone());
        let known = execution.blocking(move || prepare(of.as_ref(), &as_whom, &by)).await;
        let known = known.ok_or_else(|| OpenError::Replay("reading the disk panicked".into()))??;
        let (disk_id, raft_id) = (known.disk_id, watch::Sender::new(known.who.raft_id));
        let handler = OnceLock::new();
        let waiting = Waiting { disk, cell, name, disk_id, execution, fatal, raft_id, handler };
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
        if cell == self.cell {
            return Ok(());
        }
        let (me, found) = (self.name.clone(), cell.to_owned());
        Err(Refusal::OtherCell { me, cell: self.cell.clone(), found }.into())
    }

    /// Who waits here.
    pub(crate) fn handshake(
        &self,
        request: &proto::HandshakeRequest,
    ) -> Result<proto::HandshakeResponse, HandleError> {
        self.check_cell(&request.cell)?;
        Ok(proto::HandshakeResponse {
            cell: self.cell.clone(),
            raft_id: *self.raft_id.borrow(),
            name: self.name.clone(),
            disk_id: self.disk_id.to_vec().into(),
            has_begun: false,
            removed_at: None,
        })
    }

    /// Takes an id, durably, before it answers.
    pub(crate) async fn adopt(&self, request: proto::AdoptRequest) -> Result<(), HandleError> {
        self.check_cell(&request.cell)?;
        if request.disk_id != self.disk_id[..] {
            return Err(HandleError::Adopt(format!(
                "this is disk {}, the Raft id is for another",
                format_disk_id(&self.disk_id)
            )));
        }
        let (disk, cell, name) = (self.disk.clone(), self.cell.clone(), self.name.clone());
        let raft_id = request.raft_id;
        let adopted = self.execution.blocking(move || adopt(disk.as_ref(), &cell, &name, raft_id)).await;
        match adopted {
            Some(Ok(_)) => {
                self.raft_id.send_replace(raft_id);
                Ok(())
            }
            // What the disk holds after a failed sync is not known, and it is believed later.
            Some(Err(LogOpenError::Disk(error))) => {
                self.fatal.call(&format!("a Raft id cannot be stored: {error}"));
                Err(HandleError::Stopped(error.to_string()))
            }
            Some(Err(error)) => Err(HandleError::Adopt(error.to_string())),
            None => Err(HandleError::Stopped("storing a Raft id panicked".into())),
        }
    }
}
