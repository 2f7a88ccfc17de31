//! How a master finds out that it is none any more, or stands on a disk that the others do not know.
//!
//! Whoever is removed hears nothing of it: the leader stops sending to it at that moment. So a master that has not heard
//! from a leader for a while asks the others. What they say is a committed fact that nothing can undo, so one answer is
//! enough. Who was removed needs no list: a Raft id that was minted before the membership was changed last, and is not in
//! it, can never be in it again, because a master joins only with an id that was minted after the last change.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::FIRST_MINTED_RAFT_ID;
use crate::member::DiskId;
use crate::peer::{Me, PeerTransport};
use crate::raft::{Raft, StoredMembership};
use crate::wire::proto;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A master that has not heard from a leader for this long asks: longer than an election takes.
const UNHEARD: Duration = Duration::from_secs(2);
/// The others are asked one after the other, each for so long at most.
const ASK_DEADLINE: Duration = Duration::from_secs(1);

/// Why this master must not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dismissal {
    /// It is no master of the cell any more, or never can be one under its Raft id.
    Removed {
        /// The entry whose membership shows it.
        at: u64,
    },
    /// The others know its name and Raft id on another disk than this empty one.
    OtherDisk {
        /// The disk that they know.
        known: DiskId,
    },
}

/// What a replica has heard that bears on whether it may go on.
#[derive(Clone)]
pub struct Hearing {
    heard: Arc<Mutex<Instant>>,
    dismissal: Arc<watch::Sender<Option<Dismissal>>>,
}

impl Hearing {
    pub fn new() -> Self {
        let heard = Arc::new(Mutex::new(Instant::now()));
        Self { heard, dismissal: Arc::new(watch::Sender::new(None)) }
    }

    /// A leader sent something.
    pub fn heard(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// This master must not go on. The first reason stays.
    pub fn dismiss(&self, why: Dismissal) {
        self.dismissal.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(why);
            is_first
        });
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Dismissal>> {
        self.dismissal.subscribe()
    }

    fn silence(&self) -> Duration {
        self.heard.lock().elapsed()
    }
}

/// The index of the log that a Raft id was minted at; those of the founders are older than everything.
fn minted_at(raft_id: u64) -> u64 {
    raft_id.saturating_sub(FIRST_MINTED_RAFT_ID)
}

/// The entry whose membership shows that this id is no member, and never will be.
fn gone(raft_id: u64, committed: &StoredMembership) -> Option<u64> {
    let at = committed.log_id().as_ref()?.index();
    let is_gone = committed.get_node(&raft_id).is_none() && minted_at(raft_id) <= at;
    is_gone.then_some(at)
}

/// The same by the membership that this replica knows to be committed.
pub async fn removed_at(raft: &Raft, raft_id: u64) -> Option<u64> {
    let look = move |state: &openraft::RaftState<_>| gone(raft_id, state.membership_state.committed());
    // A Raft that has ended knows nothing; whoever asks asks another.
    raft.with_raft_state(look).await.ok().flatten()
}

/// Starts the task that finds out; it ends with Raft.
pub fn start(me: Me, raft: Raft, transport: Arc<dyn PeerTransport>, hearing: Hearing) -> AbortHandle {
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let metrics = raft.metrics().borrow_watched().clone();
            if metrics.running_state.is_err() {
                return;
            }
            if metrics.current_leader == Some(me.raft_id) && metrics.state.is_leader() {
                hearing.heard();
                continue;
            }
            let by_itself = removed_at(&raft, me.raft_id).await;
            let removed = match by_itself {
                None if hearing.silence() >= UNHEARD => {
                    ask(&me, &metrics.membership_config, transport.as_ref()).await
                }
                known => known,
            };
            if let Some(at) = removed {
                hearing.dismiss(Dismissal::Removed { at });
                return;
            }
        }
    });
    task.abort_handle()
}

/// Asks the other masters, as far as this one knows them, until one says that it is none any more.
async fn ask(me: &Me, known: &StoredMembership, transport: &dyn PeerTransport) -> Option<u64> {
    for (_, member) in known.nodes().filter(|(id, _)| **id != me.raft_id) {
        let request = proto::HandshakeRequest { cell: me.cell.clone(), from_raft_id: me.raft_id };
        let answer = transport.client(member).handshake(request, ASK_DEADLINE).await;
        match answer {
            // Another master at this address, or another disk, is not the one that was meant; what it knows is as true.
            Ok(answer) if answer.cell == me.cell && answer.removed_at.is_some() => return answer.removed_at,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "asked in vain whether this is still a master"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::member::Member;
    use crate::raft::{Membership, log_id};

    #[test]
    fn an_id_that_is_not_there_and_older_than_the_last_change_never_comes_back() {
        let new = FIRST_MINTED_RAFT_ID + 90;
        let members: BTreeMap<u64, Member> = [1, 2, new].map(|id| (id, Member::default())).into();
        let membership = Membership::new(vec![members.keys().copied().collect()], members).expect("valid");
        let committed = StoredMembership::new(Some(log_id(3, 100)), membership);
        for here in [1, 2, new] {
            assert_eq!(gone(here, &committed), None, "{here}");
        }
        assert_eq!(gone(3, &committed), Some(100), "a founder");
        assert_eq!(gone(FIRST_MINTED_RAFT_ID + 99, &committed), Some(100), "minted before the last change");
        assert_eq!(gone(FIRST_MINTED_RAFT_ID + 101, &committed), None, "it may join in a change to come");
        assert_eq!(gone(3, &StoredMembership::default()), None, "nothing is known");
    }

    #[tokio::test]
    async fn the_first_reason_to_go_stays() {
        let hearing = Hearing::new();
        hearing.dismiss(Dismissal::Removed { at: 7 });
        hearing.dismiss(Dismissal::OtherDisk { known: [1; 16] });
        assert_eq!(*hearing.subscribe().borrow(), Some(Dismissal::Removed { at: 7 }));
    }
}
