//! The gate in front of every handler: the access table, applied to one connection's peer.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tower_service::Service;

use super::complaints::Complaints;
use crate::access::allowed;
use crate::listener::BoxFuture;
use crate::peer::PeerIdentity;

/// The service of one connection: its peer, and the router behind the gate.
#[derive(Clone)]
pub(super) struct Gate {
    peer: PeerIdentity,
    router: Router,
    complaints: Arc<Complaints>,
    called: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(peer: PeerIdentity, router: Router, complaints: Arc<Complaints>) -> Self {
        Self { peer, router, complaints, called: Arc::default() }
    }

    /// Becomes true with the first call, allowed or not.
    pub(super) fn called(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.called)
    }
}

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // ORDERING: Relaxed, paired with the load in `connection`: a flag that guards nothing else.
        self.called.store(true, Ordering::Relaxed);
        let path = request.uri().path();
        if !allowed(self.peer.role, path) {
            let reason = format!("{} may not call {path}", self.peer.principal());
            self.complaints.call(&self.peer, path);
            let refusal = refuse(request.headers(), reason);
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        request.extensions_mut().insert(self.peer.clone());
        // A router is always ready; each call has a clone of its own, so that calls run at the same time.
        let mut router = self.router.clone();
        Box::pin(async move { router.call(request.map(Body::new)).await })
    }
}

/// Answers in the caller's own language: a gRPC status, or an HTTP one.
fn refuse(headers: &HeaderMap, reason: String) -> Response<Body> {
    if is_grpc(headers) {
        return tonic::Status::permission_denied(reason).into_http();
    }
    let mut response = Response::new(Body::from(format!("{reason}\n")));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
