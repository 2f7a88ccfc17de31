//! The one owner of the state machine: applies in order, freezes and restores between entries.

use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::ApplyResponder;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{CommittedEntry, FrozenState, StateMachine};
use crate::fatal::FatalHandler;
use crate::raft::{self, Entry, LogId, Payload, Reply, SnapshotMeta, StoredMembership, TypeConfig};
use crate::snapshot::{SnapshotError, SnapshotFile};
use crate::worker::{self, Execution, Owner};

/// Requests to the owner; openraft sends them one at a time.
const QUEUE: usize = 64;

/// Entries with the proposers that wait for them.
pub type Work = Vec<(Entry, Option<ApplyResponder<TypeConfig>>)>;

/// What the state holds.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub last: Option<LogId>,
    pub membership: StoredMembership,
}

pub enum Request {
    Apply { work: Work, done: oneshot::Sender<()> },
    Freeze { reply: oneshot::Sender<(SnapshotMeta, Box<dyn FrozenState>)> },
    Restore { snapshot: Arc<SnapshotFile>, reply: oneshot::Sender<Result<(), SnapshotError>> },
}

/// The queue to the owner, and the last thing it published.
#[derive(Clone)]
pub struct MachineHandle {
    requests: mpsc::Sender<Request>,
    applied: Arc<Mutex<Applied>>,
}

/// The owner of the state machine has stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state machine has stopped")]
pub struct MachineStopped;

impl From<MachineStopped> for std::io::Error {
    fn from(stopped: MachineStopped) -> Self {
        std::io::Error::other(stopped)
    }
}

impl MachineHandle {
    /// Starts the owner.
    pub fn start(machine: Box<dyn StateMachine>, execution: Execution, fatal: FatalHandler) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let applied = Arc::new(Mutex::new(Applied::default()));
        worker::start(execution, "applier", fatal, Applier { machine, applied: applied.clone() }, queue);
        Self { requests, applied }
    }

    /// The last applied entry and the membership in force.
    pub fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Applies entries in order; returns once the view is published and the proposers are answered.
    pub async fn apply(&self, work: Work) -> Result<(), MachineStopped> {
        self.ask(|done| Request::Apply { work, done }).await
    }

    /// Freezes the state as of now.
    pub async fn freeze(&self) -> Result<(SnapshotMeta, Box<dyn FrozenState>), MachineStopped> {
        self.ask(|reply| Request::Freeze { reply }).await
    }

    /// Replaces the state by a snapshot.
    pub async fn restore(
        &self,
        snapshot: Arc<SnapshotFile>,
    ) -> Result<Result<(), SnapshotError>, MachineStopped> {
        self.ask(|reply| Request::Restore { snapshot, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, MachineStopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| MachineStopped)?;
        answer.await.map_err(|_| MachineStopped)
    }
}

struct Applier {
    machine: Box<dyn StateMachine>,
    applied: Arc<Mutex<Applied>>,
}

impl Owner for Applier {
    type Event = Request;

    fn handle(&mut self, request: Request, _queue: &mut mpsc::Receiver<Request>) -> bool {
        // Whoever asked and no longer waits does not need the answer.
        match request {
            Request::Apply { work, done } => {
                self.apply(work);
                done.send(()).ok();
            }
            Request::Freeze { reply } => {
                let applied = self.applied.lock().clone();
                let meta = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership };
                reply.send((meta, self.machine.freeze())).ok();
            }
            Request::Restore { snapshot, reply } => {
                reply.send(self.restore(&snapshot)).ok();
            }
        }
        true
    }
}

impl Applier {
    fn apply(&mut self, work: Work) {
        let mut applied = self.applied.lock().clone();
        let mut answers = Vec::with_capacity(work.len());
        for (entry, responder) in work {
            let id = entry.log_id();
            let reply = self.apply_one(id, entry.payload, &mut applied);
            applied.last = Some(id);
            answers.extend(responder.map(|responder| (responder, reply)));
        }
        self.machine.applied_batch();
        *self.applied.lock() = applied;
        // Only now: whoever reads after the answer finds its own write in the published view.
        for (responder, reply) in answers {
            responder.send(Reply(reply));
        }
    }

    fn apply_one(
        &mut self,
        id: LogId,
        payload: EntryPayload<Payload, u64, crate::member::Member>,
        applied: &mut Applied,
    ) -> Bytes {
        match payload {
            EntryPayload::Blank => Bytes::new(),
            EntryPayload::Normal(Payload(payload)) => {
                self.machine.apply(CommittedEntry { revision: id.index(), term: raft::term(&id), payload })
            }
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(id), membership);
                Bytes::new()
            }
        }
    }

    fn restore(&mut self, snapshot: &SnapshotFile) -> Result<(), SnapshotError> {
        let mut chunks = snapshot.chunks();
        self.machine.restore(&mut chunks)?;
        // The footer proves that nothing was cut off, so it is read even if the machine had enough.
        for rest in chunks {
            rest?;
        }
        self.machine.applied_batch();
        let meta = snapshot.meta();
        *self.applied.lock() = Applied { last: meta.last_log_id, membership: meta.last_membership.clone() };
        Ok(())
    }
}
