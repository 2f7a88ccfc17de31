//! The bytes of an established connection: noted in the trace, and stopped when the process has lost its power.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use super::Party;

/// One end of a connection.
pub(super) struct Wire {
    tcp: TcpStream,
    party: Party,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, party: Party) -> io::Result<Self> {
        let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
        Ok(Self { tcp, party, local, remote })
    }

    fn powered(&self) -> io::Result<()> {
        if self.party.power.is_on() { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.powered()?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.powered()?;
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.party.trace.bytes(self.local, self.remote, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
