//! Why a change of the masters was not made, as a status: what a client may repeat, and what not.

use paceline_api::v1::ErrorCode;
use paceline_replica::{MembershipError, PeerError, ProbeError, TransferError};
use paceline_rules::Violation;
use tonic::Status;

use crate::refuse;

/// When to come again while another change is made.
const BUSY_RETRY_MS: u64 = 200;

/// What the caller hears.
pub(super) fn refusal(error: &MembershipError) -> Status {
    let code = match error {
        MembershipError::NotLeader { leader } => return refuse::not_leader(leader.as_ref()),
        MembershipError::HandOver(TransferError::NotLeader { leader }) => {
            return refuse::not_leader(leader.as_ref());
        }
        MembershipError::Busy { .. } => return refuse::overloaded(error.to_string(), BUSY_RETRY_MS),
        MembershipError::Probe(ProbeError::Peer(
            PeerError::Unreachable { .. } | PeerError::Timeout { .. },
        )) => {
            // It may be starting: whoever waits for it asks again.
            let message = format!("{}: is it started, with --join?", words(error));
            return refuse::plain(ErrorCode::Unavailable, message);
        }
        // It took the id or did not; in either case the same call goes on from there.
        MembershipError::Adopt(_) | MembershipError::TooSlow | MembershipError::HandOver(_) => {
            ErrorCode::Unavailable
        }
        MembershipError::Address { field, value, expected } => {
            let (field, value, expected) = ((*field).to_owned(), value.clone(), expected.clone());
            return refuse::invalid(&[Violation { field, value, expected }]);
        }
        MembershipError::NoSuchMaster { .. } => ErrorCode::NotFound,
        MembershipError::Unknown { cause } => {
            // In the words of Raft's own types, which help nobody who asked.
            tracing::debug!(cause, "the outcome of a change of the masters is unknown");
            let message = "this master did not see the change of the masters committed in time, or leads no longer: ask again, or list the members";
            return refuse::plain(ErrorCode::OutcomeUnknown, message);
        }
        MembershipError::Taken { .. }
        | MembershipError::OtherDisk { .. }
        | MembershipError::OtherMaster { .. }
        | MembershipError::StaleId { .. }
        | MembershipError::TooMany { .. }
        | MembershipError::Wished { .. }
        | MembershipError::Ambiguous { .. }
        | MembershipError::TooFewLive { .. }
        | MembershipError::LastVoter { .. }
        | MembershipError::Probe(_) => ErrorCode::Conflict,
    };
    refuse::plain(code, words(error))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |words, cause| {
        let more = cause.to_string();
        // Transparent errors repeat what they wrap.
        if words.contains(&more) { words } else { format!("{words}: {more}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: MembershipError) -> ErrorCode {
        paceline_api::detail_of(&refusal(&error)).expect("typed").code()
    }

    #[test]
    fn what_may_be_repeated_is_told_from_what_is_refused() {
        assert_eq!(code(MembershipError::NotLeader { leader: None }), ErrorCode::NotLeader);
        assert_eq!(code(MembershipError::Busy { cause: "x".into() }), ErrorCode::Overloaded);
        let starting = PeerError::Unreachable { peer: "m4".into(), cause: "refused".into() };
        assert_eq!(code(MembershipError::Probe(ProbeError::Peer(starting))), ErrorCode::Unavailable);
        let other = PeerError::Refused { peer: "m4".into(), cause: "another cell".into() };
        assert_eq!(code(MembershipError::Probe(ProbeError::Peer(other))), ErrorCode::Conflict);
        assert_eq!(code(MembershipError::NoSuchMaster { name: "m9".into() }), ErrorCode::NotFound);
        assert_eq!(code(MembershipError::LastVoter { name: "m1".into() }), ErrorCode::Conflict);
    }

    #[test]
    fn an_outcome_that_is_not_known_is_told_in_plain_words() {
        let error = MembershipError::Unknown { cause: "Member { disk_id: [7, 9] }".into() };
        let status = refusal(&error);
        assert!(!status.message().contains(['{', '[']), "{status}");
        assert_eq!(code(error), ErrorCode::OutcomeUnknown);
    }

    #[test]
    fn a_removal_that_is_refused_says_the_numbers() {
        let error = MembershipError::TooFewLive {
            name: "m1".into(),
            voters: 2,
            live: 1,
            majority: 2,
            silent: vec!["m3 (for 12 s)".into()],
            behind: vec!["m4 (by 40000 entries)".into()],
        };
        let status = refusal(&error);
        let expected = "2 voting masters, of which 1 answer and keep up, and 2 have to; silent: m3 (for 12 s); behind: m4 (by 40000 entries)";
        assert!(status.message().contains(expected), "{status}");
    }
}
