//! Every "no" of the API as a status with a typed detail.

use paceline_api::status_from;
use paceline_api::v1::{ErrorCode, ErrorDetail, FieldViolation, Leader};
use paceline_cell::{Bound, Refusal};
use paceline_replica::{Member, ProposeError, ReadError};
use paceline_rules::Violation;
use tonic::Status;

use crate::proposer::ProposalError;

/// When to ask again while no leader is known: about one election.
const NO_LEADER_RETRY_MS: u64 = 200;

/// A status with a code, a sentence and nothing else.
pub(crate) fn plain(code: ErrorCode, message: impl Into<String>) -> Status {
    status_from(ErrorDetail { code: code.into(), message: message.into(), ..ErrorDetail::default() })
}

/// All faults of a request at once.
pub(crate) fn invalid(violations: &[Violation]) -> Status {
    let message = match violations {
        [_] => "a field of the request is not valid".to_owned(),
        _ => format!("{} fields of the request are not valid", violations.len()),
    };
    let violations = violations.iter().map(|violation| FieldViolation {
        field: violation.field.clone(),
        value: violation.value.clone(),
        expected: violation.expected.clone(),
    });
    status_from(ErrorDetail {
        code: ErrorCode::InvalidArgument.into(),
        message,
        violations: violations.collect(),
        ..ErrorDetail::default()
    })
}

/// One fault of one field.
pub(crate) fn invalid_field(field: &str, value: impl Into<String>, expected: impl Into<String>) -> Status {
    invalid(&[Violation { field: field.to_owned(), value: value.into(), expected: expected.into() }])
}

/// Another master leads, or none is known.
pub(crate) fn not_leader(leader: Option<&Member>) -> Status {
    let message = match leader {
        Some(leader) => format!("this master does not lead; {} at {} does", leader.name, leader.api_address),
        None => "this master does not lead, and no leader is known".to_owned(),
    };
    let known =
        leader.map(|leader| Leader { name: leader.name.clone(), api_address: leader.api_address.clone() });
    let retry_after_ms = if known.is_some() { 0 } else { NO_LEADER_RETRY_MS };
    status_from(ErrorDetail {
        code: ErrorCode::NotLeader.into(),
        message,
        leader: known,
        retry_after_ms,
        ..ErrorDetail::default()
    })
}

/// The cell's refusal of a command.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let (code, retry_after_ms) = match refusal {
        Refusal::InvalidSpec(violations) | Refusal::InvalidArgument(violations) => {
            return invalid(violations);
        }
        Refusal::NotFound { .. } | Refusal::NoSuchTask { .. } => (ErrorCode::NotFound, 0),
        Refusal::NameInUse { .. } => (ErrorCode::NameInUse, 0),
        Refusal::RequestConflict => (ErrorCode::RequestConflict, 0),
        Refusal::RequestTooOld { .. } => (ErrorCode::RequestTooOld, 0),
        Refusal::RequestAnswered { .. } => (ErrorCode::RequestAnswered, 0),
        Refusal::Overloaded { retry_after_ms, .. } => (ErrorCode::Overloaded, *retry_after_ms),
        Refusal::FeatureLevel { .. } => (ErrorCode::Unsupported, 0),
        Refusal::Undecodable => (ErrorCode::Internal, 0),
        _ => (ErrorCode::Conflict, 0),
    };
    let message = match refusal {
        Refusal::Overloaded { bound: Bound::Jobs | Bound::Tasks, retry_after_ms: 0, .. } => {
            format!("{refusal}, and none of them has ended: there is room when some do")
        }
        Refusal::Overloaded { bound: Bound::Jobs | Bound::Tasks, .. } => {
            format!("{refusal}; finished jobs are leaving, come again")
        }
        _ => refusal.to_string(),
    };
    status_from(ErrorDetail { code: code.into(), message, retry_after_ms, ..ErrorDetail::default() })
}

/// A proposal without replies.
pub(crate) fn proposal(error: &ProposalError) -> Status {
    match error {
        ProposalError::TooLarge(_) => plain(ErrorCode::TooLarge, error.to_string()),
        ProposalError::Replies { .. } => plain(ErrorCode::Internal, error.to_string()),
        ProposalError::Replica(error) => match error {
            ProposeError::NotLeader { leader } => not_leader(leader.as_ref()),
            ProposeError::TooLarge { .. } => plain(ErrorCode::TooLarge, error.to_string()),
            ProposeError::Overloaded { retry_after_ms } => status_from(ErrorDetail {
                code: ErrorCode::Overloaded.into(),
                message: error.to_string(),
                retry_after_ms: *retry_after_ms,
                ..ErrorDetail::default()
            }),
            ProposeError::Shutdown => plain(ErrorCode::Unavailable, error.to_string()),
            ProposeError::Unknown { .. } => plain(ErrorCode::OutcomeUnknown, error.to_string()),
        },
    }
}

/// A read without an index.
pub(crate) fn read(error: &ReadError) -> Status {
    match error {
        ReadError::NotLeader { leader } => not_leader(leader.as_ref()),
        _ => plain(ErrorCode::Unavailable, error.to_string()),
    }
}
