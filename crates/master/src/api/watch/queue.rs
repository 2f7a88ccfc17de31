//! What waits for a watcher: bounded in messages and in bytes, and let go of when nothing of it is taken for a while.
//!
//! ```text
//! watcher ── send ──► waiting ── stream ──► connection
//!              │ no room for so long: everything that waits is dropped, and the stream ends
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use paceline_api::{WATCH_MESSAGE_BYTES_MAX, v1};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tonic::Status;

/// Messages that wait for a slow watcher; then reading the ring pauses, and the ring's own bound decides.
const WAITING_MESSAGES: usize = 64;
/// Bytes that wait for it: the largest message has room, and not much beside it.
const WAITING_BYTES: usize = WATCH_MESSAGE_BYTES_MAX;
/// A watcher that takes nothing for so long, though its connection lives, is not there; it may resume where it was.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

type Reply = Result<v1::WatchReply, Status>;
type Waiting = Arc<Mutex<Option<mpsc::Receiver<(Reply, OwnedSemaphorePermit)>>>>;

/// The watcher does not listen any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Where messages go in.
pub(super) struct Outbox {
    sender: mpsc::Sender<(Reply, OwnedSemaphorePermit)>,
    bytes: Arc<Semaphore>,
    waiting: Waiting,
    taken_within: Duration,
}

/// Where they come out.
pub(super) struct Taking(Waiting);

/// An empty queue.
pub(super) fn queue() -> (Outbox, Taking) {
    bounded(WAITING_BYTES, TAKEN_WITHIN)
}

fn bounded(bytes: usize, taken_within: Duration) -> (Outbox, Taking) {
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let waiting = Arc::new(Mutex::new(Some(receiver)));
    let bytes = Arc::new(Semaphore::new(bytes));
    (Outbox { sender, bytes, waiting: waiting.clone(), taken_within }, Taking(waiting))
}

impl Outbox {
    /// Sends when there is room.
    pub(super) async fn send(&self, reply: Reply) -> Result<(), Gone> {
        let length = reply.as_ref().map_or(0, Message::encoded_len).clamp(1, WAITING_BYTES);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let sending = async {
            let room = self.bytes.clone().acquire_many_owned(length).await.map_err(|_| Gone)?;
            self.sender.send((reply, room)).await.map_err(|_| Gone)
        };
        match timeout(self.taken_within, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                // The connection keeps its end for as long as it lives, and would keep all this with it.
                self.waiting.lock().take();
                Err(Gone)
            }
        }
    }

    /// Returns when nobody takes messages any more.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Stream for Taking {
    type Item = Reply;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        match self.0.lock().as_mut() {
            Some(receiver) => receiver.poll_recv(context).map(|taken| taken.map(|(reply, _)| reply)),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn message(events: usize) -> Reply {
        let events = vec![v1::Event { ordinal: 1, happened: None }; events];
        let change = v1::Change { revision: 9, events };
        Ok(v1::WatchReply { message: Some(v1::watch_reply::Message::Change(change)) })
    }

    #[tokio::test]
    async fn a_watcher_that_takes_nothing_is_let_go_with_all_that_waits_for_it() {
        let (outbox, taking) = bounded(100, Duration::from_millis(20));
        let mut sent = 0;
        while outbox.send(message(10)).await.is_ok() {
            sent += 1;
        }
        assert!((1..WAITING_MESSAGES).contains(&sent), "bytes are the bound: {sent} messages");
        assert!(outbox.waiting.lock().is_none() && outbox.bytes.available_permits() == 100);
        assert_eq!(taking.count().await, 0, "the stream has ended");
    }

    #[tokio::test]
    async fn a_watcher_that_takes_what_there_is_gets_all_of_it() {
        let (outbox, taking) = bounded(100, Duration::from_secs(60));
        let sending = tokio::spawn(async move {
            for _ in 0..20 {
                outbox.send(message(10)).await.expect("it is taken");
            }
        });
        assert_eq!(taking.count().await, 20);
        sending.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_watcher_that_went_away_is_noticed() {
        let (outbox, taking) = queue();
        outbox.send(message(1)).await.expect("room");
        drop(taking);
        outbox.closed().await;
        assert!(outbox.send(message(1)).await.is_err());
    }
}
