//! The gate in front of every handler: table, identity, and both languages of refusal.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use paceline_identity::{Expect, RULES, Role, TlsConnector, allowed, channel};
use tonic::transport::Channel;
use tower_service::Service;

use crate::fixture::{TestCell, TestServer, router};
use crate::server::http1;

/// One gRPC call without a body.
pub async fn call(
    channel: &mut Channel,
    path: &str,
) -> Result<Response<tonic::body::Body>, tonic::transport::Error> {
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Body::empty()))
        .unwrap();
    channel.call(request).await
}

fn grpc_status(response: &Response<tonic::body::Body>) -> (&str, String) {
    let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
    (header("grpc-status"), header("grpc-message").replace("%20", " "))
}

#[tokio::test]
async fn every_role_gets_through_to_what_the_table_gives_it_and_to_nothing_else() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    for role in Role::ALL {
        let connector = Arc::new(TlsConnector::new(cell.credentials(role, "x")));
        let mut channel = channel(connector, &server.address.to_string(), Expect::any(Role::Master));
        let ours =
            |path: &&str| path.starts_with("/paceline.v1.Jobs/") || path.starts_with("/paceline.v1.Nodes/");
        for path in RULES.iter().map(|rule| rule.rpc).filter(ours) {
            let response = call(&mut channel, path).await.unwrap();
            let (status, message) = grpc_status(&response);
            if allowed(role, path) {
                assert_eq!(status, "0", "{role} {path}");
                assert_eq!(response.headers()["seen"], format!("spiffe://prod/{role}/x").as_str());
            } else {
                assert_eq!((status, message), ("7", format!("{role}/x may not call {path}")));
            }
        }
        let unlisted = call(&mut channel, "/paceline.v1.Jobs/Unlisted").await.unwrap();
        assert_eq!(grpc_status(&unlisted).0, "7", "{role}");
    }
    server.stop().await;
}

#[tokio::test]
async fn plain_http_is_refused_with_403_and_the_same_words() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    let agent = cell.credentials(Role::Agent, "n1");
    for path in ["/healthz", "/secret", "/"] {
        let stream = server.dial(&agent, Expect::any(Role::Master)).await.unwrap();
        let answer = http1(stream, path).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.ends_with(&format!("agent/n1 may not call {path}\n")), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_query_does_not_change_which_rule_applies() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    let user = cell.credentials(Role::User, "ada");
    let stream = server.dial(&user, Expect::any(Role::Master)).await.unwrap();
    assert!(http1(stream, "/healthz?verbose").await.starts_with("HTTP/1.1 200"));
    let stream = server.dial(&user, Expect::any(Role::Master)).await.unwrap();
    assert!(http1(stream, "/healthz%2f..%2fsecret").await.starts_with("HTTP/1.1 403"));
    server.stop().await;
}

#[tokio::test]
async fn a_listed_path_that_is_not_mounted_here_is_not_found() {
    let cell = TestCell::new("prod");
    let server = TestServer::start(cell.credentials(Role::Master, "m1"), router()).await;
    let operator = cell.credentials(Role::Operator, "ada");
    let stream = server.dial(&operator, Expect::any(Role::Master)).await.unwrap();
    assert!(http1(stream, "/metrics").await.starts_with("HTTP/1.1 404"));
    server.stop().await;
}
