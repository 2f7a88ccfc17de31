//! Connections that can be broken: the simulated network does not send lost segments again, so a connection that lost
//! some would hang where a real one recovers or is reset. When a partition heals, what crossed it is reset.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use paceline_identity::{BoxFuture, Connector, Expect, PeerIdentity, PeerStream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection, as whoever breaks it knows it.
#[derive(Default)]
struct Fuse {
    blown: bool,
    wakers: Vec<Waker>,
}

type Ends = (String, String);
type Fuses = Vec<Weak<Mutex<Fuse>>>;

/// All connections between hosts, by (dialler, dialled).
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<BTreeMap<Ends, Fuses>>>);

impl Connections {
    /// Breaks every connection between two hosts; returns how many there were.
    pub fn reset(&self, one: &str, other: &str) -> usize {
        let mut held = self.0.lock();
        let mut broken = 0;
        for ends in [(one.to_owned(), other.to_owned()), (other.to_owned(), one.to_owned())] {
            let fuses = held.remove(&ends).unwrap_or_default();
            for fuse in fuses.iter().filter_map(Weak::upgrade) {
                let mut fuse = fuse.lock();
                fuse.blown = true;
                fuse.wakers.drain(..).for_each(Waker::wake);
                broken += 1;
            }
        }
        broken
    }

    fn add(&self, from: &str, to: &str) -> Arc<Mutex<Fuse>> {
        let fuse = Arc::default();
        let mut held = self.0.lock();
        let fuses = held.entry((from.to_owned(), to.to_owned())).or_default();
        fuses.retain(|fuse| fuse.strong_count() > 0);
        fuses.push(Arc::downgrade(&fuse));
        fuse
    }
}

/// Dials through another connector and keeps the connections breakable.
pub struct BreakableConnector<C> {
    /// Who dials.
    pub from: String,
    /// The connections.
    pub connections: Connections,
    /// What dials.
    pub inner: C,
}

impl<C: Connector> Connector for BreakableConnector<C> {
    fn connect(&self, address: &str, expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
        let connecting = self.inner.connect(address, expect);
        let (connections, from) = (self.connections.clone(), self.from.clone());
        let to = address.split(':').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            // A dial breaks as well: what asks for a connection is sent again by a kernel, and never here.
            let fuse = connections.add(&from, &to);
            let stream = tokio::select! {
                biased;
                () = blown(fuse.clone()) => return Err(io::ErrorKind::ConnectionReset.into()),
                stream = connecting => stream?,
            };
            let peer = stream.peer().clone();
            Ok(PeerStream::new(Breakable { stream, fuse }, peer))
        })
    }

    fn presents(&self) -> Option<PeerIdentity> {
        self.inner.presents()
    }
}

/// Returns when a connection breaks.
async fn blown(fuse: Arc<Mutex<Fuse>>) {
    std::future::poll_fn(|cx| match fuse.lock().is_blown(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

impl Fuse {
    /// Whether it broke; wakes whoever asks when it does.
    fn is_blown(&mut self, cx: &Context<'_>) -> bool {
        if !self.blown && !self.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
        self.blown
    }
}

struct Breakable {
    stream: PeerStream,
    fuse: Arc<Mutex<Fuse>>,
}

impl Breakable {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.fuse.lock().is_blown(cx) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
