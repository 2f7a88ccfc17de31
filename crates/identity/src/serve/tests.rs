//! The bounds of the loop, over a listener that hands out streams in memory with injected identities, as a
//! simulation would.

use std::net::SocketAddr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::listener::BoxFuture;
use crate::peer::PeerIdentity;
use crate::role::Role;

const SMALL: Limits = Limits {
    handshakes_at_once: 2,
    handshake_deadline: Duration::from_millis(50),
    handshake_grace: Duration::from_millis(40),
    connections_at_once: 4,
    connections_per_principal: 4,
    first_call_deadline: Duration::from_secs(3_600),
    farewell_deadline: Duration::from_millis(50),
    accept_pause: Duration::from_millis(1),
    accept_failures_max: 3,
};

/// A client's end of a connection, and whether it ever shakes hands.
enum Arrival {
    Shakes(DuplexStream),
    Stalls(DuplexStream),
    /// As a peer whose certificate ended long ago: it was good when the handshake began.
    HasEnded(DuplexStream),
    Fails,
    /// The process is out of file descriptors.
    OutOfFiles,
}

struct MemoryListener(mpsc::Receiver<Arrival>);

impl Listener for MemoryListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Pending>> {
        Box::pin(async {
            let remote = ([127, 0, 0, 1], 2).into();
            match self.0.recv().await {
                Some(Arrival::Shakes(bytes)) => {
                    Ok(Pending::new(remote, async { Ok(PeerStream::new(bytes, user())) }))
                }
                Some(Arrival::Stalls(bytes)) => Ok(Pending::new(remote, async {
                    let _held = bytes;
                    std::future::pending().await
                })),
                Some(Arrival::HasEnded(bytes)) => Ok(Pending::new(remote, async {
                    Ok(PeerStream::new(bytes, PeerIdentity { not_after_unix: 1, ..user() }))
                })),
                Some(Arrival::OutOfFiles) => Err(io::Error::from_raw_os_error(24)),
                Some(Arrival::Fails) => Err(io::Error::other("out of something")),
                None => std::future::pending().await,
            }
        })
    }
}

fn user() -> PeerIdentity {
    PeerIdentity {
        cell: "prod".to_owned(),
        role: Role::User,
        name: "ada".to_owned(),
        not_after_unix: i64::MAX,
        certificate_der: Arc::from([]),
    }
}

struct TestServer {
    arrivals: mpsc::Sender<Arrival>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    fn start(router: Router) -> Self {
        Self::start_within(SMALL, router)
    }

    fn start_within(limits: Limits, router: Router) -> Self {
        let (arrivals, receiver) = mpsc::channel(64);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let running = tokio::spawn(serve_within(limits, MemoryListener(receiver), router, shutdown));
        Self { arrivals, stop, running }
    }

    async fn arrive(&self, as_what: fn(DuplexStream) -> Arrival) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(4096);
        assert!(self.arrivals.send(as_what(theirs)).await.is_ok());
        ours
    }
}

async fn ask(mut stream: DuplexStream, keep: bool) -> (String, DuplexStream) {
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\n\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut head = vec![0; 15];
    let read = stream.read_exact(&mut head).await;
    let text = if read.is_ok() { String::from_utf8_lossy(&head).into_owned() } else { String::new() };
    (text, stream)
}

fn healthy() -> Router {
    Router::new().route("/healthz", get(|| std::future::ready("ok\n")))
}

#[tokio::test]
async fn stalled_handshakes_are_cut_off_and_their_places_given_on() {
    let server = TestServer::start(healthy());
    let mut stalled = Vec::new();
    for _ in 0..2 * SMALL.handshakes_at_once {
        stalled.push(server.arrive(Arrival::Stalls).await);
    }
    // It waits in line behind them, and is served once they are cut off.
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
    for mut stream in stalled {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_freed_place_is_taken() {
    let server = TestServer::start(healthy());
    let mut kept = Vec::new();
    for _ in 0..SMALL.connections_at_once {
        let (answer, stream) = ask(server.arrive(Arrival::Shakes).await, true).await;
        assert_eq!(answer, "HTTP/1.1 200 OK");
        kept.push(stream);
    }
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "", "one too many");
    kept.pop();
    // The place is free as soon as the server has noticed.
    while ask(server.arrive(Arrival::Shakes).await, false).await.0.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failed_accept_is_survived_and_a_broken_listener_is_an_error() {
    let server = TestServer::start(healthy());
    for _ in 0..SMALL.accept_failures_max - 1 {
        assert!(server.arrivals.send(Arrival::Fails).await.is_ok());
    }
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
    for _ in 0..SMALL.accept_failures_max {
        assert!(server.arrivals.send(Arrival::Fails).await.is_ok());
    }
    let error = server.running.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the listener failed 3 times in a row");
}

#[tokio::test]
async fn a_call_that_never_ends_does_not_keep_the_server() {
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let endless = Router::new().route(
        "/healthz",
        get(async move || {
            enter.notify_one();
            std::future::pending::<()>().await;
        }),
    );
    let server = TestServer::start(endless);
    let asking = tokio::spawn(ask(server.arrive(Arrival::Shakes).await, false));
    entered.notified().await;
    server.stop.send(()).unwrap();
    server.running.await.unwrap().unwrap();
    assert_eq!(asking.await.unwrap().0, "");
}

#[tokio::test]
async fn a_handshake_in_progress_does_not_keep_the_server() {
    let server = TestServer::start(healthy());
    let mut stalled = server.arrive(Arrival::Stalls).await;
    server.stop.send(()).unwrap();
    server.running.await.unwrap().unwrap();
    drop(server.arrivals);
    assert_eq!(stalled.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn while_others_wait_a_stalled_handshake_gets_its_grace_and_no_more() {
    let patient = Limits { handshake_deadline: Duration::from_secs(3_600), ..SMALL };
    let server = TestServer::start_within(patient, healthy());
    let mut stalled = Vec::new();
    for _ in 0..2 * SMALL.handshakes_at_once {
        stalled.push(server.arrive(Arrival::Stalls).await);
    }
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn one_peer_cannot_take_the_places_of_all() {
    let server = TestServer::start_within(Limits { connections_per_principal: 2, ..SMALL }, healthy());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (answer, stream) = ask(server.arrive(Arrival::Shakes).await, true).await;
        assert_eq!(answer, "HTTP/1.1 200 OK");
        kept.push(stream);
    }
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "", "one too many");
    kept.pop();
    while ask(server.arrive(Arrival::Shakes).await, false).await.0.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_does_not_outlive_the_certificate_that_opened_it() {
    let endless = Router::new().route("/healthz", get(std::future::pending::<()>));
    let server = TestServer::start(endless);
    let (answer, mut stream) = ask(server.arrive(Arrival::HasEnded).await, true).await;
    assert_eq!(answer, "", "a call that never ends is cut off too");
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_closed() {
    let limits = Limits { first_call_deadline: Duration::from_millis(20), ..SMALL };
    let server = TestServer::start_within(limits, healthy());
    let mut silent = server.arrive(Arrival::Shakes).await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_machine_that_is_out_of_file_descriptors_does_not_end_the_server() {
    let server = TestServer::start(healthy());
    for _ in 0..3 * SMALL.accept_failures_max {
        assert!(server.arrivals.send(Arrival::OutOfFiles).await.is_ok());
    }
    let (answer, _) = ask(server.arrive(Arrival::Shakes).await, false).await;
    assert_eq!(answer, "HTTP/1.1 200 OK");
}
