//! Request ids: one client per process, one sequence per call, and what is still unanswered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use paceline_api::CallId;
use paceline_types::Revision;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Notify;

use crate::error::OpenError;

/// How far sequences run ahead of the lowest unanswered one. The cell keeps a record for each and refuses more
/// than 1,024 per client; we stay below by waiting, so that it never has to.
const WINDOW: u64 = 1_000;

/// Names a client process in request ids; must differ between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(pub [u8; 16]);

impl ClientId {
    /// From the system's randomness.
    ///
    /// # Errors
    /// [`OpenError::Randomness`].
    pub fn random() -> Result<Self, OpenError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| OpenError::Randomness)?;
        Ok(Self(id))
    }

    /// A seed for what only has to differ between clients.
    pub(crate) const fn seed(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Hands out request ids and remembers which are open.
#[derive(Debug)]
pub(crate) struct RequestIds {
    client: ClientId,
    open: Mutex<Open>,
    /// Told whenever an id is settled, for those who wait for room in the window.
    settled: Notify,
    /// The highest revision in any reply. ORDERING: relaxed; it is a hint that only ever rises, and whoever
    /// took a reply and then issues an id does both on paths ordered by the reply itself.
    floor: AtomicU64,
}

#[derive(Debug)]
struct Open {
    next: u64,
    unanswered: BTreeSet<u64>,
}

impl RequestIds {
    pub(crate) const fn new(client: ClientId) -> Self {
        Self {
            client,
            open: Mutex::new(Open { next: 1, unanswered: BTreeSet::new() }),
            settled: Notify::const_new(),
            floor: AtomicU64::new(0),
        }
    }

    /// The next id; waits while the window is full. It stays open until the returned guard is dropped.
    pub(crate) async fn issue(&self) -> IssuedId<'_> {
        loop {
            // Registered before the look, so that no settling in between is missed.
            let settled = self.settled.notified();
            if let Some(issued) = self.try_issue() {
                return issued;
            }
            settled.await;
        }
    }

    fn try_issue(&self) -> Option<IssuedId<'_>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = open.next;
        let lowest_unanswered = open.unanswered.first().copied().unwrap_or(sequence);
        if sequence - lowest_unanswered >= WINDOW {
            return None;
        }
        open.next += 1;
        open.unanswered.insert(sequence);
        let id = CallId { client: self.client.0, sequence, lowest_unanswered, floor: self.floor() };
        Some(IssuedId { ids: self, id })
    }

    /// The highest revision seen.
    pub(crate) fn floor(&self) -> Revision {
        Revision(self.floor.load(Ordering::Relaxed))
    }

    /// A reply carried this revision.
    pub(crate) fn saw(&self, revision: u64) {
        self.floor.fetch_max(revision, Ordering::Relaxed);
    }

    fn settle(&self, sequence: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).unanswered.remove(&sequence);
        self.settled.notify_waiters();
    }
}

/// An id in use. Dropping it says that the caller waits for the answer no longer.
#[derive(Debug)]
pub(crate) struct IssuedId<'a> {
    ids: &'a RequestIds,
    pub(crate) id: CallId,
}

impl Drop for IssuedId<'_> {
    fn drop(&mut self) {
        self.ids.settle(self.id.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_rise_and_carry_the_lowest_unanswered_and_the_floor() {
        let ids = RequestIds::new(ClientId([7; 16]));
        let first = ids.issue().await;
        ids.saw(42);
        ids.saw(41);
        let second = ids.issue().await;
        assert_eq!((first.id.sequence, first.id.lowest_unanswered, first.id.floor), (1, 1, Revision(0)));
        assert_eq!((second.id.sequence, second.id.lowest_unanswered, second.id.floor), (2, 1, Revision(42)));
        drop(first);
        assert_eq!(ids.issue().await.id.lowest_unanswered, 2);
        drop(second);
        assert_eq!(ids.issue().await.id.lowest_unanswered, 4);
    }

    #[tokio::test]
    async fn a_call_that_hangs_holds_up_the_window_and_its_end_frees_it() {
        let ids = RequestIds::new(ClientId([7; 16]));
        let hanging = ids.issue().await;
        for _ in 1..WINDOW {
            drop(ids.issue().await);
        }
        assert!(ids.try_issue().is_none());
        let waiting = async { ids.issue().await.id.sequence };
        let ending = async { drop(hanging) };
        assert_eq!(tokio::join!(waiting, ending).0, WINDOW + 1);
    }
}
