//! The one port without TLS: health on loopback, for a supervisor on the same machine, off unless asked for.
//!
//! It answers yes or no and nothing else: no reason, no name, no number (invariant A-14).

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::health::{Health, HealthReport};
use crate::routes::status;

/// Probes at once; a machine has one or two supervisors.
const CONNECTIONS_AT_ONCE: usize = 16;
/// How long one probe may take in all.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers `/healthz` and `/readyz` on loopback, until it is dropped. An error means that the port could not
/// be bound.
pub async fn serve_loopback_health(port: u16, health: Health) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    answer_probes(listener, health).await;
    Ok(())
}

async fn answer_probes(listener: TcpListener, health: Health) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_AT_ONCE));
    let mut probes = tokio::task::JoinSet::new();
    loop {
        while probes.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = health.clone();
                probes.spawn(async move {
                    // A probe that breaks off or takes too long is its sender's business.
                    let _ = tokio::time::timeout(PROBE_DEADLINE, answer(stream, health)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on the health port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, health: Health) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(respond(&health, request.method(), request.uri().path())))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(health: &Health, method: &Method, path: &str) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/healthz") => verdict(&health.live()),
        (&Method::GET | &Method::HEAD, "/readyz") => verdict(&health.ready()),
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn verdict(report: &HealthReport) -> Response<Full<Bytes>> {
    plain(status(report), if report.healthy { "ok\n" } else { "failing\n" })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::health::Probe;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_loopback_port_says_yes_or_no_and_nothing_else() {
        let health = Health::new();
        let check = health.check(Probe::Ready, "raft");
        check.fail("secret reason");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(answer_probes(listener, health));

        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let not_ready = ask(address, "/readyz").await;
        assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
        assert!(!not_ready.contains("secret") && !not_ready.contains("raft"), "{not_ready}");
        check.pass();
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/metrics").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
