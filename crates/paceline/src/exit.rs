//! Exit codes that a script can use.
//!
//! 0 done · 1 failed · 2 the command line is wrong · 3 refused: the same request will be refused again ·
//! 4 no answer in time: the outcome may be unknown · 5 the job ended and not every task succeeded

use std::process::ExitCode;

use paceline_client::{Class, ClientError};

/// Something failed on this side.
pub const FAILED: ExitCode = ExitCode::FAILURE;

const REFUSED: u8 = 3;
const NO_ANSWER: u8 = 4;
const JOB_NOT_SUCCEEDED: u8 = 5;

/// The job ended and not every task succeeded.
pub fn job_not_succeeded() -> ExitCode {
    ExitCode::from(JOB_NOT_SUCCEEDED)
}

/// What to do about an error of the cell, where its own words do not say it.
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    match error.chain().find_map(|cause| cause.downcast_ref::<ClientError>())? {
        ClientError::Unavailable { .. } => Some(
            "`paceline cell status --stale` tells what any one master knows; with a longer --timeout it is tried longer",
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
        ClientError::NoSuchMaster { .. } | ClientError::Refused(_) => None,
    }
}

/// The code of an error.
pub fn of(error: &anyhow::Error) -> ExitCode {
    let Some(client) = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>()) else {
        return FAILED;
    };
    match client.class() {
        Class::Refused => ExitCode::from(REFUSED),
        Class::Retry | Class::Unknown => ExitCode::from(NO_ANSWER),
        Class::Fatal => FAILED,
    }
}
