//! How a command ends: an exit code that a script can use, and what is said of an error, as text or as JSON.
//!
//! 0 done · 1 failed · 2 the command line is wrong · 3 refused, by the cell or before it was asked: the same request
//! will be refused again · 4 no answer in time, and nothing was done · 5 the job ended and not every task succeeded ·
//! 6 no answer in time, and it is not known whether it was done

use std::fmt;
use std::process::ExitCode;

use paceline_client::v1::ErrorCode;
use paceline_client::{Class, ClientError};
use serde_json::{Value, json};

use crate::cli::Output;

/// Something failed on this side.
pub const FAILED: ExitCode = ExitCode::FAILURE;

const FAILED_CODE: u8 = 1;
const REFUSED: u8 = 3;
const NOT_DONE: u8 = 4;
const JOB_NOT_SUCCEEDED: u8 = 5;
const UNKNOWN: u8 = 6;

/// What `--help` says of exit codes.
pub const CODES: &str = "Exit codes: 0 done, 1 failed on this side, 2 the command line is wrong, 3 refused: the same \
request will be refused again, 4 no answer in time and nothing was done, 5 the job ended and not every task succeeded, \
6 no answer in time and it is not known whether it was done.";

/// The job ended and not every task succeeded.
pub fn job_not_succeeded() -> ExitCode {
    ExitCode::from(JOB_NOT_SUCCEEDED)
}

/// Input that is refused before the cell is asked: all its faults at once, as the cell would name them.
#[derive(Debug)]
pub struct FaultyInput {
    pub message: String,
    pub faults: Vec<InputFault>,
}

/// One fault of one field.
#[derive(Debug)]
pub struct InputFault {
    /// Where it stands, as in `job.yaml:3:8`; empty where that says no more than the field.
    pub at: String,
    pub field: String,
    pub value: String,
    pub expected: String,
}

impl fmt::Display for FaultyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for InputFault { at, field, value, expected } in &self.faults {
            let place = if at.is_empty() { String::new() } else { format!("{at}: ") };
            let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
            write!(f, "\n  {place}{field}`{value}`: expected {expected}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FaultyInput {}

fn find<E: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// What to do about an error of the cell, where its own words do not say it.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    match find::<ClientError>(error)? {
        ClientError::Unavailable { .. } => Some(
            "`paceline cell status --stale` tells what any one master knows; with a longer --timeout it is tried longer",
        ),
        ClientError::NobodyThere { .. } => Some(
            "the masters are down, or have been replaced: then `api` in the cell folder's cell.json has to name the present ones (`paceline cell member list` of a folder that knows one of them)",
        ),
        ClientError::Overloaded { .. } => {
            Some("nothing was done: try again later, or wait longer for room with --timeout")
        }
        ClientError::Unknown { .. } => {
            Some("look whether it was done before you ask again: the same submission twice is one job")
        }
        ClientError::Broken { .. } => {
            Some("ask again; if it breaks again, look at the log of the master that is named")
        }
        ClientError::Identity { .. } => {
            Some("does --cell name the folder of this cell, and do its certificates still live?")
        }
        ClientError::Protocol { .. } => Some("use a paceline of the version that the masters run"),
        ClientError::Refused(detail) if detail.code() == ErrorCode::NotLeader => Some(
            "a master that does not lead changes nothing, and answers from what it has with --stale; without --from the leader is found",
        ),
        ClientError::NoSuchMaster { .. } | ClientError::Refused(_) => None,
    }
}

/// Says an error on standard error, and returns its exit code.
pub fn with(error: &anyhow::Error, format: Output) -> ExitCode {
    match format {
        Output::Table => {
            eprintln!("error: {error:#}");
            if let Some(advice) = advice(error) {
                eprintln!("help: {advice}");
            }
        }
        Output::Json => eprintln!("{}", document(error)),
    }
    ExitCode::from(code(error))
}

