//! The bounds of the loop, over a listener that hands out streams in memory with injected identities, as a
//! simulation would.

use std::net::SocketAddr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::access::Requests;
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
    request_deadline: Duration::from_secs(3_600),
    request_bytes_per_principal: 3 * requests::CALL_BYTES,
    request_bytes_at_once: 4 * requests::CALL_BYTES,
    farewell_deadline: Duration::from_millis(50),
    accept_pause: Duration::from_millis(1),
    accept_failures_max: 3,
};

/// A client's end of a connection, and whether it ever shakes hands.
enum Arrival {
    Shakes(DuplexStream),
    /// As a certain peer.
    ShakesAs(DuplexStream, Role, &'static str),
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
                Some(Arrival::ShakesAs(bytes, role, name)) => Ok(Pending::new(remote, async move {
                    let peer = PeerIdentity { role, name: name.to_owned(), ..user() };
                    Ok(PeerStream::new(bytes, peer))
                })),
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

const SUBMIT: &str = "/paceline.v1.Jobs/Submit";
const CONNECT: &str = "/paceline.v1.AgentLink/Connect";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Answers once the whole request is there.
fn reading() -> Router {
    let read = || axum::routing::post(async |body: axum::body::Bytes| format!("{} bytes\n", body.len()));
    Router::new().route(SUBMIT, read()).route(CONNECT, read()).route(REFLECTION, read())
}

/// Begins a request of so many bytes, and sends the first of them.
async fn begin(mut stream: DuplexStream, path: &str, bytes: usize, first: usize) -> DuplexStream {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    send(&mut stream, first).await;
    stream
}

async fn send(stream: &mut DuplexStream, bytes: usize) {
    // Whoever is refused on the way need not take the rest.
    let _ = stream.write_all(&vec![b'x'; bytes]).await;
}

async fn answer(mut stream: DuplexStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_request_that_is_not_whole_at_its_deadline_is_refused_and_forgotten() {
    let limits = Limits { request_deadline: Duration::from_millis(30), ..SMALL };
    let server = TestServer::start_within(limits, reading());
    for first in [0, 7] {
        let parked = begin(server.arrive(Arrival::Shakes).await, SUBMIT, 100, first).await;
        let refused = answer(parked).await;
        assert!(refused.contains("the request was not whole within 30 ms"), "{refused}");
    }
    let mut trickling = begin(server.arrive(Arrival::Shakes).await, SUBMIT, 10_000, 1).await;
    let mut sent = 1;
    while sent < 10_000 && trickling.write_all(b"x").await.is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(sent < 10_000, "the body went on for as long as it liked");
    let whole = begin(server.arrive(Arrival::Shakes).await, SUBMIT, 100, 100).await;
    assert!(answer(whole).await.ends_with("100 bytes\n"));
}

#[tokio::test]
async fn a_stream_takes_its_time() {
    let limits = Limits { request_deadline: Duration::from_millis(10), ..SMALL };
    let server = TestServer::start_within(limits, reading());
    let agent = |bytes| Arrival::ShakesAs(bytes, Role::Agent, "n1");
    let bytes = 2 * SMALL.request_bytes_at_once;
    let mut stream = begin(server.arrive(agent).await, CONNECT, bytes, 10).await;
    for part in [bytes / 2, bytes - bytes / 2 - 10] {
        tokio::time::sleep(3 * limits.request_deadline).await;
        send(&mut stream, part).await;
    }
    let served = answer(stream).await;
    assert!(served.ends_with(&format!("{bytes} bytes\n")), "{served}");
}

#[tokio::test]
async fn bodies_that_one_caller_parks_are_bounded_and_leave_room_for_others() {
    let server = TestServer::start(reading());
    let half = SMALL.request_bytes_per_principal / 2;
    let mut parked = Vec::new();
    for _ in 0..2 {
        parked.push(begin(server.arrive(Arrival::Shakes).await, SUBMIT, half + 1, half).await);
    }
    // The server takes in what was sent at its own pace.
    loop {
        let small = begin(server.arrive(Arrival::Shakes).await, SUBMIT, 1, 1).await;
        let refused = answer(small).await;
        if refused.starts_with("HTTP/1.1 429") {
            assert!(refused.contains("user/ada has 48 KiB of requests on their way here"), "{refused}");
            break;
        }
        tokio::task::yield_now().await;
    }
    let other = |bytes| Arrival::ShakesAs(bytes, Role::User, "bob");
    let served = answer(begin(server.arrive(other).await, SUBMIT, 1, 1).await).await;
    assert!(served.ends_with("1 bytes\n"), "{served}");
    // A piece more than the bound is not kept either.
    send(&mut parked[0], 1).await;
    let refused = answer(parked.remove(0)).await;
    assert!(refused.contains("48 KiB are allowed"), "{refused}");
    send(&mut parked[0], 1).await;
    assert!(answer(parked.remove(0)).await.ends_with(&format!("{} bytes\n", half + 1)));
}

#[tokio::test]
async fn streams_of_one_person_are_bounded_while_they_are_read_and_have_no_deadline() {
    let limits = Limits { request_deadline: Duration::from_millis(1), ..SMALL };
    let server = TestServer::start_within(limits, reading());
    let mut first = begin(server.arrive(Arrival::Shakes).await, REFLECTION, 2, 1).await;
    // Two streams are more than a caller has bytes for here.
    loop {
        let second = begin(server.arrive(Arrival::Shakes).await, REFLECTION, 1, 1).await;
        if answer(second).await.starts_with("HTTP/1.1 429") {
            break;
        }
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(10 * limits.request_deadline).await;
    send(&mut first, 1).await;
    assert!(answer(first).await.ends_with("2 bytes\n"), "it took its time");
    let next = begin(server.arrive(Arrival::Shakes).await, REFLECTION, 1, 1).await;
    assert!(answer(next).await.ends_with("1 bytes\n"), "what has ended is given back");
}

#[tokio::test]
async fn a_late_body_is_a_status_with_its_code_for_grpc() {
    let limits = Limits { request_deadline: Duration::from_millis(5), ..SMALL };
    let error = first_error(&limits, vec![]).await;
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    assert!(error.message().contains("nothing was done"), "{error}");
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_a_status_that_says_when_to_come_again() {
    let error = first_error(&SMALL, vec![1, SMALL.request_bytes_per_principal]).await;
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    assert_eq!(error.metadata().get(RETRY_AFTER_MS_HEADER).unwrap(), "100");
}

/// A body of these pieces that never ends.
struct Endless(std::vec::IntoIter<usize>);

impl hyper::body::Body for Endless {
    type Data = hyper::body::Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, io::Error>>> {
        match self.0.next() {
            Some(bytes) => {
                std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(vec![b'x'; bytes].into()))))
            }
            None => std::task::Poll::Pending,
        }
    }
}

/// What tonic makes of the error that ends such a body.
async fn first_error(limits: &Limits, pieces: Vec<usize>) -> tonic::Status {
    let all = PerCaller::new(limits.request_bytes_per_principal, limits.request_bytes_at_once);
    let principal = Principal::from("user/ada");
    let call =
        requests::begin(&all, &principal, limits.request_bytes_per_principal, Requests::Whole).unwrap();
    let body = requests::Bounded::new(Endless(pieces.into_iter()), call, principal, limits);
    let mut body = axum::body::Body::new(body);
    loop {
        let next = |context: &mut std::task::Context<'_>| {
            hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), context)
        };
        if let Err(error) = std::future::poll_fn(next).await.expect("it never ends") {
            return tonic::Status::from_error(error.into());
        }
    }
}
