//! What requests may cost before anything is done for them: a body has a deadline, and the bytes that a caller has on
//! their way have a bound. A caller that trickles or parks bodies so loses them, and holds nothing that others need.
//!
//! ```text
//!  head ─► Call (its least bytes) ─► body, piece by piece: more bytes, or refused ─► answered: all given back
//!                                      └─ not whole at the deadline: refused
//! ```
//!
//! Links are their services' own to bound, and masters among themselves bound what they send, so neither a table nor a
//! replication that is behind is ever slowed down here. A stream of a person has no deadline; while it is read it costs
//! what one small message of it may.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::limits::Limits;
use super::principals::Principal;
use crate::per_caller::{Full, PerCaller, Share};

/// Metadata of a refusal that a bound of the server loop caused, before any service saw the call: when to come again.
pub const RETRY_AFTER_MS_HEADER: &str = "paceline-retry-after-ms";

/// What one call costs, however small: its head, its task and its place among the streams of a connection.
pub(super) const CALL_BYTES: usize = 16 * 1024;
/// What a stream of a person costs while it is read: a call, and a message of reflection, the one service that has such
/// streams.
const STREAM_BYTES: usize = 2 * CALL_BYTES;
/// When to come again. What is under way is answered or refused within seconds, and mostly within milliseconds.
const RETRY_MS: u64 = 100;

/// Bytes of requests on their way, by principal.
pub(super) type Requests = PerCaller<Principal>;

/// One call's part of its caller's bytes, until it is answered.
pub(super) type Call = Arc<Mutex<Share<Principal>>>;

/// Takes the least that a call costs.
pub(super) fn begin(
    requests: &Requests,
    principal: &Principal,
    most: usize,
    kind: crate::access::Requests,
) -> Result<Call, Full> {
    let bytes = match kind {
        crate::access::Requests::Whole => CALL_BYTES,
        crate::access::Requests::Stream => STREAM_BYTES,
    };
    let share = requests.take_within(Principal::clone(principal), bytes, most)?;
    Ok(Arc::new(Mutex::new(share)))
}

/// The body of a stream, which holds its caller's bytes for as long as it is read.
pub(super) struct Held<B> {
    body: B,
    _call: Call,
}

impl<B> Held<B> {
    pub(super) fn new(body: B, call: Call) -> Self {
        Self { body, _call: call }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a caller is told at a bound.
pub(super) fn words(principal: &str, full: Full) -> String {
    match full {
        Full::Own { has, most } => format!(
            "{principal} has {} KiB of requests on their way here, and {} KiB are allowed: come again when some are answered",
            has >> 10,
            most >> 10
        ),
        Full::All { most } => format!(
            "requests of all callers that are on their way here take {} KiB, which is the limit: come again",
            most >> 10
        ),
    }
}

/// The same as a status, which says that nothing was done.
pub(super) fn overloaded(words: String) -> Status {
    let mut status = Status::resource_exhausted(words);
    status.metadata_mut().insert(RETRY_AFTER_MS_HEADER, MetadataValue::from(RETRY_MS));
    status
}

/// A body that must be whole at its deadline, and whose bytes count as its caller's.
pub(super) struct Bounded<B> {
    body: B,
    call: Call,
    principal: Principal,
    received: usize,
    within: Duration,
    deadline: Instant,
    /// Only where the body was not there at once.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Nothing comes after a refusal.
    refused: bool,
}

impl<B> Bounded<B> {
    pub(super) fn new(body: B, call: Call, principal: Principal, limits: &Limits) -> Self {
        let within = limits.request_deadline;
        let deadline = Instant::now() + within;
        Self { body, call, principal, received: 0, within, deadline, alarm: None, refused: false }
    }

    /// Counts a piece.
    fn count(&mut self, bytes: usize) -> Result<(), Status> {
        self.received += bytes;
        let mut share = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        let more = self.received.saturating_sub(share.amount());
        if more == 0 {
            return Ok(());
        }
        share.grow(more).map_err(|full| overloaded(words(&self.principal, full)))
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        let within_ms = self.within.as_millis();
        let late = |()| {
            Status::deadline_exceeded(format!(
                "the request was not whole within {within_ms} ms; nothing was done"
            ))
        };
        alarm.as_mut().poll(context).map(late)
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.refused {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                return self.poll_alarm(context).map(|late| {
                    self.refused = true;
                    Some(Err(late.into()))
                });
            }
            Poll::Ready(frame) => frame,
        };
        let counted = match &frame {
            Some(Ok(frame)) => self.count(frame.data_ref().map_or(0, Bytes::len)),
            _ => Ok(()),
        };
        match counted {
            Ok(()) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Err(refused) => {
                self.refused = true;
                Poll::Ready(Some(Err(refused.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refused || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
