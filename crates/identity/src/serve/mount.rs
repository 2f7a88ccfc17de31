//! Mounting a generated gRPC service in a router, at its own name.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use tonic::server::NamedService;
use tower_service::Service;

/// A router that serves one generated tonic service (`JobsServer::new(..)`); merge several for a port.
pub fn grpc<S>(service: S) -> Router
where
    S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    Router::new().route_service(&format!("/{}/{{*method}}", S::NAME), service)
}
