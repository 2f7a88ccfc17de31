//! A byte stream together with the proved identity of its other end.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::peer::PeerIdentity;

trait ByteStream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> ByteStream for T {}

/// What listeners yield and connectors return: bytes, and who sends them.
pub struct PeerStream {
    bytes: Pin<Box<dyn ByteStream>>,
    peer: PeerIdentity,
}

impl PeerStream {
    /// Binds a stream to an identity. Only what has proved the identity may call this: the TLS handshake,
    /// or a simulation that plays it.
    pub fn new(bytes: impl AsyncRead + AsyncWrite + Send + 'static, peer: PeerIdentity) -> Self {
        Self { bytes: Box::pin(bytes), peer }
    }

    /// Who is on the other end.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// In TLS 1.3 a client is connected before the server has judged its certificate, so a refusal shows
    /// up as an alert on a later read or write. Says so in words.
    fn explain(&self, error: io::Error) -> io::Error {
        let alert = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => return error,
        };
        let text =
            format!("{} refused our certificate or the connection: alert {alert:?}", self.peer.spiffe_id());
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream").field("peer", &self.peer.spiffe_id()).finish_non_exhaustive()
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = self.bytes.as_mut().poll_read(cx, buf);
        polled.map_err(|error| self.explain(error))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.bytes.as_mut().poll_write(cx, buf);
        polled.map_err(|error| self.explain(error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.bytes.as_mut().poll_write_vectored(cx, bufs);
        polled.map_err(|error| self.explain(error))
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.bytes.as_mut().poll_flush(cx);
        polled.map_err(|error| self.explain(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.bytes.as_mut().poll_shutdown(cx);
        polled.map_err(|error| self.explain(error))
    }
}
