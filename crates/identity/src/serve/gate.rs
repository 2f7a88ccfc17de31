//! The gate in front of every handler: the access table, applied to one connection's peer, and the bounds of requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;
use tower_service::Service;

use super::complaints::Complaints;
use super::limits::Limits;
use super::principals::{self, Principal};
use super::requests::{self, Bounded, Held};
use crate::access::{Requests, rule_of};
use crate::listener::BoxFuture;
use crate::peer::PeerIdentity;
use crate::role::Role;

/// The service of one connection: its peer, and the router behind the gate.
#[derive(Clone)]
pub(super) struct Gate {
    peer: PeerIdentity,
    principal: Principal,
    router: Router,
    complaints: Arc<Complaints>,
    requests: requests::Requests,
    limits: Limits,
    called: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(
        peer: PeerIdentity,
        principal: Principal,
        router: Router,
        complaints: Arc<Complaints>,
        requests: requests::Requests,
        limits: Limits,
    ) -> Self {
        Self { peer, principal, router, complaints, requests, limits, called: Arc::default() }
    }

    /// Becomes true with the first call, allowed or not.
    pub(super) fn called(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.called)
    }

    /// Lets a call in that costs its caller bytes, and whose request has a deadline unless it is a stream; or refuses it.
    fn bounded(&self, request: Request<Incoming>, kind: Requests) -> Answer {
        let most = principals::request_bytes(&self.peer, &self.limits);
        let call = match requests::begin(&self.requests, &self.principal, most, kind) {
            Ok(call) => call,
            Err(full) => {
                let why = requests::words(&self.principal, full);
                self.complaints.too_much(request.uri().path(), &why);
                let refusal = too_much(request.headers(), why);
                return Box::pin(std::future::ready(Ok(refusal)));
            }
        };
        let (principal, limits) = (self.principal.clone(), self.limits);
        let mut router = self.router.clone();
        Box::pin(async move {
            // A call is done when it is answered, a stream when nobody reads it any more.
            let _until_answered = (kind == Requests::Whole).then(|| Arc::clone(&call));
            let body = |body| match kind {
                Requests::Whole => Body::new(Bounded::new(body, call, principal, &limits)),
                Requests::Stream => Body::new(Held::new(body, call)),
            };
            router.call(request.map(body)).await
        })
    }
}

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        // ORDERING: Relaxed, paired with the load in `connection`: a flag that guards nothing else.
        self.called.store(true, Ordering::Relaxed);
        let path = request.uri().path();
        let Some(rule) = rule_of(path).filter(|rule| rule.roles.contains(&self.peer.role)) else {
            let reason = format!("{} may not call {path}", self.principal);
            self.complaints.call(&self.principal, path);
            let refusal = denied(request.headers(), reason);
            return Box::pin(std::future::ready(Ok(refusal)));
        };
        request.extensions_mut().insert(self.peer.clone());
        let is_link =
            rule.requests == Requests::Stream && !matches!(self.peer.role, Role::User | Role::Operator);
        if !is_link && self.peer.role != Role::Master {
            return self.bounded(request, rule.requests);
        }
        // A router is always ready; each call has a clone of its own, so that calls run at the same time.
        let mut router = self.router.clone();
        Box::pin(async move { router.call(request.map(Body::new)).await })
    }
}

/// Answers in the caller's own language: a gRPC status, or an HTTP one.
fn denied(headers: &HeaderMap, reason: String) -> Response<Body> {
    if is_grpc(headers) {
        return Status::permission_denied(reason).into_http();
    }
    plain(StatusCode::FORBIDDEN, reason)
}

/// The same at a bound.
fn too_much(headers: &HeaderMap, why: String) -> Response<Body> {
    if is_grpc(headers) {
        return requests::overloaded(why).into_http();
    }
    plain(StatusCode::TOO_MANY_REQUESTS, why)
}

fn plain(code: StatusCode, reason: String) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{reason}\n")));
    *response.status_mut() = code;
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
