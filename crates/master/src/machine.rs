//! The replica's state machine over the cell: bytes in, apply, bytes out, one publication per batch. What retires goes to
//! the history before the view without it is published.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use paceline_cell::{Applied, Cell, Entry, Event, SnapshotChunks};
use paceline_replica::{CommittedEntry, FatalHandler, FrozenState, SnapshotError, StateMachine};
use paceline_telemetry::Metrics;
use paceline_types::{Revision, TaskState};

use crate::history::{Retiring, Settling};
use crate::published::{Change, Published};
use crate::witness::{Witness, Witnessed};

/// Owns the cell of one replica, on the replica's apply thread.
pub(crate) struct Machine {
    cell: Cell,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    history: Retiring,
    fatal: FatalHandler,
    witness: Option<Witness>,
    /// Of the batch that is being applied.
    changes: Vec<Change>,
    transitions: u64,
}

impl Machine {
    pub(crate) fn new(
        cell: Cell,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        history: Retiring,
        fatal: FatalHandler,
    ) -> Self {
        let (witness, changes) = (None, Vec::new());
        Self { cell, published, metrics, history, fatal, witness, changes, transitions: 0 }
    }

    /// The same with somebody who is told of every entry.
    pub(crate) fn witnessed(self, witness: Option<Witness>) -> Self {
        Self { witness, ..self }
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        let revision = Revision(entry.revision);
        let started = Instant::now();
        let decoded = Entry::decode(&entry.payload);
        let Applied { replies, events, retired, newer_build_needed } = match &decoded {
            Ok(decoded) => self.cell.apply(revision, decoded),
            Err(error) => {
                tracing::error!(%revision, %error, "an entry cannot be read: refused, as on every master");
                self.cell.apply_undecodable(revision)
            }
        };
        self.metrics.cell.apply_seconds.observe(started.elapsed());
        if let Some(witness) = &self.witness {
            let (cell, term, entry) = (&self.cell, entry.term, decoded.as_ref().ok());
            witness.call(&Witnessed { cell, revision, term, entry, replies: &replies, events: &events });
        }
        self.metrics.cell.applied_entries.inc();
        for (state, tasks) in events.iter().filter_map(entered) {
            self.metrics.cell.task_transitions.of(state).add(tasks);
        }
        if let Some(level) = newer_build_needed {
            self.fatal.call(&format!(
                "the cell is at feature level {level} from revision {revision} on, which this build does not know: install the build that the other masters run"
            ));
        }
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

/// How many tasks entered which state by an event.
fn entered(event: &Event) -> Option<(TaskState, u64)> {
    match event {
        Event::JobSubmitted { tasks, .. } => Some((TaskState::Pending, u64::from(*tasks))),
        Event::TasksRequeued { tasks, .. } => Some((TaskState::Pending, tasks.count())),
        Event::TasksAssigned { tasks, .. } => Some((TaskState::Assigned, tasks.count())),
        Event::TasksRunning { tasks, .. } => Some((TaskState::Running, tasks.count())),
        Event::TasksStopping { tasks, .. } => Some((TaskState::Stopping, tasks.count())),
        Event::TasksEnded { tasks, state, .. } => Some((*state, tasks.count())),
        _ => None,
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
