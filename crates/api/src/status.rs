//! Typed errors in the details of a gRPC status, in the form of `google.rpc.Status`.
//!
//! A status travels in HTTP/2 trailers, and clients refuse header lists above 16 KiB; so a detail is cut to
//! [`DETAIL_BYTES_MAX`] here, once, and says that it was.

use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::v1::{ErrorCode, ErrorDetail};

/// Most bytes of an encoded detail. It travels in base64 (4/3) beside the percent-encoded message (up to 3
/// times its length), which must stay below 16 KiB together.
pub const DETAIL_BYTES_MAX: usize = 4 << 10;

/// Most bytes of a message.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// What `google.rpc.Any` calls an [`ErrorDetail`].
const DETAIL_TYPE: &str = "type.googleapis.com/paceline.v1.ErrorDetail";

/// `google.rpc.Status`, the accepted form of the `grpc-status-details-bin` trailer.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A detail with a code and a message and nothing else yet.
#[must_use]
pub fn error_detail(code: ErrorCode, message: impl Into<String>) -> ErrorDetail {
    ErrorDetail { code: code.into(), message: message.into(), ..ErrorDetail::default() }
}

/// The status that carries a detail.
#[must_use]
pub fn status_from(detail: ErrorDetail) -> Status {
    let detail = fitted(detail);
    let code = status_code(detail.code());
    let message = detail.message.clone();
    let any = Any { type_url: DETAIL_TYPE.to_owned(), value: detail.encode_to_vec() };
    let rpc = RpcStatus { code: code.into(), message: String::new(), details: vec![any] };
    Status::with_details(code, message, Bytes::from(rpc.encode_to_vec()))
}

/// The detail that a status carries. Nothing when there is none: the status then comes from the transport, a
/// proxy or the authorize layer.
#[must_use]
pub fn detail_of(status: &Status) -> Option<ErrorDetail> {
    let rpc = RpcStatus::decode(status.details()).ok()?;
    let any = rpc.details.into_iter().find(|any| any.type_url == DETAIL_TYPE)?;
    ErrorDetail::decode(any.value.as_slice()).ok()
}

/// The gRPC code that stands for ours, so that generic tools do the right thing too.
#[must_use]
pub const fn status_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::Unspecified => Code::Unknown,
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotLeader | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::NameInUse => Code::AlreadyExists,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::RequestTooOld
        | ErrorCode::RequestConflict
        | ErrorCode::RequestAnswered
        | ErrorCode::Conflict => Code::FailedPrecondition,
        ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::TooLarge | ErrorCode::PageExpired => Code::OutOfRange,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::OutcomeUnknown | ErrorCode::Behind => Code::Aborted,
        ErrorCode::Unsupported => Code::Unimplemented,
        ErrorCode::Internal => Code::Internal,
    }
}

/// Cuts a detail to what trailers can carry, and says so in its message. The faults are weighed once, front to back: a
/// caller chooses how many there are.
fn fitted(mut detail: ErrorDetail) -> ErrorDetail {
    cut(&mut detail.message);
    let found = detail.violations.len();
    let faults = std::mem::take(&mut detail.violations);
    let mut bytes = detail.encoded_len();
    detail.violations.extend(faults.into_iter().take_while(|fault| {
        // A tag of one byte and a length of at most five.
        bytes += fault.encoded_len() + 6;
        bytes <= DETAIL_BYTES_MAX
    }));
    let left_out = found - detail.violations.len();
    if left_out > 0 {
        detail.message.push_str(&format!(" (and {left_out} more)"));
    }
    detail
}

fn cut(message: &mut String) {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{FieldViolation, Leader};

    #[test]
    fn a_detail_reads_back_from_its_status() {
        let mut detail = error_detail(ErrorCode::NotLeader, "m1 does not lead");
        detail.leader = Some(Leader { name: "m2".into(), api_address: "127.0.0.1:7".into() });
        detail.retry_after_ms = 5;
        let status = status_from(detail.clone());
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "m1 does not lead"));
        assert_eq!(detail_of(&status), Some(detail));
    }

    #[test]
    fn a_status_of_the_transport_has_no_detail() {
        assert_eq!(detail_of(&Status::unavailable("connection refused")), None);
        assert_eq!(detail_of(&Status::with_details(Code::Internal, "", Bytes::from_static(b"\xff"))), None);
    }

    #[test]
    fn a_detail_is_cut_to_what_trailers_carry_and_says_so() {
        let fault = FieldViolation { field: "run".into(), value: "x".repeat(80), expected: "y".repeat(80) };
        let mut detail = error_detail(ErrorCode::InvalidArgument, "ä".repeat(5000));
        detail.violations = vec![fault; 1000];
        let status = status_from(detail);
        let back = detail_of(&status).expect("carried");
        assert!(status.details().len() < DETAIL_BYTES_MAX + 256, "{}", status.details().len());
        assert!(back.message.ends_with(&format!(" (and {} more)", 1000 - back.violations.len())));
        assert!(back.violations.len() > 10);
    }
}
