//! How a cell can break its word, in words that a person can act on.

use paceline_types::{EventId, JobUid, Revision};

use crate::history::{CallId, RequestId};

/// A promise that the cell broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It was acknowledged and is not there.
    #[error(
        "job {name}: acknowledged as {uid} to call {call} ({invoked} to {returned}), but not there at revision {revision}"
    )]
    Lost {
        /// Its name.
        name: String,
        /// Its identity.
        uid: JobUid,
        /// Whose answer it was.
        call: CallId,
        /// When that began.
        invoked: u64,
        /// When it was answered.
        returned: u64,
        /// Of the listing without it.
        revision: Revision,
    },
    /// More jobs than submissions.
    #[error("job {name}: there {} times ({}), but only {submissions} submissions can have made one", uids.len(), list(uids))]
    DoneTwice {
        /// Its name.
        name: String,
        /// Every job that was seen.
        uids: Vec<JobUid>,
        /// How many could be.
        submissions: usize,
    },
    /// A request id with two effects.
    #[error("request {request} was done twice: at revision {} and at {}", first.revision, second.revision)]
    RequestDoneTwice {
        /// Which.
        request: RequestId,
        /// First.
        first: EventId,
        /// And again.
        second: EventId,
    },
    /// It was done although its client knows for certain that it was not.
    #[error("request {request} was done at revision {}, but its client was told that nothing was done ({why})", at.revision)]
    DoneAfterRefusal {
        /// Which.
        request: RequestId,
        /// When it was done.
        at: EventId,
        /// What the client was told.
        why: &'static str,
    },
    /// It is there although it was refused.
    #[error("job {name}: {uid} is there, but every submission was refused")]
    Refused {
        /// Its name.
        name: String,
        /// What is there.
        uid: JobUid,
    },
    /// Nobody asked for it.
    #[error("job {name}: {uid} is there, but nobody submitted it")]
    Phantom {
        /// Its name.
        name: String,
        /// What is there.
        uid: JobUid,
    },
    /// Found by the only submission of its name.
    #[error(
        "job {name}: call {call} was told that {uid} was there before, but no other submission can have made it"
    )]
    FoundWithoutSubmission {
        /// Its name.
        name: String,
        /// What was found.
        uid: JobUid,
        /// By whom.
        call: CallId,
    },
    /// Two answers to one request.
    #[error("request {request} was answered with {first} and with {second}")]
    AnswersDiffer {
        /// Which.
        request: RequestId,
        /// First.
        first: String,
        /// Then.
        second: String,
    },
    /// It was deleted and is there again.
    #[error("job {name}: {uid} was deleted at revision {deleted} and is there at revision {revision}")]
    Resurrected {
        /// Its name.
        name: String,
        /// Its identity.
        uid: JobUid,
        /// When it was deleted.
        deleted: Revision,
        /// Of the listing with it.
        revision: Revision,
    },
}

fn list(uids: &[JobUid]) -> String {
    uids.iter().map(JobUid::to_string).collect::<Vec<_>>().join(", ")
}
