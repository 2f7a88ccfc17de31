//! The server loop: accept, shake hands, gate, serve, and leave in good order.
//!
//! Bounds: so many handshakes at once, so many connections and bytes of requests in all and of one peer, a deadline for
//! each handshake, for the first call, for each request and for the farewell; and no connection outlives the
//! certificate that opened it. A service's own limits (message sizes, streams, queues) are its own.

mod complaints;
mod connection;
mod gate;
mod limits;
mod mount;
mod principals;
mod requests;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::listener::{Listener, Pending};
use crate::per_caller::PerCaller;
use crate::stream::PeerStream;

use complaints::Complaints;
use gate::Gate;
use limits::Limits;
pub use mount::grpc;
use principals::Principal;
pub use requests::RETRY_AFTER_MS_HEADER;
use requests::Requests;

/// How often a slow handshake looks whether others wait for its place.
const CROWD_LOOK: Duration = Duration::from_millis(100);

/// Why a server ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener gave nothing but errors.
    #[error("the listener failed {failures} times in a row")]
    Accept {
        /// How often, in a row.
        failures: u32,
        /// The last error.
        #[source]
        source: io::Error,
    },
}

/// Serves the router (gRPC and plain HTTP, HTTP/2 and HTTP/1.1) to the peers that the listener lets in,
/// until `shutdown` completes; then lets calls end for a few seconds and returns.
///
/// Each request is checked against [`RULES`](crate::RULES) before the router sees it, and carries the
/// caller's [`PeerIdentity`](crate::PeerIdentity) in its extensions.
pub async fn serve(
    listener: impl Listener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    serve_within(Limits::PRODUCTION, listener, router, shutdown).await
}

async fn serve_within(
    limits: Limits,
    listener: impl Listener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (leave, leaving) = watch::channel(false);
    let mut server = Server {
        limits,
        listener,
        router,
        leaving,
        handshakes: Arc::new(Semaphore::new(limits.handshakes_at_once)),
        open: Arc::new(Semaphore::new(limits.connections_at_once)),
        seats: PerCaller::new(limits.connections_per_principal, limits.connections_at_once),
        requests: PerCaller::new(limits.request_bytes_per_principal, limits.request_bytes_at_once),
        complaints: Arc::new(Complaints::default()),
        connections: JoinSet::new(),
    };
    let ended = server.run(shutdown).await;
    leave.send_replace(true);
    server.farewell().await;
    ended
}

struct Server<L> {
    limits: Limits,
    listener: L,
    router: Router,
    leaving: watch::Receiver<bool>,
    handshakes: Arc<Semaphore>,
    open: Arc<Semaphore>,
    /// Connections by principal.
    seats: PerCaller<Principal>,
    requests: Requests,
    complaints: Arc<Complaints>,
    connections: JoinSet<()>,
}

/// Held while a connection lives.
struct Place {
    handshake: OwnedSemaphorePermit,
    open: OwnedSemaphorePermit,
}

impl<L: Listener> Server<L> {
    async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let mut shutdown = pin!(shutdown);
        let mut failures = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                Some(ended) = self.connections.join_next() => {
                    report_panic(ended);
                    continue;
                }
                accepted = next(&mut self.listener, &self.handshakes) => accepted,
            };
            match accepted {
                Ok((pending, handshake)) => {
                    failures = 0;
                    self.admit(pending, handshake);
                }
                Err(source) => {
                    self.complaints.accept(&source);
                    failures += u32::from(!is_passing(&source));
                    if failures >= self.limits.accept_failures_max {
                        return Err(ServeError::Accept { failures, source });
                    }
                    tokio::time::sleep(self.limits.accept_pause).await;
                }
            }
        }
    }

    /// Starts a connection of its own, or closes it at once when there are too many.
    fn admit(&mut self, pending: Pending, handshake: OwnedSemaphorePermit) {
        let Ok(open) = Arc::clone(&self.open).try_acquire_owned() else {
            self.complaints.too_many(pending.remote(), self.limits.connections_at_once);
            return;
        };
        let place = Place { handshake, open };
        let attendance = Attendance {
            place,
            limits: self.limits,
            handshakes: Arc::clone(&self.handshakes),
            seats: self.seats.clone(),
            requests: self.requests.clone(),
            router: self.router.clone(),
            leaving: self.leaving.clone(),
            complaints: Arc::clone(&self.complaints),
        };
        self.connections.spawn(attendance.run(pending));
    }

    /// Waits for calls to end, then cuts off what is left.
    async fn farewell(&mut self) {
        let all_gone = async { while self.connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.farewell_deadline, all_gone).await.is_err() {
            tracing::info!(connections = self.connections.len(), "closing connections that did not end");
            self.connections.shutdown().await;
        }
    }
}