/// The exit code of an error.
fn code(error: &anyhow::Error) -> u8 {
    if find::<FaultyInput>(error).is_some() {
        return REFUSED;
    }
    match find::<ClientError>(error).map(ClientError::class) {
        Some(Class::Refused) => REFUSED,
        Some(Class::Retry) => NOT_DONE,
        Some(Class::Unknown) => UNKNOWN,
        Some(Class::Fatal) | None => FAILED_CODE,
    }
}

/// The same error for scripts. `code` is the word of the contract where the cell refused, and otherwise says what the
/// exit code says.
fn document(error: &anyhow::Error) -> Value {
    let fault = |field: &str, value: &str, expected: &str, at: &str| {
        let at = (!at.is_empty()).then_some(at);
        json!({"field": field, "value": value, "expected": expected, "at": at})
    };
    let (word, violations): (String, Vec<Value>) = match (find::<FaultyInput>(error), find(error)) {
        (Some(input), _) => {
            let faults = input.faults.iter();
            let faults = faults.map(|it| fault(&it.field, &it.value, &it.expected, &it.at));
            ("invalid_argument".to_owned(), faults.collect())
        }
        (None, Some(ClientError::Refused(detail))) => {
            let word = detail.code().as_str_name().trim_start_matches("ERROR_CODE_").to_ascii_lowercase();
            let faults = detail.violations.iter();
            (word, faults.map(|it| fault(&it.field, &it.value, &it.expected, "")).collect())
        }
        (None, Some(other)) => {
            let word = match other.class() {
                Class::Refused => "not_found",
                Class::Retry => "unavailable",
                Class::Unknown => "outcome_unknown",
                Class::Fatal => "failed",
            };
            (word.to_owned(), Vec::new())
        }
        (None, None) => ("failed".to_owned(), Vec::new()),
    };
    json!({"error": {
        "code": word,
        "exit_code": code(error),
        "message": format!("{error:#}"),
        "violations": violations,
        "help": advice(error),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_client::v1;

    fn unknown() -> anyhow::Error {
        ClientError::Unknown { within_ms: 5, tries: 1, last: "gone".into() }.into()
    }

    fn unavailable() -> anyhow::Error {
        ClientError::Unavailable { within_ms: 5, tries: 1, last: "gone".into() }.into()
    }

    #[test]
    fn what_was_not_done_is_told_from_what_may_have_been() {
        assert_eq!((code(&unavailable()), code(&unknown())), (4, 6));
        assert_eq!(document(&unknown())["error"]["code"], "outcome_unknown");
        assert_eq!(document(&unavailable())["error"]["exit_code"], 4);
        assert_eq!(code(&anyhow::anyhow!("a full disk")), 1);
    }

    #[test]
    fn a_follower_that_refuses_is_told_how_to_be_asked() {
        let detail = v1::ErrorDetail { code: ErrorCode::NotLeader.into(), ..v1::ErrorDetail::default() };
        let error: anyhow::Error = ClientError::Refused(Box::new(detail)).into();
        assert!(advice(&error).is_some_and(|advice| advice.contains("--stale")));
    }

    #[test]
    fn faulty_input_reads_alike_whoever_refuses_it() {
        let (field, value, expected) = ("tasks".to_owned(), "0".to_owned(), "at least 1".to_owned());
        let violation =
            v1::FieldViolation { field: field.clone(), value: value.clone(), expected: expected.clone() };
        let detail = v1::ErrorDetail {
            code: v1::ErrorCode::InvalidArgument.into(),
            message: "1 fault".into(),
            violations: vec![violation],
            ..v1::ErrorDetail::default()
        };
        let by_cell: anyhow::Error = ClientError::Refused(Box::new(detail)).into();
        let fault = InputFault { at: String::new(), field, value, expected };
        let here: anyhow::Error = FaultyInput { message: "1 fault".into(), faults: vec![fault] }.into();
        assert_eq!(document(&by_cell), document(&here));
        assert_eq!(code(&here), 3);
        assert_eq!(here.to_string(), "1 fault\n  tasks: `0`: expected at least 1");
        assert_eq!(here.to_string(), by_cell.to_string());
    }
}
