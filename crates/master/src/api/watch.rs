//! A watch: every committed change after a revision, one message per revision, in order, from this replica's ring; and
//! regularly how far it has come, once this master knows that it is not behind. Who may watch is decided elsewhere.

mod queue;
mod seats;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use paceline_api::v1::event::Happened;
use paceline_api::v1::{self, watch_reply::Message};
use paceline_cell::{Cell, RetiredJob};
use paceline_types::{JobUid, Revision};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use self::queue::{Gone, Outbox, queue};
use self::seats::Seat;
pub(crate) use self::seats::Watchers;
use crate::history::Found;
use crate::published::Published;
use crate::show;

/// Revisions read from the ring at once.
const CHANGES_AT_ONCE: usize = 64;
/// A watcher that heard nothing for so long hears how far it has come, so that it can resume from a recent revision. The
/// contract says 5 s; the rest is for the read-index round before.
const PROGRESS_EVERY: Duration = Duration::from_secs(4);

/// Shows that this master is not behind, as a linearizable read does; nothing where the watcher takes a stale view.
pub(super) type Renewal = Option<Box<dyn Fn() -> BoxFuture<'static, Result<(), Status>> + Send + Sync>>;

/// Begins a watch after a revision; 0 is from this view on.
pub(super) fn watch(
    published: Arc<Published>,
    seat: Seat,
    renewal: Renewal,
    view: &Cell,
    after_revision: u64,
    job: Option<&Found<'_>>,
) -> impl Stream<Item = Result<v1::WatchReply, Status>> + Send + 'static {
    let seen = if after_revision == 0 { view.revision() } else { Revision(after_revision) };
    let (outbox, taking) = queue();
    let end = match job {
        Some(Found::Retired(retired)) if after_revision == 0 => end_of(retired),
        _ => Vec::new(),
    };
    let job = job.map(|job| job.job().uid);
    tokio::spawn(async move {
        // A watcher that went away is no error: the stream ends.
        let last = Instant::now();
        let watcher = Watcher { published, renewal, job, seen, outbox, last, progress_every: PROGRESS_EVERY };
        let _ = watcher.run(end).await;
        drop(seat);
    });
    taking
}

/// How a job ended that retired before the watch began. Whoever watches from now on would otherwise wait for ever for
/// an end that has been; whoever resumes after a revision gets it from the ring, or is told to list again.
fn end_of(retired: &RetiredJob) -> Vec<v1::WatchReply> {
    let job = retired.job();
    let uid = Some(job.uid.into());
    let ended = job.ended.unwrap_or(retired.retired()).0;
    let state = v1::JobState::from(job.state).into();
    let change = |revision, happened| {
        Message::Change(v1::Change {
            revision,
            events: vec![v1::Event { ordinal: 0, happened: Some(happened) }],
        })
    };
    let messages = [
        Message::Progress(v1::Progress { revision: ended.saturating_sub(1) }),
        change(ended, Happened::JobEnded(v1::JobEnded { job: uid, state })),
        change(retired.retired().0, Happened::JobRetired(v1::JobRetired { job: uid })),
    ];
    messages.into_iter().map(|message| v1::WatchReply { message: Some(message) }).collect()
}

struct Watcher {
    published: Arc<Published>,
    renewal: Renewal,
    job: Option<JobUid>,
    /// Everything up to here was sent, or is of no concern to this watcher.
    seen: Revision,
    outbox: Outbox,
    /// When the last message was sent.
    last: Instant,
    /// How long it may hear nothing.
    progress_every: Duration,
}

impl Watcher {
    async fn run(mut self, end: Vec<v1::WatchReply>) -> Result<(), Gone> {
        let mut revisions = self.published.subscribe();
        for reply in end {
            self.outbox.send(Ok(reply)).await?;
        }
        // First where the watch begins: the caller can resume from it whatever happens next.
        self.send(Message::Progress(v1::Progress { revision: self.seen.0 })).await?;
        loop {
            if !self.send_changes().await? {
                return Ok(());
            }
            let seen = self.seen;
            let news = async { revisions.wait_for(|revision| *revision > seen).await.is_ok() };
            // Whatever the news is, it may not be for this watcher: the clock comes first.
            let goes_on = tokio::select! {
                biased;
                () = self.outbox.closed() => return Err(Gone),
                () = sleep_until(self.last + self.progress_every) => self.send_progress().await?,
                published = news => published,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Says how far the watch has come; false, and why, where this master cannot know whether there is more.
    async fn send_progress(&mut self) -> Result<bool, Gone> {
        if let Some(renew) = &self.renewal {
            if let Err(status) = renew().await {
                self.outbox.send(Err(status)).await?;
                return Ok(false);
            }
            if !self.send_changes().await? {
                return Ok(false);
            }
        }
        self.send(Message::Progress(v1::Progress { revision: self.seen.0 })).await?;
        Ok(true)
    }

    /// Sends what the ring has; false when it no longer has all of it.
    async fn send_changes(&mut self) -> Result<bool, Gone> {
        loop {
            let view = self.published.view();
            if self.seen >= view.revision() {
                return Ok(true);
            }
            let Ok(mut changes) = self.published.changes_after(self.seen, CHANGES_AT_ONCE) else {
                let resync =
                    v1::Resync { revision: view.revision().0, oldest_revision: self.published.oldest().0 };
                self.send(Message::Resync(resync)).await?;
                return Ok(false);
            };
            let whole = changes.len() < CHANGES_AT_ONCE;
            // The ring may be ahead of the view, which names the nodes.
            changes.retain(|(revision, _)| *revision <= view.revision());
            for (revision, events) in changes {
                if let Some(change) = show::change(&view, revision, &events, self.job) {
                    self.send(Message::Change(change)).await?;
                }
                self.seen = self.seen.max(revision);
            }
            if whole {
                self.seen = self.seen.max(view.revision());
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.last = Instant::now();
        self.outbox.send(Ok(v1::WatchReply { message: Some(message) })).await
    }
}
