//! What the end of a try means: the one place that looks at codes.

use std::error::Error;
use std::io;

use paceline_api::v1::{ErrorCode, ErrorDetail};
use paceline_api::{detail_of, error_detail};
use paceline_identity::RETRY_AFTER_MS_HEADER;
use tonic::{Code, ConnectError, Status};

/// What to do after a try that brought no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Ask this address, or the next in turn; nothing was done.
    Redirect {
        /// Who leads, where the master knew.
        leader: Option<String>,
    },
    /// Try again.
    Again {
        /// The try may have been executed.
        ambiguous: bool,
        /// At another master.
        elsewhere: bool,
        /// No sooner than this.
        wait_ms: u64,
    },
    /// The answer is no.
    Refused(Box<ErrorDetail>),
    /// The master is not who it should be, or takes us for someone else.
    Impostor,
    /// The two sides do not fit together.
    Fatal,
}

/// Judges a status.
pub(crate) fn judge(status: &Status) -> Verdict {
    match detail_of(status) {
        Some(detail) => judge_detail(detail),
        None => judge_transport(status),
    }
}

fn judge_detail(detail: ErrorDetail) -> Verdict {
    let wait_ms = detail.retry_after_ms;
    let again = |ambiguous, elsewhere| Verdict::Again { ambiguous, elsewhere, wait_ms };
    match detail.code() {
        ErrorCode::NotLeader => {
            let address = detail.leader.map(|leader| leader.api_address);
            Verdict::Redirect { leader: address.filter(|address| !address.is_empty()) }
        }
        ErrorCode::Overloaded => again(false, false),
        ErrorCode::Behind | ErrorCode::Unavailable => again(false, true),
        ErrorCode::OutcomeUnknown => again(true, true),
        // A fault of one server need not be one of the next.
        ErrorCode::Internal => again(true, true),
        ErrorCode::Unspecified => Verdict::Fatal,
        ErrorCode::InvalidArgument
        | ErrorCode::NameInUse
        | ErrorCode::NotFound
        | ErrorCode::RequestTooOld
        | ErrorCode::RequestConflict
        | ErrorCode::RequestAnswered
        | ErrorCode::TooLarge
        | ErrorCode::Conflict
        | ErrorCode::PermissionDenied
        | ErrorCode::PageExpired
        | ErrorCode::Unsupported => Verdict::Refused(Box::new(detail)),
    }
}

/// A status that no service of ours wrote.
fn judge_transport(status: &Status) -> Verdict {
    let refused = |code| Verdict::Refused(Box::new(error_detail(code, status.message())));
    let causes = Causes::of(status);
    if causes.identity {
        return Verdict::Impostor;
    }
    if let Some(wait_ms) = server_bound(status) {
        return Verdict::Again { ambiguous: false, elsewhere: false, wait_ms };
    }
    match status.code() {
        // The authorize layer's answer: see `identity`.
        Code::PermissionDenied => refused(ErrorCode::PermissionDenied),
        Code::InvalidArgument => refused(ErrorCode::InvalidArgument),
        Code::NotFound => refused(ErrorCode::NotFound),
        // tonic's decoding limits.
        Code::OutOfRange | Code::ResourceExhausted if !causes.any => refused(ErrorCode::TooLarge),
        Code::Unimplemented | Code::Unauthenticated | Code::DataLoss => Verdict::Fatal,
        _ => Verdict::Again { ambiguous: !causes.connect, elsewhere: true, wait_ms: 0 },
    }
}

/// When to come again, where a bound of the server loop refused the call before any service saw it: see `identity`.
fn server_bound(status: &Status) -> Option<u64> {
    let header = status.metadata().get(RETRY_AFTER_MS_HEADER)?;
    header.to_str().ok()?.parse().ok()
}

/// Whether nobody was reached at all.
pub(crate) fn is_absent(status: &Status) -> bool {
    detail_of(status).is_none() && Causes::of(status).connect
}

/// What lies below a status of the transport.
#[derive(Default)]
struct Causes {
    /// There is a cause: the status was made on this side.
    any: bool,
    /// The connection was never there, so nothing was sent.
    connect: bool,
    /// One side did not accept the other's certificate.
    identity: bool,
}

impl Causes {
    fn of(status: &Status) -> Self {
        let mut causes = Self::default();
        let mut next = status.source();
        while let Some(cause) = next {
            causes.any = true;
            causes.connect |= cause.is::<ConnectError>();
            // Refused by us: `PermissionDenied` from `identity`'s connector. Refused by the other side: a TLS
            // alert, which in TLS 1.3 comes with the first read and is `InvalidData`.
            causes.identity |= cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData)
            });
            next = cause.source();
        }
        causes
    }
}

/// A status with its causes, for people.
pub(crate) fn words(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = status.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        // Each layer tends to repeat what it wraps.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    format!("{:?}: {text}", status.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_api::status_from;
    use paceline_api::v1::Leader;

    fn of(code: ErrorCode) -> Verdict {
        judge(&status_from(error_detail(code, "why")))
    }

    #[test]
    fn what_was_surely_not_done_is_told_from_what_may_have_been() {
        let again = |ambiguous, elsewhere| Verdict::Again { ambiguous, elsewhere, wait_ms: 0 };
        assert_eq!(of(ErrorCode::Overloaded), again(false, false));
        assert_eq!(of(ErrorCode::Unavailable), again(false, true));
        assert_eq!(of(ErrorCode::OutcomeUnknown), again(true, true));
        assert_eq!(of(ErrorCode::Internal), again(true, true));
        assert_eq!(judge(&Status::unavailable("connection reset")), again(true, true));
        assert_eq!(judge(&Status::cancelled("gone")), again(true, true));
    }

    #[test]
    fn a_refusal_is_one_whoever_wrote_it() {
        for code in [ErrorCode::InvalidArgument, ErrorCode::NameInUse, ErrorCode::RequestConflict] {
            assert!(matches!(of(code), Verdict::Refused(detail) if detail.code() == code));
        }
        let verdict = judge(&Status::permission_denied("user/x may not call /y"));
        assert!(matches!(verdict, Verdict::Refused(detail) if detail.message == "user/x may not call /y"));
    }

    #[test]
    fn a_leader_is_taken_from_the_detail() {
        let mut detail = error_detail(ErrorCode::NotLeader, "no");
        assert_eq!(judge(&status_from(detail.clone())), Verdict::Redirect { leader: None });
        detail.leader = Some(Leader { name: "m2".into(), api_address: "h:2".into() });
        assert_eq!(judge(&status_from(detail)), Verdict::Redirect { leader: Some("h:2".into()) });
    }

    #[test]
    fn a_bound_of_the_server_loop_is_waited_out_and_nothing_was_done() {
        let mut status = Status::resource_exhausted("user/a has 32768 KiB of requests on their way here");
        assert!(matches!(judge(&status), Verdict::Refused(_)), "a decoding limit stays what it is");
        status.metadata_mut().insert(RETRY_AFTER_MS_HEADER, 100.into());
        assert_eq!(judge(&status), Verdict::Again { ambiguous: false, elsewhere: false, wait_ms: 100 });
    }

    #[test]
    fn a_call_that_the_master_does_not_know_is_fatal() {
        assert_eq!(judge(&Status::unimplemented("no such method")), Verdict::Fatal);
    }
}
