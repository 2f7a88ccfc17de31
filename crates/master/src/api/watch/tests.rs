//! What a watcher hears while nothing is for it.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use paceline_cell::Event;
use tokio::time::{sleep, timeout};

use super::*;
use crate::refuse;

/// Between two messages, so that a test is short.
const EVERY: Duration = Duration::from_millis(100);
/// Between two revisions: far less.
const TICK: Duration = Duration::from_millis(5);
/// What is waited for comes at once, or never; this is for a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

fn published() -> Arc<Published> {
    Arc::new(Published::new(Cell::genesis("test")))
}

/// Publishes revisions for ever, each with an event that is for no job.
async fn tick(published: Arc<Published>) {
    let mut cell = Cell::genesis("test");
    for revision in 1.. {
        sleep(TICK).await;
        cell.apply_undecodable(Revision(revision));
        let change = (Revision(revision), Arc::new(vec![Event::ConfigChanged]));
        published.publish(cell.clone(), vec![change], 0);
    }
}

type Messages = queue::Taking;

async fn progress(messages: &mut Messages) -> u64 {
    match timeout(WITHIN, messages.next()).await.expect("the watcher is not left in silence") {
        Some(Ok(v1::WatchReply { message: Some(Message::Progress(progress)) })) => progress.revision,
        other => panic!("expected progress, got {other:?}"),
    }
}

/// A stream over `published` that wants no event of [`tick`].
fn watcher(published: &Arc<Published>, renewal: Renewal) -> Messages {
    let (outbox, taking) = queue();
    let job = Some(JobUid { revision: Revision(7), ordinal: 0 });
    let seen = Revision(0);
    let (published, last) = (published.clone(), Instant::now());
    let watcher = Watcher { published, renewal, job, seen, outbox, last, progress_every: EVERY };
    tokio::spawn(watcher.run(Vec::new()));
    taking
}

#[tokio::test]
async fn a_watcher_of_one_job_hears_of_progress_while_others_are_busy() {
    let published = published();
    let mut messages = watcher(&published, None);
    assert_eq!(progress(&mut messages).await, 0);
    let others = tokio::spawn(tick(published));
    let mut seen = 0;
    for _ in 0..3 {
        let now = progress(&mut messages).await;
        assert!(now > seen, "progress moves with the cell: {seen}, {now}");
        seen = now;
    }
    others.abort();
}

#[tokio::test]
async fn a_watcher_of_an_idle_cell_hears_of_progress() {
    let published = published();
    let mut messages = watcher(&published, None);
    for _ in 0..3 {
        assert_eq!(progress(&mut messages).await, 0);
    }
}

#[tokio::test]
async fn a_master_that_may_be_behind_ends_the_watch_and_says_why() {
    let published = published();
    let leads = Arc::new(AtomicBool::new(true));
    let asked = leads.clone();
    let renewal: Renewal = Some(Box::new(move || {
        let leads = asked.load(Ordering::SeqCst);
        Box::pin(async move { if leads { Ok(()) } else { Err(refuse::not_leader(None)) } })
    }));
    let mut messages = watcher(&published, renewal);
    assert_eq!((progress(&mut messages).await, progress(&mut messages).await), (0, 0));
    leads.store(false, Ordering::SeqCst);
    let end = loop {
        match messages.next().await.expect("a last word") {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(end.message().contains("does not lead"), "{end}");
    assert!(messages.next().await.is_none());
}

/// One revision with so many events.
fn publish(published: &Published, cell: &mut Cell, revision: u64, events: usize) {
    cell.apply_undecodable(Revision(revision));
    let change = (Revision(revision), Arc::new(vec![Event::ConfigChanged; events]));
    published.publish(cell.clone(), vec![change], 0);
}

#[tokio::test]
async fn a_watcher_whose_next_revision_has_left_the_ring_is_told_where_to_begin_anew() {
    let published = published();
    let mut cell = Cell::genesis("test");
    // The first two revisions alone are more than the ring holds, so it forgets them when the third comes.
    for (revision, events) in [(1, 60_000), (2, 60_000), (3, 1)] {
        publish(&published, &mut cell, revision, events);
    }
    let mut messages = watcher(&published, None);
    assert_eq!(progress(&mut messages).await, 0, "where it would go on");
    let message = timeout(WITHIN, messages.next()).await.expect("it is told").expect("a message");
    let Some(Message::Resync(resync)) = message.expect("no error").message else {
        panic!("expected a resync")
    };
    assert_eq!(resync.revision, 3);
    assert_eq!(resync.oldest_revision, published.oldest().0);
    assert!((1..=2).contains(&resync.oldest_revision), "{}", resync.oldest_revision);
    assert!(messages.next().await.is_none(), "the watch has ended");
}
