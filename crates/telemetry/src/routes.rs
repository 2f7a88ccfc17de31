//! `/healthz`, `/readyz` and `/metrics`, for the process's mTLS listener.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;

use crate::health::{Health, HealthReport};
use crate::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The three endpoints. They carry reasons and numbers, so they belong behind the gate of the listener.
pub fn http_routes(metrics: Arc<Metrics>, health: Health) -> Router {
    let live = health.clone();
    Router::new()
        .route("/healthz", get(move || std::future::ready(answer(&live.live()))))
        .route("/readyz", get(move || std::future::ready(answer(&health.ready()))))
        .route("/metrics", get(move || std::future::ready(exposition(&metrics))))
}

fn answer(report: &HealthReport) -> (StatusCode, String) {
    (status(report), report.to_string())
}

fn exposition(metrics: &Metrics) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, OPEN_METRICS)], metrics.render())
}

/// What probes look at.
pub(crate) fn status(report: &HealthReport) -> StatusCode {
    if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, Response};
    use http_body_util::BodyExt;
    use tower_service::Service;

    use super::*;
    use crate::health::Probe;

    async fn ask(router: &Router, path: &str) -> Response<Body> {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router.clone().call(request).await.unwrap()
    }

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn health_has_a_status_for_machines_and_reasons_for_people() {
        let health = Health::new();
        let raft = health.check(Probe::Ready, "raft");
        let router = http_routes(Arc::new(Metrics::new()), health);
        assert_eq!(ask(&router, "/healthz").await.status(), StatusCode::OK);
        raft.fail("no leader for 3 s");
        let answer = ask(&router, "/readyz").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(answer).await.contains("raft: no leader for 3 s"));
        raft.pass();
        assert_eq!(ask(&router, "/readyz").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_exposed_as_open_metrics() {
        let metrics = Arc::new(Metrics::new());
        let router = http_routes(Arc::clone(&metrics), Health::new());
        metrics.raft.term.set(4);
        let answer = ask(&router, "/metrics").await;
        assert_eq!(answer.headers()[CONTENT_TYPE], OPEN_METRICS);
        let exposed = text(answer).await;
        assert!(exposed.contains("\npaceline_raft_term 4\n"), "{exposed}");
        assert!(exposed.ends_with("# EOF\n"), "{exposed}");
    }
}
