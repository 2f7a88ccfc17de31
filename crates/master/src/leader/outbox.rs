//! The way to one shard: frames that wait for its stream, bounded by count and by bytes.
//!
//! The hub sends orders only where there is room, so the hard bounds are met by a shard alone that says much and reads
//! nothing: it is disconnected and comes back.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use paceline_api::v1::MasterFrame;
use paceline_link::message::MasterMessage;
use paceline_link::{BATCH_BYTES_MAX, master_message_bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Frames that wait for one shard, of whatever size: thousands of small answers travel in one.
const FRAMES_MAX: usize = 256;
/// Bytes that wait for one shard, in kilobytes.
const KILOBYTES_MAX: usize = 64 * 1024;
/// Orders are made while less than half of either waits: the other half is for the set that has just begun, which may
/// carry many specifications, and for answers.
const FRAMES_FOR_ORDERS: usize = FRAMES_MAX / 2;
const KILOBYTES_FOR_ORDERS: usize = KILOBYTES_MAX / 2;
/// Two frames in a row carry more than one batch, so this much of orders never makes more than one frame.
const BYTES_PER_FRAME: usize = BATCH_BYTES_MAX / 2;

/// A frame and its share of the bytes, which it gives back when the stream takes it.
type Weighed = (Result<MasterFrame, Status>, Option<OwnedSemaphorePermit>);

/// What a shard's stream takes its frames from.
pub(crate) type FrameStream = Pin<Box<dyn Stream<Item = Result<MasterFrame, Status>> + Send>>;

/// To one shard.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Weighed>,
    kilobytes: Arc<Semaphore>,
}

/// A frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The shard does not read.
    Full,
    /// The stream has ended.
    Closed,
}

impl Outbox {
    pub(crate) fn new() -> (Self, FrameStream) {
        let (frames, inbox) = mpsc::channel(FRAMES_MAX);
        let kilobytes = Arc::new(Semaphore::new(KILOBYTES_MAX));
        let stream = ReceiverStream::new(inbox).map(|(frame, _permit): Weighed| frame);
        (Self { frames, kilobytes }, Box::pin(stream))
    }

    /// Sends one frame.
    pub(crate) fn send(&self, messages: Vec<MasterMessage>) -> Result<(), Unsent> {
        let bytes: usize = messages.iter().map(master_message_bytes).sum();
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).map_err(|_| Unsent::Full)?;
        let permit = self.kilobytes.clone().try_acquire_many_owned(kilobytes).map_err(|_| Unsent::Full)?;
        self.frames.try_send((Ok(messages.into()), Some(permit))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unsent::Full,
            mpsc::error::TrySendError::Closed(_) => Unsent::Closed,
        })
    }

    /// Says why the stream ends, if there is room for that.
    pub(crate) fn end(&self, why: Status) {
        // A full outbox ends with the stream all the same, only without the reason.
        let _ = self.frames.try_send((Err(why), None));
    }

    /// Until the stream is gone.
    pub(crate) async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Bytes that wait for the stream.
    pub(crate) fn waiting_bytes(&self) -> usize {
        KILOBYTES_MAX.saturating_sub(self.kilobytes.available_permits()) * 1024
    }

    /// How many bytes of orders may be sent now.
    pub(crate) fn room_bytes(&self) -> usize {
        let frames = self.frames.capacity().saturating_sub(FRAMES_MAX - FRAMES_FOR_ORDERS);
        let kilobytes =
            self.kilobytes.available_permits().saturating_sub(KILOBYTES_MAX - KILOBYTES_FOR_ORDERS);
        (frames * BYTES_PER_FRAME).min(kilobytes * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_link::message::{AgentOrder, JobBody, Orders};
    use paceline_types::{JobUid, LinkSession, Revision, SpecVersion};

    fn frame(spec_bytes: usize) -> Vec<MasterMessage> {
        let job = JobUid { revision: Revision(1), ordinal: 0 };
        let body = JobBody { job, version: SpecVersion(1), spec: vec![0; spec_bytes] };
        let orders = Orders { jobs: vec![body], ..Orders::default() };
        let node = "n".parse().expect("a name");
        vec![MasterMessage::ToNode { node, session: LinkSession(1), order: AgentOrder::Orders(orders) }]
    }

    #[tokio::test]
    async fn large_frames_are_bounded_by_bytes_and_give_them_back_when_taken() {
        let (outbox, mut stream) = Outbox::new();
        let mebibyte = frame(1024 * 1024);
        let sent = std::iter::from_fn(|| outbox.send(mebibyte.clone()).ok()).count();
        assert_eq!(sent, 63, "a little more than a mebibyte each");
        assert_eq!((outbox.room_bytes(), outbox.send(mebibyte.clone())), (0, Err(Unsent::Full)));
        for _ in 0..sent {
            stream.next().await.expect("a frame").expect("messages");
        }
        assert_eq!(outbox.waiting_bytes(), 0);
        assert_eq!(outbox.send(mebibyte), Ok(()));
    }

    #[tokio::test]
    async fn small_frames_are_bounded_by_count_and_leave_no_room_for_orders_before_that() {
        let (outbox, stream) = Outbox::new();
        for _ in 0..FRAMES_FOR_ORDERS {
            assert!(outbox.room_bytes() > 0);
            outbox.send(frame(1)).expect("room");
        }
        assert_eq!(outbox.room_bytes(), 0);
        for _ in FRAMES_FOR_ORDERS..FRAMES_MAX {
            outbox.send(frame(1)).expect("room for answers");
        }
        assert_eq!(outbox.send(frame(1)), Err(Unsent::Full));
        drop(stream);
        assert_eq!(outbox.send(Vec::new()), Err(Unsent::Closed));
    }
}
