//! A tonic channel over a [`Connector`]: gRPC to a peer whose identity was proved.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::connector::{Connector, Expect};
use crate::listener::BoxFuture;
use crate::stream::PeerStream;
use crate::tls::CONNECT_DEADLINE;

/// What stands in `:scheme` and `:authority`. Constant, so that no address can be malformed as a URI: the
/// connector dials the address, and TLS lies below what tonic sees.
const ORIGIN: &str = "http://cell.paceline.internal";
/// How often a quiet connection is probed. Calls and links have shorter deadlines of their own; this only
/// frees what a machine that lost its power has left behind, and ten thousand agents do it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take before the connection is given up.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of one stream on their way to us: one full gRPC message fits in a window.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of all streams of a connection on their way to us.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// A channel that dials `address` (`HOST:PORT`) when it is first used, and again after it breaks.
///
/// Must be called inside a tokio runtime. A peer that is not whom we expect shows up as `UNAVAILABLE` whose
/// source names what was expected and what was presented.
pub fn channel(connector: Arc<dyn Connector>, address: &str, expect: Expect) -> Channel {
    Endpoint::from_static(ORIGIN)
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_DEADLINE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(Dialler { connector, address: address.to_owned(), expect })
}

/// Hands tonic one stream per call.
struct Dialler {
    connector: Arc<dyn Connector>,
    address: String,
    expect: Expect,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<PeerStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<PeerStream>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _origin: Uri) -> Self::Future {
        let connecting = self.connector.connect(&self.address, &self.expect);
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
