//! HTTP on one authenticated stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use super::complaints::Complaints;
use super::gate::Gate;
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

/// Serves until the peer leaves, or until we do and its last call has ended.
pub(super) async fn run(
    stream: PeerStream,
    router: Router,
    mut leaving: watch::Receiver<bool>,
    complaints: Arc<Complaints>,
) {
    let peer = stream.peer().clone();
    let principal = peer.principal();
    let builder = builder();
    let mut serving =
        pin!(builder.serve_connection(TokioIo::new(stream), Gate::new(peer, router, complaints)));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = told_to_leave(&mut leaving) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = principal, error, "connection broke");
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
