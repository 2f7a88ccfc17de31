//! What requests share: the id of a mutating call, and the job that is meant.

use paceline_types::{JobUid, Revision};

use crate::fault::{DecodeError, present};
use crate::ids::{bytes16, id16};
use crate::v1;

/// A request id without its principal, which comes from the certificate and not from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    /// The client process.
    pub client: [u8; 16],
    /// Rises by one per call, from 1.
    pub sequence: u64,
    /// The lowest sequence the client still waits for: 1 to `sequence`.
    pub lowest_unanswered: u64,
    /// The revision the client had seen when it took the id.
    pub floor: Revision,
}

impl From<CallId> for v1::RequestId {
    fn from(id: CallId) -> Self {
        Self {
            client: bytes16(id.client),
            sequence: id.sequence,
            lowest_unanswered: id.lowest_unanswered,
            floor_revision: id.floor.0,
        }
    }
}

impl TryFrom<v1::RequestId> for CallId {
    type Error = DecodeError;
    fn try_from(id: v1::RequestId) -> Result<Self, DecodeError> {
        let (sequence, lowest) = (id.sequence, id.lowest_unanswered);
        if sequence == 0 {
            return Err(DecodeError::new("sequence", sequence, "1 or more"));
        }
        if !(1..=sequence).contains(&lowest) {
            return Err(DecodeError::new(
                "lowest_unanswered",
                lowest,
                format!("1 to the sequence, {sequence}"),
            ));
        }
        let client = id16("client", &id.client)?;
        Ok(Self { client, sequence, lowest_unanswered: lowest, floor: Revision(id.floor_revision) })
    }
}

/// Which job a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobRef {
    /// The live job of this name, or else the one of this name that ended last.
    Name(String),
    /// This job.
    Uid(JobUid),
}

impl From<JobRef> for v1::JobSelector {
    fn from(job: JobRef) -> Self {
        let by = match job {
            JobRef::Name(name) => v1::job_selector::By::Name(name),
            JobRef::Uid(uid) => v1::job_selector::By::Uid(uid.into()),
        };
        Self { by: Some(by) }
    }
}

impl TryFrom<v1::JobSelector> for JobRef {
    type Error = DecodeError;
    fn try_from(selector: v1::JobSelector) -> Result<Self, DecodeError> {
        Ok(match present("by", selector.by)? {
            v1::job_selector::By::Name(name) => Self::Name(name),
            v1::job_selector::By::Uid(uid) => Self::Uid(uid.into()),
        })
    }
}

/// Reads what a person typed: a uid where it looks like one, else a name.
/// A name of digits and a dash is shadowed by the uid; such a job can be named by its uid.
impl From<&str> for JobRef {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Uid)
    }
}

impl From<JobUid> for JobRef {
    fn from(uid: JobUid) -> Self {
        Self::Uid(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_reads_back_and_its_faults_are_named() {
        let id = CallId { client: [7; 16], sequence: 9, lowest_unanswered: 8, floor: Revision(3) };
        assert_eq!(CallId::try_from(v1::RequestId::from(id)), Ok(id));
        let with = |client: &'static [u8], sequence, lowest_unanswered| {
            let client = bytes::Bytes::from_static(client);
            let id = v1::RequestId { client, sequence, lowest_unanswered, floor_revision: 0 };
            CallId::try_from(id).expect_err("refused").field
        };
        assert_eq!(with(&[0; 15], 1, 1), "client");
        assert_eq!(with(&[0; 16], 0, 0), "sequence");
        assert_eq!(with(&[0; 16], 1, 2), "lowest_unanswered");
        assert_eq!(with(&[0; 16], 1, 0), "lowest_unanswered");
    }

    #[test]
    fn what_looks_like_a_uid_is_one() {
        let uid = JobUid { revision: Revision(42), ordinal: 0 };
        assert_eq!(JobRef::from("42-0"), JobRef::Uid(uid));
        for name in ["hello", "42", "42-", "nightly-7"] {
            assert_eq!(JobRef::from(name), JobRef::Name(name.to_owned()));
        }
        assert_eq!(JobRef::try_from(v1::JobSelector { by: None }).expect_err("refused").field, "by");
    }
}
