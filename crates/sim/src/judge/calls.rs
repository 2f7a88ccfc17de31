//! What the answer to a call says, in the words of a history.

use paceline_client::{ClientError, v1};
use paceline_types::{JobState, Revision};
use paceline_verify::history::{Answer, Outcome, Refused, SeenJob};

use super::uid;

/// What an error says about a call.
#[must_use]
pub fn refused(error: &ClientError) -> Outcome {
    use v1::ErrorCode;
    let code = match error {
        ClientError::Refused(detail) => detail.code(),
        ClientError::Unavailable { .. } | ClientError::Overloaded { .. } => {
            return Outcome::Refused(Refused::NotDone);
        }
        _ => return Outcome::Unknown,
    };
    Outcome::Refused(match code {
        ErrorCode::NameInUse => Refused::NameInUse,
        ErrorCode::NotFound => Refused::NotFound,
        ErrorCode::Conflict => Refused::Conflict,
        ErrorCode::RequestTooOld => Refused::TooOld,
        ErrorCode::RequestAnswered => Refused::Answered,
        ErrorCode::RequestConflict => Refused::OtherBody,
        _ => Refused::NotDone,
    })
}

/// The state of the wire; nothing that an older contract could not say.
#[must_use]
pub fn state_of(state: v1::JobState) -> JobState {
    match state {
        v1::JobState::Unspecified | v1::JobState::Active => JobState::Active,
        v1::JobState::Stopping => JobState::Stopping,
        v1::JobState::Succeeded => JobState::Succeeded,
        v1::JobState::Failed => JobState::Failed,
        v1::JobState::Killed => JobState::Killed,
    }
}

/// A job as a read shows it; nothing where it has no uid.
#[must_use]
pub fn seen(job: &v1::JobStatus) -> Option<SeenJob> {
    Some(SeenJob { name: job.name.clone(), uid: uid(job.uid)?, state: state_of(job.state()) })
}

/// An answer that says nothing about its job is none.
fn answered(revision: u64, answer: Option<Answer>) -> Outcome {
    answer.map_or(Outcome::Unknown, |answer| Outcome::Answered { revision: Revision(revision), answer })
}

/// What became of a call, from its reply.
pub trait Says {
    /// In the words of a history.
    fn outcome(&self) -> Outcome;
}

impl Says for v1::SubmitJobReply {
    fn outcome(&self) -> Outcome {
        let answer = uid(self.uid).map(|uid| Answer::Submitted { uid, existing: self.existing });
        answered(self.revision, answer)
    }
}

impl Says for v1::StopJobReply {
    fn outcome(&self) -> Outcome {
        let state = state_of(self.state());
        answered(self.revision, uid(self.uid).map(|uid| Answer::Stopping { uid, state }))
    }
}

impl Says for v1::DeleteJobReply {
    fn outcome(&self) -> Outcome {
        answered(self.revision, uid(self.uid).map(|uid| Answer::Deleted { uid }))
    }
}

impl Says for v1::JobStatus {
    fn outcome(&self) -> Outcome {
        answered(self.revision, seen(self).map(Answer::Seen))
    }
}

impl Says for v1::ListJobsReply {
    /// A page that others follow is no listing.
    fn outcome(&self) -> Outcome {
        if !self.next_page_token.is_empty() {
            return Outcome::Unknown;
        }
        answered(self.revision, Some(Answer::Listed(self.jobs.iter().filter_map(seen).collect())))
    }
}

/// What became of a call.
#[must_use]
pub fn outcome<R: Says>(result: &Result<R, ClientError>) -> Outcome {
    match result {
        Ok(reply) => reply.outcome(),
        Err(error) => refused(error),
    }
}
