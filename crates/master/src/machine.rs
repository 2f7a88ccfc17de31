//! The replica's state machine over the cell: bytes in, apply, bytes out, one publication per batch. What retires goes to
//! the history before the view without it is published.

use std::sync::Arc;

use bytes::Bytes;
use paceline_cell::{Applied, Cell, Entry, Event, SnapshotChunks};
use paceline_replica::{CommittedEntry, FrozenState, SnapshotError, StateMachine};
use paceline_types::Revision;

use crate::history::{Retiring, Settling};
use crate::published::{Change, Published};

/// Owns the cell of one replica, on the replica's apply thread.
pub(crate) struct Machine {
    cell: Cell,
    published: Arc<Published>,
    history: Retiring,
    /// Of the batch that is being applied.
    changes: Vec<Change>,
    transitions: u64,
}

impl Machine {
    pub(crate) fn new(cell: Cell, published: Arc<Published>, history: Retiring) -> Self {
        Self { cell, published, history, changes: Vec::new(), transitions: 0 }
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        let revision = Revision(entry.revision);
        let Applied { replies, events, retired } = match Entry::decode(&entry.payload) {
            Ok(decoded) => self.cell.apply(revision, &decoded),
            Err(error) => {
                tracing::error!(%revision, %error, "an entry cannot be read: refused, as on every master");
                self.cell.apply_undecodable(revision)
            }
        };
        if !retired.is_empty() {
            self.history.retire(&self.cell, retired);
        }
        if self.published.is_wanted(revision) {
            self.published.keep(self.cell.clone());
        }
        self.transitions += events.iter().map(transitions).sum::<u64>();
        if !events.is_empty() {
            self.changes.push((revision, Arc::new(events)));
        }
        crate::replies::join(&replies)
    }

    fn applied_batch(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.published.publish(self.cell.clone(), changes, std::mem::take(&mut self.transitions));
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        let settling = self.history.settling(self.cell.revision());
        Box::new(Frozen { chunks: self.cell.snapshot_chunks(), settling })
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        self.cell = Cell::restore(chunks).map_err(|error| SnapshotError::Refused(error.to_string()))?;
        self.changes.clear();
        self.transitions = 0;
        self.published.restore(self.cell.clone());
        Ok(())
    }
}

/// A view on its way into a snapshot.
struct Frozen {
    chunks: SnapshotChunks,
    settling: Settling,
}

impl FrozenState for Frozen {
    fn chunks(&mut self) -> Option<Bytes> {
        self.chunks.next()
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        let settled = self.settling.settle();
        settled
            .then_some(())
            .ok_or_else(|| SnapshotError::Unsettled("the writer of history has failed".into()))
    }
}

/// How many tasks an event moved to assigned, running or an end.
fn transitions(event: &Event) -> u64 {
    match event {
        Event::TasksAssigned { tasks, .. }
        | Event::TasksRunning { tasks, .. }
        | Event::TasksRequeued { tasks, .. }
        | Event::TasksEnded { tasks, .. } => tasks.count(),
        _ => 0,
    }
}
