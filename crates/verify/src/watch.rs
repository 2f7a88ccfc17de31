//! Watches deliver every committed event once and in order, go on after a break where they were, and give up only
//! when they have to.
//!
//! ```text
//! committed(revision, events) … known_to(revision)      from any replica, in its order
//! opened ─► begins ─► change / progress … ─► broken ─► opened (after the last) …
//!                                         └► resync ─► (a new watch, after a listing)
//! ```
//!
//! Two feeds: what was committed, and what each watch got. Order within a watch is judged at once. Completeness, and
//! that an event says what was committed, is judged when both sides are there: a message waits until the committed
//! events are known as far as it speaks of. [`Watches::check`] judges what can be, [`Watches::finish`] the rest.
//!
//! Events are what the feeder makes of them: any value that is equal for equal events, with the job that they are
//! about. Cost: O(log n) per message and O(1) per event delivered or skipped. Memory: committed events that some
//! watch has not passed yet, at most [`COMMITTED_MAX`] revisions; messages that wait, at most [`WAITING_MAX`].

mod stream;
#[cfg(test)]
mod tests;
mod violation;

pub use violation::Violation;

use std::collections::BTreeMap;
use std::fmt::Display;

use paceline_types::{JobUid, Revision};

use stream::{Message, Stream};

/// Revisions whose events are kept. At the bound the oldest goes, and a watch that still needs it is
/// [`Violation::Unjudged`]: a harness checks every tick, so that watches are judged long before.
pub const COMMITTED_MAX: usize = 262_144;
/// Messages of one watch that wait to be judged; at the bound the watch is [`Violation::Unjudged`].
pub const WAITING_MAX: usize = 65_536;

/// A watch of one client, across its breaks: what its client takes for one sequence of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u32);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<E> {
    /// Its position in its revision, before any filter.
    pub ordinal: u32,
    /// The job that it is about; nothing for events of nodes, shards and the cell.
    pub job: Option<JobUid>,
    /// What it says.
    pub says: E,
}

/// What was committed, as far as it is known.
#[derive(Clone, Debug)]
struct Committed<E> {
    /// Revisions with events.
    events: BTreeMap<Revision, Vec<Event<E>>>,
    /// Nothing at or below is kept.
    forgotten: Revision,
    /// Everything up to here is known.
    known: Revision,
}

/// All watches of a run.
#[derive(Clone, Debug)]
pub struct Watches<E> {
    committed: Committed<E>,
    streams: BTreeMap<WatchId, Stream<E>>,
    found: Vec<Violation>,
}

impl<E: Clone + Eq + Display> Default for Watches<E> {
    fn default() -> Self {
        let (events, none) = (BTreeMap::new(), Revision(0));
        let committed = Committed { events, forgotten: none, known: none };
        Self { committed, streams: BTreeMap::new(), found: Vec::new() }
    }
}

impl<E: Clone + Eq + Display> Watches<E> {
    /// The events of a committed entry, as one replica applied it; an entry without events may be left out. Each
    /// replica says its own, in the order in which it applies; where a later one says otherwise, that is a violation.
    /// What is already forgotten is not compared.
    pub fn committed(&mut self, revision: Revision, events: Vec<Event<E>>) {
        let committed = &mut self.committed;
        if revision <= committed.forgotten || (events.is_empty() && revision > committed.known) {
            return;
        }
        let empty = Vec::new();
        let known = committed.events.get(&revision);
        if known.is_none() && revision > committed.known {
            committed.events.insert(revision, events);
            return self.bound();
        }
        let known = known.unwrap_or(&empty);
        if *known != events {
            let (first, other) = (show(known.iter()), show(events.iter()));
            self.found.push(Violation::Disagreement { revision, first, other });
        }
    }

    /// Everything up to this revision has been said by some replica: what has no events up to here has none.
    pub fn known_to(&mut self, revision: Revision) {
        self.committed.known = self.committed.known.max(revision);
    }

    /// A watch is opened after a revision, of one job or of all. Zero is from now on: it begins with the first message.
    /// Opening a watch that broke must be after exactly what it had passed.
    pub fn opened(&mut self, watch: WatchId, after: Revision, job: Option<JobUid>) {
        let stream = self.streams.entry(watch).or_insert_with(|| Stream::new(watch, job));
        self.found.extend(stream.open(after).err());
    }

    /// It broke, or its client closed it for a while.
    pub fn broken(&mut self, watch: WatchId) {
        if let Some(stream) = self.streams.get_mut(&watch) {
            stream.open = false;
        }
    }

    /// Its client does not want it any more.
    pub fn ended(&mut self, watch: WatchId) {
        self.check();
        self.streams.remove(&watch);
    }

    /// The events of one revision came.
    pub fn change(&mut self, watch: WatchId, revision: Revision, events: Vec<Event<E>>) {
        self.message(watch, Message::Change { revision, events });
    }

    /// Word came that there is nothing more up to this revision.
    pub fn progress(&mut self, watch: WatchId, revision: Revision) {
        self.message(watch, Message::Progress { revision });
    }

    /// It was told to list again: by a master at revision `at` that keeps everything after `oldest`. The watch is over;
    /// the next one is another.
    pub fn resync(&mut self, watch: WatchId, at: Revision, oldest: Revision) {
        self.message(watch, Message::Resync { at, oldest });
    }

    /// Everything that can be judged by now.
    pub fn check(&mut self) -> Vec<Violation> {
        for stream in self.streams.values_mut() {
            stream.judge(&self.committed, &mut self.found);
        }
        self.forget();
        std::mem::take(&mut self.found)
    }

    /// The same, for the end of a healed run: every open watch must have got everything up to this revision, and
    /// nothing may be left that speaks of what was never committed.
    pub fn finish(&mut self, reached: Revision) -> Vec<Violation> {
        self.known_to(reached);
        let mut found = self.check();
        for stream in self.streams.values() {
            found.extend(stream.unsettled(&self.committed));
            found.extend(stream.behind(&self.committed, reached));
        }
        found
    }

    fn message(&mut self, watch: WatchId, message: Message<E>) {
        match self.streams.get_mut(&watch) {
            Some(stream) => self.found.extend(stream.take(message)),
            None => self.found.push(Violation::NotOpen { watch: watch.0 }),
        }
    }

    /// Drops what every watch has passed.
    fn forget(&mut self) {
        let judged = self.streams.values().filter_map(|stream| stream.judged);
        let lowest = judged.min().unwrap_or(self.committed.known).min(self.committed.known);
        // Replicas that lag are compared for a while yet: half of the room is theirs.
        while self.committed.events.len() > COMMITTED_MAX / 2 {
            let Some((first, _)) = self.committed.events.first_key_value() else { return };
            if *first > lowest {
                return;
            }
            self.committed.drop_first();
        }
    }

    fn bound(&mut self) {
        while self.committed.events.len() > COMMITTED_MAX {
            self.committed.drop_first();
        }
    }
}

impl<E> Committed<E> {
    fn drop_first(&mut self) {
        if let Some((revision, _)) = self.events.pop_first() {
            self.forgotten = revision;
        }
    }
}

fn show<'e, E: Display + 'e>(events: impl Iterator<Item = &'e Event<E>>) -> String {
    let words: Vec<_> = events.map(|event| format!("{}: {}", event.ordinal, event.says)).collect();
    words.join("; ")
}
