//! What a caller learns when there is no answer.

use std::fmt;
use std::path::PathBuf;

use paceline_api::v1::{ErrorCode, ErrorDetail};

/// What a loop around a call has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing was done; the same call may succeed later.
    Retry,
    /// The cell said no; the same call will be refused again until something changes.
    Refused,
    /// The two sides do not fit together: credentials, versions, a broken reply. People have to look.
    Fatal,
    /// The deadline passed while a mutation may or may not have been executed.
    Unknown,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The cell said no, with a reason.
    #[error("{}", RefusalText(.0))]
    Refused(Box<ErrorDetail>),
    /// No master could answer within the deadline. Nothing was done.
    #[error("no master answered within {within_ms} ms ({tries} tries); last: {last}")]
    Unavailable {
        /// The deadline that the caller gave.
        within_ms: u64,
        /// How often it was tried.
        tries: u32,
        /// What the last try ended with.
        last: String,
    },
    /// Nobody listens at any of the addresses. Nothing was done.
    #[error(
        "nobody answers at any address of this cell's masters ({known}) within {within_ms} ms ({tries} tries); last: {last}"
    )]
    NobodyThere {
        /// The deadline that the caller gave.
        within_ms: u64,
        /// How often it was tried.
        tries: u32,
        /// The addresses.
        known: String,
        /// What the last try ended with.
        last: String,
    },
    /// A bound of the cell was reached and stayed so for the whole deadline. Nothing was done.
    #[error("refused for {within_ms} ms ({tries} tries), because a bound is reached: {why}")]
    Overloaded {
        /// The deadline that the caller gave.
        within_ms: u64,
        /// How often it was tried.
        tries: u32,
        /// Which bound, and what makes room.
        why: String,
    },
    /// The deadline passed while the outcome was open: the call may have been executed, or still be.
    #[error(
        "it is not known whether the call was executed: no answer of the cell within {within_ms} ms ({tries} tries); last: {last}"
    )]
    Unknown {
        /// The deadline that the caller gave.
        within_ms: u64,
        /// How often it was tried.
        tries: u32,
        /// What the last try ended with.
        last: String,
    },
    /// A stream broke again and again, or cannot go on. Nothing was changed; it may be opened again.
    #[error("the stream broke ({tries} times in a row); last: {last}")]
    Broken {
        /// How often it was opened since its last message.
        tries: u32,
        /// How it broke last.
        last: String,
    },
    /// Every master is someone else than expected, or takes us for someone else.
    #[error("no master of this cell accepts our certificate, or none presents one we accept: {fault}")]
    Identity {
        /// Who was expected and who was there.
        fault: String,
    },
    /// A master answered with something that the contract does not allow, or does not know the call.
    #[error("the master does not follow the contract: {fault}")]
    Protocol {
        /// What was wrong.
        fault: String,
    },
    /// No master goes by this name.
    #[error("no master of this cell is called `{name}`; known are {known}")]
    NoSuchMaster {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

impl ClientError {
    /// What a loop around the call has to look at.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Refused(_) | Self::NoSuchMaster { .. } => Class::Refused,
            Self::Unavailable { .. }
            | Self::NobodyThere { .. }
            | Self::Overloaded { .. }
            | Self::Broken { .. } => Class::Retry,
            Self::Unknown { .. } => Class::Unknown,
            Self::Identity { .. } | Self::Protocol { .. } => Class::Fatal,
        }
    }

    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(detail) => Some(detail.code()),
            _ => None,
        }
    }

    pub(crate) fn protocol(fault: impl fmt::Display) -> Self {
        Self::Protocol { fault: fault.to_string() }
    }
}

/// A refusal with each of its violations on a line.
struct RefusalText<'a>(&'a ErrorDetail);

impl fmt::Display for RefusalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for fault in &self.0.violations {
            write!(f, "\n  {}: `{}`: expected {}", fault.field, fault.value, fault.expected)?;
        }
        Ok(())
    }
}

/// Why a cell cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder has no readable `cell.json`.
    #[error("cannot read {}: is this the folder of a cell?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `cell.json` is something else.
    #[error("{} is not the description of a cell", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// There is nobody to talk to.
    #[error("{} names no master: `api` is empty", path.display())]
    NoMasters {
        /// The file.
        path: PathBuf,
    },
    /// The credentials beside it cannot be used.
    #[error("the credentials of this cell cannot be used")]
    Credentials(#[source] paceline_identity::IdentityError),
    /// The system has no randomness to give.
    #[error("the system's source of randomness failed")]
    Randomness,
}
