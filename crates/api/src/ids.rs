//! Ids, quantities and tokens.

use bytes::Bytes;
use paceline_rules::{Labels, Taint, Toleration};
use paceline_types::{
    Attempt, AttemptId, ExitStatus, FenceToken, Generation, JobUid, Resources, Revision, TaskIndex, Term,
};

use crate::fault::{DecodeError, known, present};
use crate::v1;

/// The codes that a process can exit with.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 0..=255;

/// Signals have positive numbers; how many there are is the kernel's business.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=127;

/// Reads an id of 16 bytes.
pub(crate) fn id16(field: &str, bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::new(field, format!("{} bytes", bytes.len()), "16 bytes"))
}

pub(crate) fn bytes16(id: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id)
}

/// Reads a name.
pub(crate) fn name<T: std::str::FromStr<Err = paceline_types::ParseIdError>>(
    field: &str,
    text: &str,
) -> Result<T, DecodeError> {
    text.parse().map_err(|wrong: paceline_types::ParseIdError| DecodeError::new(field, text, wrong.expected))
}

impl From<JobUid> for v1::JobUid {
    fn from(uid: JobUid) -> Self {
        Self { revision: uid.revision.0, ordinal: uid.ordinal }
    }
}

impl From<v1::JobUid> for JobUid {
    fn from(uid: v1::JobUid) -> Self {
        Self { revision: Revision(uid.revision), ordinal: uid.ordinal }
    }
}

impl From<Resources> for v1::Resources {
    fn from(amounts: Resources) -> Self {
        Self { cpu_milli: amounts.cpu_milli(), memory_bytes: amounts.memory_bytes() }
    }
}

impl From<v1::Resources> for Resources {
    fn from(amounts: v1::Resources) -> Self {
        Self::new(amounts.cpu_milli, amounts.memory_bytes)
    }
}

impl From<FenceToken> for v1::FenceToken {
    fn from(token: FenceToken) -> Self {
        Self { generation: token.generation.0, term: token.term.0, revision: token.revision.0 }
    }
}

impl From<v1::FenceToken> for FenceToken {
    fn from(token: v1::FenceToken) -> Self {
        Self {
            generation: Generation(token.generation),
            term: Term(token.term),
            revision: Revision(token.revision),
        }
    }
}

impl From<AttemptId> for v1::AttemptId {
    fn from(id: AttemptId) -> Self {
        Self { job: Some(id.job.into()), task: id.task.0, attempt: id.attempt.0 }
    }
}

impl TryFrom<v1::AttemptId> for AttemptId {
    type Error = DecodeError;
    fn try_from(id: v1::AttemptId) -> Result<Self, DecodeError> {
        let job = present("job", id.job)?.into();
        Ok(Self { job, task: TaskIndex(id.task), attempt: Attempt(id.attempt) })
    }
}

impl From<ExitStatus> for v1::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        let ended = match status {
            ExitStatus::Code(code) => v1::exit_status::Ended::Code(code),
            ExitStatus::Signal(signal) => v1::exit_status::Ended::Signal(signal),
        };
        Self { ended: Some(ended) }
    }
}

impl TryFrom<v1::ExitStatus> for ExitStatus {
    type Error = DecodeError;
    fn try_from(status: v1::ExitStatus) -> Result<Self, DecodeError> {
        match known("ended", status.ended)? {
            v1::exit_status::Ended::Code(code) if EXIT_CODES.contains(&code) => Ok(Self::Code(code)),
            v1::exit_status::Ended::Code(code) => Err(DecodeError::new("code", code, "0 to 255")),
            v1::exit_status::Ended::Signal(signal) if SIGNALS.contains(&signal) => Ok(Self::Signal(signal)),
            v1::exit_status::Ended::Signal(signal) => Err(DecodeError::new("signal", signal, "1 to 127")),
        }
    }
}

impl From<Taint> for v1::Taint {
    fn from(taint: Taint) -> Self {
        Self { key: taint.key, value: taint.value }
    }
}

impl From<v1::Taint> for Taint {
    fn from(taint: v1::Taint) -> Self {
        Self { key: taint.key, value: taint.value }
    }
}

impl From<Toleration> for v1::Toleration {
    fn from(toleration: Toleration) -> Self {
        Self { key: toleration.key, value: toleration.value }
    }
}

impl From<v1::Toleration> for Toleration {
    fn from(toleration: v1::Toleration) -> Self {
        Self { key: toleration.key, value: toleration.value }
    }
}

/// Labels are the same on both sides; said once, so that a change of either is seen here.
const _: fn(v1::JobSpec) -> Labels = |spec| spec.labels;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_outside_what_a_kernel_reports_is_refused() {
        for (ended, field) in [
            (v1::exit_status::Ended::Code(256), "code"),
            (v1::exit_status::Ended::Code(-1), "code"),
            (v1::exit_status::Ended::Signal(0), "signal"),
        ] {
            let fault = ExitStatus::try_from(v1::ExitStatus { ended: Some(ended) }).expect_err("refused");
            assert_eq!(fault.field, field);
        }
        let fault = ExitStatus::try_from(v1::ExitStatus { ended: None }).expect_err("refused");
        assert_eq!(
            fault.to_string(),
            "field `ended` is `absent or of a newer kind`: expected a kind that this version knows"
        );
    }
}