/// The next connection, once there is room for its handshake.
async fn next(
    listener: &mut impl Listener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(Pending, OwnedSemaphorePermit)> {
    let permit = Arc::clone(handshakes).acquire_owned().await.expect("the semaphore is never closed");
    Ok((listener.accept().await?, permit))
}

/// Whether an accept failed for a reason that says nothing about the listener: a client that went away, or a
/// machine that is out of something. Those pass, and a process that gave up on them would let anyone who can
/// open connections end it.
fn is_passing(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE and ENOBUFS of Linux; the standard library has no kinds for them.
    let out_of_something = matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105));
    out_of_something || error.kind() == io::ErrorKind::ConnectionAborted
}

/// What one connection takes with it.
struct Attendance {
    place: Place,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    seats: PerCaller<Principal>,
    requests: Requests,
    router: Router,
    leaving: watch::Receiver<bool>,
    complaints: Arc<Complaints>,
}

impl Attendance {
    /// One connection from its handshake to its end.
    async fn run(mut self, pending: Pending) {
        let remote = pending.remote();
        let shaken = tokio::select! {
            shaken = shake(pending, &self.limits, &self.handshakes) => shaken,
            () = told_to_leave(&mut self.leaving) => return,
        };
        let Place { handshake, open: _open } = self.place;
        drop(handshake);
        let stream = match shaken {
            Ok(stream) => stream,
            Err(error) => return self.complaints.handshake(remote, &error),
        };
        let peer = stream.peer().clone();
        let principal = Principal::from(peer.principal());
        let most = principals::connections(&peer, &self.limits);
        let Ok(_seat) = self.seats.take_within(principal.clone(), 1, most) else {
            return self.complaints.too_many_of_one(&principal, most);
        };
        let gate = Gate::new(peer, principal, self.router, self.complaints, self.requests, self.limits);
        connection::run(stream, gate, self.leaving, self.limits).await;
    }
}

/// A handler's panic ends its connection, not the server; it must not go unseen.
fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}

/// Completes once the server leaves (or is gone).
async fn told_to_leave(leaving: &mut watch::Receiver<bool>) {
    // The value is a guard that must not live across an await; its content is known.
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

/// Drives a handshake to its end or its deadline; after the grace, only while others need not wait for its place.
async fn shake(pending: Pending, limits: &Limits, places: &Semaphore) -> io::Result<PeerStream> {
    let mut pending = pin!(pending);
    let too_slow = |within: Duration| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no handshake within {} ms", within.as_millis()))
    };
    if let Ok(shaken) = tokio::time::timeout(limits.handshake_grace, pending.as_mut()).await {
        return shaken;
    }
    let crowded = async {
        while places.available_permits() > 0 {
            tokio::time::sleep(CROWD_LOOK).await;
        }
    };
    let rest = limits.handshake_deadline.saturating_sub(limits.handshake_grace);
    tokio::select! {
        shaken = pending => shaken,
        () = tokio::time::sleep(rest) => Err(too_slow(limits.handshake_deadline)),
        () = crowded => Err(too_slow(limits.handshake_grace)),
    }
}
