//! What apply publishes for everyone else in the process: the latest view, and a bounded ring of events.
//!
//! A view is a clone of the cell, which shares everything that did not change. Readers never block apply: they take
//! an `Arc` and keep it as long as they need.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use paceline_cell::{Cell, Event};
use paceline_types::Revision;
use parking_lot::RwLock;
use tokio::sync::watch;

/// Events kept for watches. At 25,000 transitions a second in batches of a thousand this is minutes; in single
/// transitions it is a few seconds. Below it a watcher lists again.
const RING_EVENTS_MAX: usize = 65_536;

/// The events of one revision. Never split (a watch message is a revision).
pub(crate) type Change = (Revision, Arc<Vec<Event>>);

/// Why a watcher cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// Changes after this revision are all kept.
    pub oldest: Revision,
}

/// The latest state of one replica.
pub(crate) struct Published {
    view: ArcSwap<Cell>,
    ring: RwLock<Ring>,
    revision: watch::Sender<Revision>,
    transitions: AtomicU64,
}

/// Changes after `oldest`, in order.
struct Ring {
    changes: VecDeque<Change>,
    events: usize,
    oldest: Revision,
}

impl Published {
    pub(crate) fn new(cell: Cell) -> Self {
        let revision = cell.revision();
        Self {
            view: ArcSwap::from_pointee(cell),
            ring: RwLock::new(Ring { changes: VecDeque::new(), events: 0, oldest: revision }),
            revision: watch::Sender::new(revision),
            transitions: AtomicU64::new(0),
        }
    }

    /// The latest view.
    pub(crate) fn view(&self) -> Arc<Cell> {
        self.view.load_full()
    }

    /// Tells of every new view; several may be skipped over.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Transitions of tasks to assigned, running and ended since this process started.
    pub(crate) fn transitions(&self) -> u64 {
        // ORDERING: a statistic on its own; nothing else is read by its value.
        self.transitions.load(Ordering::Relaxed)
    }

    /// What was counted so far came from the log that was there before: counting begins now.
    pub(crate) fn begin_counting(&self) {
        // ORDERING: as in `transitions`.
        self.transitions.store(0, Ordering::Relaxed);
    }

    /// Publishes the state after a batch of entries. The events come first: whoever sees the view finds them.
    pub(crate) fn publish(&self, cell: Cell, changes: Vec<Change>, transitions: u64) {
        let revision = cell.revision();
        self.ring.write().push(changes);
        self.view.store(Arc::new(cell));
        // ORDERING: as in `transitions`.
        self.transitions.fetch_add(transitions, Ordering::Relaxed);
        self.revision.send_replace(revision);
    }

    /// Publishes a state that came as a snapshot: what led to it is not known here.
    pub(crate) fn restore(&self, cell: Cell) {
        let revision = cell.revision();
        *self.ring.write() = Ring { changes: VecDeque::new(), events: 0, oldest: revision };
        self.view.store(Arc::new(cell));
        self.revision.send_replace(revision);
    }

    /// Changes after a revision, at most `limit` of them, in order.
    pub(crate) fn changes_after(&self, after: Revision, limit: usize) -> Result<Vec<Change>, Trimmed> {
        let ring = self.ring.read();
        if after < ring.oldest {
            return Err(Trimmed { oldest: ring.oldest });
        }
        let start = ring.changes.partition_point(|(revision, _)| *revision <= after);
        Ok(ring.changes.range(start..).take(limit).cloned().collect())
    }

    /// The oldest revision that can be watched from.
    pub(crate) fn oldest(&self) -> Revision {
        self.ring.read().oldest
    }
}

impl Ring {
    fn push(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.events += change.1.len();
            self.changes.push_back(change);
        }
        while self.events > RING_EVENTS_MAX && self.changes.len() > 1 {
            if let Some((revision, events)) = self.changes.pop_front() {
                self.events -= events.len();
                self.oldest = revision;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, events: usize) -> Change {
        (Revision(revision), Arc::new(vec![Event::ConfigChanged; events]))
    }

    #[test]
    fn a_watcher_within_the_ring_misses_nothing() {
        let mut ring = Ring { changes: VecDeque::new(), events: 0, oldest: Revision(0) };
        ring.push(vec![change(1, 1), change(3, 2), change(4, 1)]);
        let published = Published::new(Cell::genesis("test"));
        *published.ring.write() = ring;
        let revisions = |after| -> Vec<u64> {
            let changes = published.changes_after(Revision(after), 10).expect("kept");
            changes.into_iter().map(|(revision, _)| revision.0).collect()
        };
        assert_eq!(revisions(0), [1, 3, 4]);
        assert_eq!(revisions(1), [3, 4]);
        assert_eq!(revisions(2), [3, 4]);
        assert_eq!(revisions(4), [0; 0]);
    }

    #[test]
    fn a_watcher_below_the_ring_is_told_so() {
        let published = Published::new(Cell::genesis("test"));
        published.ring.write().push(vec![change(1, RING_EVENTS_MAX), change(2, 1), change(5, 1)]);
        assert_eq!(published.changes_after(Revision(0), 10).expect_err("trimmed").oldest, Revision(1));
        assert_eq!(published.changes_after(Revision(1), 10).expect("kept").len(), 2);
    }
}
