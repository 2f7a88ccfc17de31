//! Seams for the simulation: it must know what a master did with each entry, and cannot take the master's word for it;
//! and it puts entries into the log that no service would propose. Production has neither.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use paceline_cell::{Cell, Entry, Event, Reply};
use paceline_types::Revision;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Entries that wait to be proposed; more are dropped, as whoever puts them there counts on none.
const WAITING_MAX: usize = 16;

/// One applied entry.
pub struct Witnessed<'a> {
    /// The state after it.
    pub cell: &'a Cell,
    /// Where it stands in the log.
    pub revision: Revision,
    /// Of the leader that proposed it.
    pub term: u64,
    /// What it held; nothing where it could not be read.
    pub entry: Option<&'a Entry>,
    /// One per command.
    pub replies: &'a [Reply],
    /// What became true.
    pub events: &'a [Event],
}

/// Is called after each entry that a master applies, on its apply thread, before anybody else can see the state. What an
/// installed snapshot holds is not told.
#[derive(Clone)]
pub struct Witness(Arc<dyn Fn(&Witnessed<'_>) + Send + Sync>);

impl Witness {
    /// Calls `witness` for each entry. It must not block.
    pub fn new(witness: impl Fn(&Witnessed<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(witness))
    }

    pub(crate) fn call(&self, witnessed: &Witnessed<'_>) {
        (self.0)(witnessed);
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

/// A way into the log for bytes of any kind. Clones are the same door.
#[derive(Clone, Debug, Default)]
pub struct Door {
    waiting: Arc<Mutex<VecDeque<Bytes>>>,
    rung: Arc<Notify>,
}

impl Door {
    /// Has the master that stands behind it propose this as an entry.
    pub fn put(&self, payload: Bytes) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push_back(payload);
        }
        self.rung.notify_one();
    }

    pub(crate) async fn next(&self) -> Bytes {
        loop {
            if let Some(payload) = self.waiting.lock().pop_front() {
                return payload;
            }
            self.rung.notified().await;
        }
    }
}
