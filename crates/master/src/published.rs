//! What apply publishes for everyone else in the process: the latest view, a bounded ring of events, and a few views of
//! exact revisions for those who compare masters.
//!
//! A view is a clone of the cell, which shares everything that did not change. Readers never block apply: they take
//! an `Arc` and keep it as long as they need.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use paceline_cell::{Cell, Event};
use paceline_types::Revision;
use paceline_types::plant::{Plant, is_planted};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// Events kept for watches. At 25,000 transitions a second in batches of a thousand this is minutes; in single
/// transitions it is a few seconds. Below it a watcher lists again.
const RING_EVENTS_MAX: usize = 65_536;

/// Published views that are kept for a while. In a quiet cell each is one revision, some seconds back in all; what they
/// hold beyond the latest is what changed in between.
const RECENT_VIEWS: usize = 16;
/// Revisions that are waited for at once.
const WANTED_MAX: usize = 64;

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
    recent: Mutex<VecDeque<Arc<Cell>>>,
    wanted: Mutex<BTreeMap<Revision, usize>>,
}

/// Somebody waits for the view of a revision; as long as this lives, it is kept when it is applied.
pub(crate) struct Wanted<'a> {
    published: &'a Published,
    revision: Revision,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.published.wanted.lock();
        let left = wanted.get(&self.revision).map_or(0, |count| count - 1);
        match left {
            0 => wanted.remove(&self.revision),
            left => wanted.insert(self.revision, left),
        };
    }
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
            recent: Mutex::default(),
            wanted: Mutex::default(),
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
        self.show(cell);
        // ORDERING: as in `transitions`.
        self.transitions.fetch_add(transitions, Ordering::Relaxed);
        self.revision.send_replace(revision);
    }

    /// Publishes a state that came as a snapshot: what led to it is not known here.
    pub(crate) fn restore(&self, cell: Cell) {
        let revision = cell.revision();
        *self.ring.write() = Ring { changes: VecDeque::new(), events: 0, oldest: revision };
        self.recent.lock().clear();
        self.show(cell);
        self.revision.send_replace(revision);
    }

    fn show(&self, cell: Cell) {
        let view = Arc::new(cell);
        self.remember(view.clone());
        self.view.store(view);
    }

    fn remember(&self, view: Arc<Cell>) {
        let mut recent = self.recent.lock();
        if recent.back().is_some_and(|last| last.revision() == view.revision()) {
            return;
        }
        recent.push_back(view);
        while recent.len() > RECENT_VIEWS {
            recent.pop_front();
        }
    }

    /// Asks that the view of a revision be kept when it is applied: batches are published as a whole, and no two masters
    /// cut them alike. Nothing when too many are asked for.
    pub(crate) fn want(&self, revision: Revision) -> Option<Wanted<'_>> {
        let mut wanted = self.wanted.lock();
        if wanted.len() >= WANTED_MAX && !wanted.contains_key(&revision) {
            return None;
        }
        *wanted.entry(revision).or_default() += 1;
        Some(Wanted { published: self, revision })
    }

    /// Whether somebody waits for this revision.
    pub(crate) fn is_wanted(&self, revision: Revision) -> bool {
        self.wanted.lock().contains_key(&revision)
    }

    /// Keeps a view that will not be published by itself.
    pub(crate) fn keep(&self, cell: Cell) {
        self.remember(Arc::new(cell));
    }

    /// The view of exactly this revision, if it is kept.
    pub(crate) fn view_at(&self, revision: Revision) -> Option<Arc<Cell>> {
        let recent = self.recent.lock();
        recent.iter().rev().find(|view| view.revision() == revision).cloned()
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
        let dropped = |revision: Revision| is_planted(Plant::WatchEventDropped) && revision.0 % 16 == 7;
        for change in changes.into_iter().filter(|(revision, _)| !dropped(*revision)) {
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
    fn the_view_of_an_exact_revision_is_kept_for_whoever_asked_and_for_a_while() {
        let published = Published::new(Cell::genesis("test"));
        let mut cell = Cell::genesis("test");
        let mut apply = |revision| {
            cell.apply_undecodable(Revision(revision));
            if published.is_wanted(Revision(revision)) {
                published.keep(cell.clone());
            }
            cell.clone()
        };
        let wanted = published.want(Revision(2)).expect("room");
        apply(1);
        apply(2);
        published.publish(apply(3), Vec::new(), 0);
        drop(wanted);
        assert!(!published.is_wanted(Revision(2)));
        assert!(published.view_at(Revision(1)).is_none(), "within a batch, and nobody asked");
        assert_eq!(published.view_at(Revision(2)).map(|view| view.revision()), Some(Revision(2)));
        for revision in 4..4 + RECENT_VIEWS as u64 {
            published.publish(apply(revision), Vec::new(), 0);
        }
        assert!(published.view_at(Revision(3)).is_none(), "too old");
        assert!(published.view_at(Revision(4)).is_some());
    }

    #[test]
    fn revisions_that_are_waited_for_are_bounded() {
        let published = Published::new(Cell::genesis("test"));
        let wanted: Vec<_> = (0..WANTED_MAX as u64).map(|at| published.want(Revision(at))).collect();
        assert!(wanted.iter().all(Option::is_some));
        assert!(published.want(Revision(1_000)).is_none());
        assert!(published.want(Revision(1)).is_some());
        drop(wanted);
        assert!(published.want(Revision(1_000)).is_some() && !published.is_wanted(Revision(1)));
    }

    #[test]
    fn a_watcher_below_the_ring_is_told_so() {
        let published = Published::new(Cell::genesis("test"));
        published.ring.write().push(vec![change(1, RING_EVENTS_MAX), change(2, 1), change(5, 1)]);
        assert_eq!(published.changes_after(Revision(0), 10).expect_err("trimmed").oldest, Revision(1));
        assert_eq!(published.changes_after(Revision(1), 10).expect("kept").len(), 2);
    }
}
