//! Identities of nodes, shards, jobs and agents, and the rule for names.

use std::fmt;
use std::str::FromStr;

use crate::revision::{Revision, counter};

/// Longest name of a job, node, shard or master, in bytes: it must fit a DNS label and a metric label.
const NAME_BYTES_MAX: usize = 63;

/// Why a text is not an id or a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {what}: expected {expected}")]
pub struct ParseIdError {
    /// The kind of id.
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// The form that was expected.
    pub expected: &'static str,
}

/// The form of every name a person gives.
const NAME_FORM: &str = "1 to 63 characters of a-z 0-9 - . _, first and last a letter or digit";

/// Checks a name given by a person.
///
/// # Errors
/// [`ParseIdError`] with the form that was expected.
pub fn check_name(what: &'static str, name: &str) -> Result<(), ParseIdError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let good = bytes.len() <= NAME_BYTES_MAX
        && bytes.iter().all(|&b| inner(b))
        && outer(bytes.first())
        && outer(bytes.last());
    if good { Ok(()) } else { Err(ParseIdError { what, value: name.to_owned(), expected: NAME_FORM }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a node: that of its machine, and of its agent's certificate.
    NodeName, "node name"
);
name!(
    /// The name of a link shard, as in its certificate.
    ShardName, "shard name"
);

counter!(
    /// A node, numbered by the cell in the order of registration; never used again after removal.
    NodeId, u32
);
counter!(
    /// A link shard, numbered by the cell; never used again after removal.
    ShardId, u32
);
counter!(
    /// Position of a task in its job, from 0.
    TaskIndex, u32
);
counter!(
    /// Raised only by a committed write-off, a new boot id or `node replace`.
    NodeEpoch, u32
);
counter!(
    /// Minted by the agent per connection, rising; orders its reports. Never stored in the log.
    LinkSession, u64
);
counter!(
    /// The version of a job's specification, from 1.
    SpecVersion, u32
);

/// A job for ever: the revision and the ordinal of the command that created it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobUid {
    /// The entry that created the job.
    pub revision: Revision,
    /// The position of the submit command in that entry.
    pub ordinal: u32,
}

impl fmt::Display for JobUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.revision, self.ordinal)
    }
}

impl FromStr for JobUid {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError {
            what: "job uid",
            value: text.to_owned(),
            expected: "REVISION-ORDINAL, as in 42-0",
        };
        let (revision, ordinal) = text.split_once('-').ok_or_else(wrong)?;
        let revision = Revision(revision.parse().map_err(|_| wrong())?);
        Ok(Self { revision, ordinal: ordinal.parse().map_err(|_| wrong())? })
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            /// Reads 32 hexadecimal digits; dashes between them are passed over, as in the kernel's boot id.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError {
                    what: $what,
                    value: text.to_owned(),
                    expected: "32 hexadecimal digits, dashes allowed",
                };
                let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
                if digits.len() != 32 {
                    return Err(wrong());
                }
                let mut id = [0; 16];
                for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
                    let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(wrong);
                    *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| wrong())?;
                }
                Ok(Self(id))
            }
        }
    };
}

random_id!(
    /// The id in an agent's data folder: two folders are two instances.
    AgentInstance, "agent instance"
);
random_id!(
    /// The kernel's boot id: a new one means that nothing of before runs any more.
    BootId, "boot id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_one_rule() {
        for good in ["a", "rack-1.node_7", "0", &"x".repeat(63)] {
            assert!(NodeName::from_str(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "ä", &"x".repeat(64)] {
            assert!(NodeName::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_job_uid_reads_back_what_it_prints() {
        let uid = JobUid { revision: Revision(42), ordinal: 3 };
        assert_eq!(uid.to_string().parse(), Ok(uid));
        assert!("42".parse::<JobUid>().is_err());
    }

    #[test]
    fn a_boot_id_is_read_as_the_kernel_prints_it() {
        let id: BootId = "0b5c3f4e-7d0f-4e6c-8a2b-1c2d3e4f5a6b".parse().expect("valid");
        assert_eq!(id.to_string(), "0b5c3f4e7d0f4e6c8a2b1c2d3e4f5a6b");
        assert!("0b5c".parse::<BootId>().is_err());
    }
}
