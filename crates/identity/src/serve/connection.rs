//! HTTP on one authenticated stream.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use super::gate::Gate;
use super::limits::Limits;
use super::told_to_leave;
use crate::stream::PeerStream;

/// How often a quiet client is probed, and how long its answer may take: frees what a machine that lost its
/// power has left behind.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(10);
/// Calls at once on one connection. A log follower or a watch each hold one.
const STREAMS_PER_CONNECTION: u32 = 1024;
/// Bytes of one call on their way to us: one full gRPC message fits in a window.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of all calls of a connection on their way to us.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Headers of one call. Ours are a few hundred bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// How long the head of an HTTP/1.1 request may take; longer than a scraper's usual interval, so that it
/// may keep its connection.
const HTTP1_HEAD_DEADLINE: Duration = Duration::from_secs(75);
/// How often the wall clock is looked at while a certificate lives: it may have been set.
const CLOCK_LOOK: Duration = Duration::from_secs(3_600);

/// Serves until the peer leaves or its certificate ends, or until we do and its last call has ended.
pub(super) async fn run(stream: PeerStream, gate: Gate, mut leaving: watch::Receiver<bool>, limits: Limits) {
    let (principal, not_after_unix) = (stream.peer().principal(), stream.peer().not_after_unix);
    let called = gate.called();
    let builder = builder();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), gate));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told_to_leave(&mut leaving) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = ended_at(not_after_unix) => {
            tracing::warn!(peer = principal, not_after_unix, "connection closed: its certificate has ended");
            serving.as_mut().graceful_shutdown();
            // A stream that lives for weeks does not end by itself: what is left is cut off.
            tokio::time::timeout(limits.farewell_deadline, serving).await.unwrap_or(Ok(()))
        }
        () = unused(&called, limits.first_call_deadline) => {
            tracing::debug!(peer = principal, "connection closed: nothing was asked");
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = principal, error, "connection broke");
    }
}

/// Completes when the certificate that opened the connection is good no longer: a link stays open for months,
/// and its peer must not outlive its proof.
async fn ended_at(not_after_unix: i64) {
    loop {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_unix = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let Ok(left_s) = u64::try_from(not_after_unix.saturating_sub(now_unix).saturating_add(1)) else {
            return;
        };
        if left_s == 0 {
            return;
        }
        tokio::time::sleep(CLOCK_LOOK.min(Duration::from_secs(left_s))).await;
    }
}

/// Completes at the deadline if there was no call until then; never otherwise.
async fn unused(called: &AtomicBool, deadline: Duration) {
    tokio::time::sleep(deadline).await;
    // ORDERING: Relaxed, paired with the store in `gate`: a call that comes at this moment may lose the
    // connection, as it may at any other.
    if called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HTTP1_HEAD_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_DEADLINE)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX);
    builder
}
