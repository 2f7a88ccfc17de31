//! A client that follows everything: what watches deliver is held against what masters applied. Now and then it goes away
//! and resumes where it was; told to list again, it lists and begins another watch there.

use std::time::Duration;

use paceline_client::{Client, ClientError, Watch, WatchItem};
use paceline_types::Revision;
use paceline_verify::watch::WatchId;
use tokio::time::{sleep, timeout};

use crate::judge::event_shown;
use crate::workload::ClientSeat;

/// It looks at its watch for so long and then drops it, to open it again where it was.
const FOLLOW: Duration = Duration::from_secs(7);
/// So long it is away: long enough that much happens meanwhile.
const AWAY: Duration = Duration::from_millis(900);
/// A call that fails is not repeated faster than this.
const PAUSE: Duration = Duration::from_millis(200);

/// Who follows.
#[derive(Clone)]
pub struct Watcher {
    /// As whom.
    pub seat: ClientSeat,
}

impl Watcher {
    /// Follows for as long as the simulation lasts.
    pub async fn live(self) -> turmoil::Result {
        let client = self.seat.open();
        loop {
            let Ok(after) = self.listed(&client).await else {
                sleep(PAUSE).await;
                continue;
            };
            let id = self.seat.judge.watch(after);
            self.follow(&client, id, after).await;
            self.seat.judge.unwatch(id);
        }
    }

    async fn listed(&self, client: &Client) -> Result<Revision, ClientError> {
        self.seat.list(client, false).await.map(|reply| Revision(reply.revision))
    }

    /// One watch, with all its breaks, until it is told to list again.
    async fn follow(&self, client: &Client, id: WatchId, after: Revision) {
        let mut at = after;
        loop {
            let mut watch = client.jobs().watch(Some(at), None);
            let resynced = timeout(FOLLOW, self.take(&mut watch, id)).await;
            at = watch.seen();
            if resynced.is_ok() {
                return;
            }
            self.seat.judge.watches(|watches| watches.broken(id));
            sleep(AWAY).await;
            self.seat.trace.sometimes("a watch was resumed");
            self.seat.judge.watches(|watches| watches.opened(id, at, None));
        }
    }

    /// Takes what comes, until it is told to list again.
    async fn take(&self, watch: &mut Watch, id: WatchId) {
        loop {
            match watch.next().await {
                Ok(WatchItem::Change(change)) => {
                    let events = change.events.into_iter().map(event_shown).collect();
                    self.seat.judge.watches(|watches| watches.change(id, Revision(change.revision), events));
                    self.seat.judge.followed(Revision(change.revision));
                    self.seat.trace.count("watched", 1);
                }
                Ok(WatchItem::Progress(revision)) => {
                    self.seat.judge.watches(|watches| watches.progress(id, revision));
                    self.seat.judge.followed(revision);
                }
                Ok(WatchItem::Resync { oldest }) => {
                    self.seat.trace.sometimes("a watch was told to list again");
                    // The master that says so is at least where it keeps from.
                    self.seat.judge.watches(|watches| watches.resync(id, oldest, oldest));
                    return;
                }
                Err(error) => {
                    self.seat.trace.event(&self.seat.name, format_args!("watches in vain: {error}"));
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
