//! Counts every gRPC call by how it was answered, and times submissions. It looks at the head of the answer only, so
//! no service knows of it.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn};
use paceline_api::MEMBERS_HEADER;
use paceline_replica::Replica;
use paceline_telemetry::{CallOutcome, Metrics};
use tonic::Code;

/// The call whose time is measured: its answer comes when the job is durable.
const SUBMIT: &str = "/paceline.v1.Jobs/Submit";

/// The same routes, counted. Each answer says when the masters changed last, so that clients know when to ask for them.
pub(crate) fn counted(router: Router, metrics: Arc<Metrics>, replica: Arc<Replica>) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let (metrics, replica) = (metrics.clone(), replica.clone());
        async move {
            let submits = request.method() == Method::POST && request.uri().path() == SUBMIT;
            let received = Instant::now();
            let mut answer = next.run(request).await;
            let members_at = replica.members_at().unwrap_or(0);
            answer.headers_mut().insert(MEMBERS_HEADER, members_at.into());
            let outcome = outcome(answer.headers());
            metrics.api.calls.of(outcome).inc();
            if submits && outcome == CallOutcome::Ok {
                metrics.api.submit_seconds.observe(received.elapsed());
            }
            answer
        }
    }))
}

/// A refusal has its status in the head; an answer has its own after the body.
fn outcome(head: &HeaderMap) -> CallOutcome {
    let status = head.get("grpc-status").map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()));
    match status {
        Code::Ok => CallOutcome::Ok,
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::Cancelled => CallOutcome::Retry,
        Code::Internal | Code::Unknown | Code::DataLoss => CallOutcome::Failed,
        _ => CallOutcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_by_what_its_caller_can_do() {
        let with = |code: Code| {
            let mut head = HeaderMap::new();
            head.insert("grpc-status", i32::from(code).into());
            outcome(&head)
        };
        assert_eq!(outcome(&HeaderMap::new()), CallOutcome::Ok);
        assert_eq!(with(Code::Ok), CallOutcome::Ok);
        assert_eq!(with(Code::NotFound), CallOutcome::Refused);
        assert_eq!(with(Code::Unavailable), CallOutcome::Retry);
        assert_eq!(with(Code::Internal), CallOutcome::Failed);
    }
}
