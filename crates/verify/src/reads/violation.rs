//! How a read can show what was not so, in words that a person can act on.

use paceline_types::{JobState, JobUid, Revision};

use crate::history::{CallId, ClientNumber};

/// A read that showed what was not so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// From a view that is too old.
    #[error("call {call} was answered from revision {revision}, but {needed} had been {why} before it began")]
    Old {
        /// Which.
        call: CallId,
        /// Of the answer.
        revision: Revision,
        /// What it should have been at least.
        needed: Revision,
        /// Why.
        why: &'static str,
    },
    /// A session that went back.
    #[error(
        "call {call} of {client} was answered from revision {revision}, after {seen} in the same session"
    )]
    SessionWentBack {
        /// Which.
        call: CallId,
        /// Whose session.
        client: ClientNumber,
        /// Of the answer.
        revision: Revision,
        /// What it had seen.
        seen: Revision,
    },
    /// Two sights of a job that cannot both be right.
    #[error("job {uid}: {state} at revision {revision} (call {call}), but {other_state} at {other}")]
    Contradiction {
        /// The job.
        uid: JobUid,
        /// As shown.
        state: JobState,
        /// At which revision.
        revision: Revision,
        /// By which answer.
        call: CallId,
        /// As it was shown, or committed, besides.
        other_state: JobState,
        /// At which revision.
        other: Revision,
    },
    /// It is shown at a revision before it was submitted.
    #[error("job {uid} is shown at revision {revision} (call {call}), before it was submitted")]
    BeforeSubmission {
        /// The job.
        uid: JobUid,
        /// At which revision.
        revision: Revision,
        /// By which answer.
        call: CallId,
    },
    /// It is shown although it had been deleted.
    #[error("job {uid} is shown at revision {revision} (call {call}), but it was deleted at {deleted}")]
    AfterDeletion {
        /// The job.
        uid: JobUid,
        /// At which revision.
        revision: Revision,
        /// By which answer.
        call: CallId,
        /// When it was deleted.
        deleted: Revision,
    },
    /// The state differs from the committed one.
    #[error("job {uid}: {state} at revision {revision} (call {call}), committed was {committed}")]
    NotCommitted {
        /// The job.
        uid: JobUid,
        /// As shown.
        state: JobState,
        /// At which revision.
        revision: Revision,
        /// By which answer.
        call: CallId,
        /// What was committed.
        committed: &'static str,
    },
    /// A listing, or a read by name, left out what is there.
    #[error("call {call} at revision {revision} does not show job {uid} ({name}), which was there")]
    LeftOut {
        /// Which.
        call: CallId,
        /// At which revision.
        revision: Revision,
        /// What is missing.
        uid: JobUid,
        /// Its name.
        name: String,
    },
    /// Another job was asked for.
    #[error("call {call} asked for {asked} and was shown {shown}")]
    Another {
        /// Which.
        call: CallId,
        /// What was asked.
        asked: String,
        /// What came.
        shown: String,
    },
    /// More was to be remembered than may be: this shows nothing, so it fails.
    #[error("call {call} at revision {revision} was not judged: too many reads wait for facts")]
    Unjudged {
        /// Which.
        call: CallId,
        /// At which revision.
        revision: Revision,
    },
}
