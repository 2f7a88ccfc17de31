//! One call: who, when, what.

use std::fmt;

use paceline_types::{JobUid, Revision};

use super::outcome::Outcome;

/// A call of one history, numbered by its recorder from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A client of the run, as the harness numbers them. A client may have several calls open at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNumber(pub u32);

impl fmt::Display for ClientNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// What names a mutation so that a retry does nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// From the certificate.
    pub principal: String,
    /// The client process.
    pub client: [u8; 16],
    /// Rises by one per call of that process.
    pub sequence: u64,
}

/// As it stands in the text of a history: `PRINCIPAL:CLIENT:SEQUENCE`.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.principal)?;
        self.client.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ":{}", self.sequence)
    }
}

/// Which job a call means. The name is always known to whoever makes the call, and histories are judged name by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The job's name.
    pub name: String,
    /// Set where the call selected by uid; otherwise it selected the newest job of the name.
    pub uid: Option<JobUid>,
}

impl Target {
    /// The newest job of a name.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self { name: name.to_owned(), uid: None }
    }
}

/// How fresh an answer had to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Freshness {
    /// Any replica's view would do.
    pub stale: bool,
    /// The view must have reached this revision; zero asks for nothing.
    pub min_revision: Revision,
}

impl Freshness {
    /// Everything acknowledged anywhere is seen.
    pub const LINEARIZABLE: Self = Self { stale: false, min_revision: Revision(0) };

    /// From whichever view, at least at this revision.
    #[must_use]
    pub const fn stale(min_revision: Revision) -> Self {
        Self { stale: true, min_revision }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Submit a job.
    Submit {
        /// Its name.
        name: String,
        /// Anything that is equal for equal specifications and differs for others.
        spec: u64,
    },
    /// Stop a job.
    Stop {
        /// Which.
        job: Target,
    },
    /// Delete a job.
    Delete {
        /// Which.
        job: Target,
    },
    /// Read one job.
    Get {
        /// Which.
        job: Target,
        /// How fresh.
        read: Freshness,
    },
    /// Read all jobs whose names begin so, in one view.
    List {
        /// Empty: all jobs.
        prefix: String,
        /// Jobs that have retired to the history, too.
        retired: bool,
        /// How fresh.
        read: Freshness,
    },
}

impl Action {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::List { .. })
    }

    /// How fresh the answer has to be; mutations always see everything.
    #[must_use]
    pub const fn freshness(&self) -> Freshness {
        match self {
            Self::Get { read, .. } | Self::List { read, .. } => *read,
            Self::Submit { .. } | Self::Stop { .. } | Self::Delete { .. } => Freshness::LINEARIZABLE,
        }
    }
}

/// One call and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number in the history.
    pub id: CallId,
    /// Who made it.
    pub client: ClientNumber,
    /// Calls with one request id are tries of one request. Nothing where the harness does not know it.
    pub request: Option<RequestId>,
    /// When it began.
    pub invoked: u64,
    /// When its caller learnt the outcome, or gave up.
    pub returned: Option<u64>,
    /// What was asked.
    pub action: Action,
    /// What became of it.
    pub outcome: Outcome,
}
