//! Every "no" of the API as a status with a typed detail.

use paceline_api::status_from;
use paceline_api::v1::{ErrorCode, ErrorDetail, FieldViolation, Leader};
use paceline_cell::{Bound, Refusal};
use paceline_replica::{Member, ProposeError, ReadError};
use paceline_rules::Violation;
use tonic::Status;

use crate::proposer::ProposalError;
use crate::room::{NearlyFull, RETRY_AFTER_MS};

/// When to ask again while no leader is known: about one election.
const NO_LEADER_RETRY_MS: u64 = 200;

/// What a caller hears of a proposal whose end this master has not seen.
const OUTCOME_UNKNOWN: &str = "this master did not see the change committed in time, or leads no longer: the change may \
     have been made, or still be; the same request id finds out";

/// A status with a code, a sentence and nothing else.
pub(crate) fn plain(code: ErrorCode, message: impl Into<String>) -> Status {
    status_from(ErrorDetail { code: code.into(), message: message.into(), ..ErrorDetail::default() })
}

/// A bound is reached, nothing was done, and there may be room at that time.
pub(crate) fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> Status {
    status_from(ErrorDetail {
        code: ErrorCode::Overloaded.into(),
        message: message.into(),
        retry_after_ms,
        ..ErrorDetail::default()
    })
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
    status_from(ErrorDetail {
        code: code.into(),
        message: format!("{refusal}{}", way_out(refusal)),
        retry_after_ms,
        ..ErrorDetail::default()
    })
}

/// The same, where the command may have been a submission of so many tasks: one that no cell of this size ever holds is
/// not to come again.
pub(crate) fn submission(refusal: &Refusal, tasks: Option<u32>) -> Status {
    match (refusal, tasks) {
        (Refusal::Overloaded { bound: Bound::Tasks, limit, .. }, Some(tasks))
            if u64::from(tasks) > *limit =>
        {
            let expected =
                format!("at most {limit}, which is what the cell may hold in all (tasks_per_cell)");
            invalid_field("tasks", tasks.to_string(), expected)
        }
        _ => refused(refusal),
    }
}

/// What a person can do about a full cell; it frees itself only as jobs end.
fn way_out(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Overloaded { bound: Bound::Jobs | Bound::Tasks, retry_after_ms: 0, .. } => {
            ", and none of them has ended: there is room when some do, or at a higher limit"
        }
        Refusal::Overloaded { bound: Bound::Jobs | Bound::Tasks, .. } => {
            "; finished jobs are retiring, come again"
        }
        _ => "",
    }
}

/// The disk has no room for a change by a client. Not recorded: the same id may come again.
pub(crate) fn nearly_full(full: &NearlyFull) -> Status {
    overloaded(full.to_string(), RETRY_AFTER_MS)
}

/// A proposal without replies.
pub(crate) fn proposal(error: &ProposalError) -> Status {
    match error {
        ProposalError::TooLarge(_) => plain(ErrorCode::TooLarge, error.to_string()),
        ProposalError::Replies { .. } => plain(ErrorCode::Internal, error.to_string()),
        ProposalError::Replica(error) => match error {
            ProposeError::NotLeader { leader } => not_leader(leader.as_ref()),
            ProposeError::TooLarge { .. } => plain(ErrorCode::TooLarge, error.to_string()),
            ProposeError::Overloaded { retry_after_ms } => overloaded(error.to_string(), *retry_after_ms),
            ProposeError::Shutdown => plain(ErrorCode::Unavailable, error.to_string()),
            ProposeError::Unknown { cause } => {
                // As below: the cause is for whoever looks after the masters.
                tracing::debug!(cause, "the outcome of a proposal is unknown");
                plain(ErrorCode::OutcomeUnknown, OUTCOME_UNKNOWN)
            }
        },
    }
}

/// A read without an index.
pub(crate) fn read(error: &ReadError) -> Status {
    match error {
        ReadError::NotLeader { leader } => not_leader(leader.as_ref()),
        ReadError::NoQuorum { cause } => {
            // The cause is in the words of Raft's own types, which help nobody who asked.
            tracing::debug!(cause, "a read found no majority");
            let message = "no majority of the masters confirms in time that this one leads: they are down, slow, or cut off from it";
            plain(ErrorCode::Unavailable, message)
        }
        ReadError::Shutdown => plain(ErrorCode::Unavailable, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_not_known_is_told_in_plain_words() {
        let cause =
            "ForwardToLeader { leader_id: Some(2), leader_node: Some(Member { disk_id: [7, 9] }) }".into();
        let status = proposal(&ProposalError::Replica(ProposeError::Unknown { cause }));
        assert!(!status.message().contains(['{', '[']), "{status}");
        assert_eq!(paceline_api::detail_of(&status).expect("typed").code(), ErrorCode::OutcomeUnknown);
    }

    #[test]
    fn a_bound_says_when_to_come_again() {
        let detail = paceline_api::detail_of(&overloaded("64 watches are open", 2_000)).expect("typed");
        assert_eq!((detail.code(), detail.retry_after_ms), (ErrorCode::Overloaded, 2_000));
        assert_eq!(detail.message, "64 watches are open");
    }

    #[test]
    fn a_read_without_a_majority_says_so_in_plain_words() {
        let error = ReadError::NoQuorum { cause: "Member { raft_id: 2, disk_id: [7, 9] }".into() };
        let status = read(&error);
        assert!(!status.message().contains(['{', '[']), "{status}");
        assert_eq!(paceline_api::detail_of(&status).expect("typed").code(), ErrorCode::Unavailable);
    }
}
