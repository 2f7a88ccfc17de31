//! One end of a stream as the owner holds it: an outbox that never blocks, and the end of its reader.

use paceline_api::v1::{ErrorCode, OrderFrame};
use paceline_api::{error_detail, status_from};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::DropGuard;
use tonic::Status;

/// Orders that wait for one agent. A full set travels in a few frames; an agent that leaves this many unread is
/// stalled, and is better served by a new session than by old orders.
pub(crate) const AGENT_OUTBOX_FRAMES: usize = 128;

/// What the response stream of an agent yields.
pub(crate) type AgentFrame = Result<OrderFrame, Status>;

/// An agent's stream. Dropping it ends both directions.
#[derive(Debug)]
pub(crate) struct AgentStream {
    pub outbox: mpsc::Sender<AgentFrame>,
    /// Ends the task that reads the other direction.
    pub _reader: DropGuard,
}

/// Whether an agent takes what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// Its outbox is full.
    Stalled,
    /// It is gone; its reader will say so.
    Gone,
}

impl AgentStream {
    pub(crate) fn send(&self, frame: OrderFrame) -> Taken {
        match self.outbox.try_send(Ok(frame)) {
            Ok(()) => Taken::Yes,
            Err(TrySendError::Full(_)) => Taken::Stalled,
            Err(TrySendError::Closed(_)) => Taken::Gone,
        }
    }

    /// Ends the stream and says why, after what was sent before.
    pub(crate) fn end(self, reason: &str) {
        // A full outbox means that the agent does not read: the end of the stream says it too.
        let _ = self.outbox.try_send(Err(refusal(ErrorCode::Unavailable, reason)));
    }
}

/// A typed refusal.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> Status {
    status_from(error_detail(code, message))
}
