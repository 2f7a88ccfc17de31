//! Enumerations. The zero of the wire is never a state; reasons have the same numbers on both sides.

use paceline_rules::Operator;
use paceline_types::{JobState, Reason, TaskState};

use crate::fault::DecodeError;
use crate::v1;

/// The enumerations of the wire that stand for states count from 1, ours from 0.
const fn wire_code(code: u8) -> i32 {
    code as i32 + 1
}

fn own_code(wire: i32) -> Option<u8> {
    u8::try_from(wire.checked_sub(1)?).ok()
}

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        Self::try_from(wire_code(state.code())).expect("a test holds the two enumerations equal")
    }
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        Self::try_from(wire_code(state.code())).expect("a test holds the two enumerations equal")
    }
}

impl From<Reason> for v1::Reason {
    fn from(reason: Reason) -> Self {
        Self::try_from(i32::from(reason.code())).expect("a test holds the two enumerations equal")
    }
}

impl From<Operator> for v1::Operator {
    fn from(operator: Operator) -> Self {
        match operator {
            Operator::In => Self::In,
            Operator::NotIn => Self::NotIn,
            Operator::Exists => Self::Exists,
            Operator::Absent => Self::Absent,
        }
    }
}

/// Reads a task's state.
///
/// # Errors
/// The number, where it is no state.
pub fn task_state(field: &str, code: i32) -> Result<TaskState, DecodeError> {
    let state = own_code(code).and_then(TaskState::from_code);
    state.ok_or_else(|| DecodeError::new(field, code, words("1 to 8", TaskState::ALL)))
}

/// Reads a job's state.
///
/// # Errors
/// The number, where it is no state.
pub fn job_state(field: &str, code: i32) -> Result<JobState, DecodeError> {
    let state = own_code(code).and_then(JobState::from_code);
    state.ok_or_else(|| DecodeError::new(field, code, words("1 to 5", JobState::ALL)))
}

/// Reads a reason.
///
/// # Errors
/// The number, where it is no reason that this version knows.
pub fn reason(field: &str, code: i32) -> Result<Reason, DecodeError> {
    let reason = u8::try_from(code).ok().and_then(Reason::from_code);
    reason.ok_or_else(|| DecodeError::new(field, code, "a reason that this version knows"))
}

/// Reads an operator.
///
/// # Errors
/// The number, where it is no operator.
pub fn operator(field: &str, code: i32) -> Result<Operator, DecodeError> {
    match v1::Operator::try_from(code) {
        Ok(v1::Operator::In) => Ok(Operator::In),
        Ok(v1::Operator::NotIn) => Ok(Operator::NotIn),
        Ok(v1::Operator::Exists) => Ok(Operator::Exists),
        Ok(v1::Operator::Absent) => Ok(Operator::Absent),
        Ok(v1::Operator::Unspecified) | Err(_) => {
            let all: Vec<_> = Operator::ALL.into_iter().map(Operator::as_str).collect();
            Err(DecodeError::new(field, code, format!("1 to 4: {}", all.join(", "))))
        }
    }
}

fn words<T: ToString>(numbers: &str, all: &[T]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    format!("{numbers}: {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &str, word: &str) -> String {
        format!("{prefix}_{}", word.to_uppercase())
    }

    #[test]
    fn every_value_has_the_same_name_on_both_sides_and_reads_back() {
        for &state in TaskState::ALL {
            let wire = v1::TaskState::from(state);
            assert_eq!(wire.as_str_name(), name("TASK_STATE", state.as_str()));
            assert_eq!(task_state("state", wire.into()), Ok(state));
        }
        for &state in JobState::ALL {
            let wire = v1::JobState::from(state);
            assert_eq!(wire.as_str_name(), name("JOB_STATE", state.as_str()));
            assert_eq!(job_state("state", wire.into()), Ok(state));
        }
        for &cause in Reason::ALL {
            let wire = v1::Reason::from(cause);
            assert_eq!(wire.as_str_name(), name("REASON", cause.as_str()));
            assert_eq!(reason("reason", wire.into()), Ok(cause));
        }
        for compares in Operator::ALL {
            let wire = v1::Operator::from(compares);
            assert_eq!(wire.as_str_name(), name("OPERATOR", compares.as_str()));
            assert_eq!(operator("operator", wire.into()), Ok(compares));
        }
    }

    #[test]
    fn unknown_numbers_are_refused_and_the_words_named() {
        for bad in [0, -1, 9, i32::MIN, i32::MAX] {
            let fault = task_state("states[0]", bad).expect_err("refused");
            assert_eq!((fault.field.as_str(), fault.value), ("states[0]", bad.to_string()));
            assert!(fault.expected.ends_with("succeeded, failed, killed, lost"), "{}", fault.expected);
            assert!(operator("operator", bad).is_err());
        }
        assert!(job_state("state", 6).is_err());
        assert!(reason("reason", 255).is_err());
        assert!(reason("reason", 256).is_err());
    }
}
