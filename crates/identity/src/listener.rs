//! Where connections come in, with the handshake split from the accepting.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::stream::PeerStream;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Yields connections whose peers are known once their handshake is done. Simulation yields its own.
pub trait Listener: Send + 'static {
    /// Where we listen.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection, before its handshake. Dropping the future must lose no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Pending>>;
}

/// A connection whose handshake has yet to be driven: a slow client holds up nobody but itself.
#[must_use = "a handshake does nothing until it is awaited"]
pub struct Pending {
    remote: SocketAddr,
    handshake: BoxFuture<'static, io::Result<PeerStream>>,
}

impl Pending {
    /// Wraps a handshake that is still to run.
    pub fn new(
        remote: SocketAddr,
        handshake: impl Future<Output = io::Result<PeerStream>> + Send + 'static,
    ) -> Self {
        Self { remote, handshake: Box::pin(handshake) }
    }

    /// Where the connection comes from.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }
}

impl Future for Pending {
    type Output = io::Result<PeerStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handshake.as_mut().poll(cx)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("remote", &self.remote).finish_non_exhaustive()
    }
}
