//! What became of a call, as its caller knows.

use paceline_types::{JobState, JobUid, Revision};

/// A job as a read showed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenJob {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: JobUid,
    /// Where it is.
    pub state: JobState,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The job is there.
    Submitted {
        /// Its identity.
        uid: JobUid,
        /// It was there before, with the same specification.
        existing: bool,
    },
    /// The job stops or has ended.
    Stopping {
        /// Its identity.
        uid: JobUid,
        /// Its state now.
        state: JobState,
    },
    /// The job is forgotten.
    Deleted {
        /// What was its identity.
        uid: JobUid,
    },
    /// The job.
    Seen(SeenJob),
    /// All jobs of a listing, in any order.
    Listed(Vec<SeenJob>),
}

/// Why the cell said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// A live job has the name, and is stopping or has another specification.
    NameInUse,
    /// There is no such job.
    NotFound,
    /// The state of the job forbids it: it has not ended, or it has retired.
    Conflict,
    /// The request id is too old to tell whether it was executed; this try did nothing.
    TooOld,
    /// The client had said that it has the answer to this id; this try did nothing.
    Answered,
    /// The request id was used for another command; this try did nothing.
    OtherBody,
    /// Nothing was done, for a reason that says nothing about jobs: a bound, no leader, a fault of the request, no
    /// permission.
    NotDone,
}

impl Refused {
    /// Every value.
    pub const ALL: [Self; 7] = [
        Self::NameInUse,
        Self::NotFound,
        Self::Conflict,
        Self::TooOld,
        Self::Answered,
        Self::OtherBody,
        Self::NotDone,
    ];

    /// The word in texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NameInUse => "name_in_use",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooOld => "too_old",
            Self::Answered => "answered",
            Self::OtherBody => "other_body",
            Self::NotDone => "not_done",
        }
    }

    /// Whether it says something about the job: only then it has a place in the order of calls.
    #[must_use]
    pub const fn is_about_the_job(self) -> bool {
        matches!(self, Self::NameInUse | Self::NotFound | Self::Conflict)
    }
}

/// What became of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// The revision in the answer.
        revision: Revision,
        /// Its content.
        answer: Answer,
    },
    /// The cell said no.
    Refused(Refused),
    /// No answer came: it may have been done, may be done later, or never.
    #[default]
    Unknown,
}
