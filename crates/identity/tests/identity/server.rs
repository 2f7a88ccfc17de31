//! The server loop: slow clients, shutdown, both versions of HTTP, and a channel that comes back.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use paceline_identity::{Expect, PeerStream, Role, TlsConnector, channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::fixture::{TestCell, TestServer, router};
use crate::gate::call;

/// Sends one HTTP/1.1 request and reads the whole answer.
pub async fn http1(mut stream: PeerStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: cell\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

#[tokio::test]
async fn clients_that_only_hold_the_door_open_do_not_block_others() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    let mut idlers = Vec::new();
    for _ in 0..50 {
        let mut idler = TcpStream::connect(server.address).await.unwrap();
        // The first bytes of a handshake record that never ends.
        idler.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
        idlers.push(idler);
    }
    let user = cell.credentials(Role::User, "ada");
    let stream = server.dial(&user, Expect::named(Role::Master, "m1")).await.unwrap();
    assert!(http1(stream, "/healthz").await.starts_with("HTTP/1.1 200"));
    drop(idlers);
    server.stop().await;
}

#[tokio::test]
async fn one_port_speaks_grpc_and_http1() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    let user = cell.credentials(Role::User, "ada");
    let stream = server.dial(&user, Expect::any(Role::Master)).await.unwrap();
    assert!(http1(stream, "/healthz").await.ends_with("ok\n"));
    let connector = Arc::new(TlsConnector::new(user));
    let mut channel = channel(connector, &server.address.to_string(), Expect::any(Role::Master));
    let answer = call(&mut channel, "/paceline.v1.Jobs/Get").await.unwrap();
    assert_eq!(answer.headers()["seen"], "spiffe://prod/user/ada");
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn a_channel_finds_a_server_that_came_back() {
    let cell = TestCell::new("prod");
    let master = cell.credentials(Role::Master, "m1");
    let first = TestServer::start(Arc::clone(&master), router()).await;
    let address = first.address;
    let connector = Arc::new(TlsConnector::new(cell.credentials(Role::User, "ada")));
    let mut channel = channel(connector, &address.to_string(), Expect::any(Role::Master));
    call(&mut channel, "/paceline.v1.Jobs/Get").await.unwrap();
    first.stop().await;
    assert!(call(&mut channel, "/paceline.v1.Jobs/Get").await.is_err());
    let second = TestServer::start_at(address, master, router()).await;
    // The channel may first notice that its old connection is gone.
    let mut tries = 0;
    while call(&mut channel, "/paceline.v1.Jobs/Get").await.is_err() {
        tries += 1;
        assert!(tries < 5, "the channel did not come back");
    }
    drop(channel);
    second.stop().await;
}

#[tokio::test]
async fn a_channel_to_the_wrong_peer_says_what_was_expected_and_presented() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Shard, "s1"), router()).await;
    let connector = Arc::new(TlsConnector::new(cell.credentials(Role::User, "ada")));
    let mut channel = channel(connector, &server.address.to_string(), Expect::any(Role::Master));
    let error = call(&mut channel, "/paceline.v1.Jobs/Get").await.unwrap_err();
    let mut told = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    assert!(
        told.contains("expected any master of cell prod, presented was spiffe://prod/shard/s1"),
        "{told}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_call_in_progress_is_answered_before_the_server_leaves() {
    let cell = TestCell::new("prod");
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let slow = Router::new().route(
        "/healthz",
        get(async move || {
            enter.notify_one();
            wait.notified().await;
            "late but whole\n"
        }),
    );
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), slow).await;
    let user = cell.credentials(Role::User, "ada");
    let stream = server.dial(&user, Expect::any(Role::Master)).await.unwrap();
    let asking = tokio::spawn(http1(stream, "/healthz"));
    entered.notified().await;
    let stopping = tokio::spawn(server.stop());
    release.notify_one();
    assert!(asking.await.unwrap().ends_with("late but whole\n"));
    stopping.await.unwrap();
}
