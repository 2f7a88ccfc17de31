//! Attempts and the token that fences orders.

use std::fmt;
use std::str::FromStr;

use crate::ids::{JobUid, ParseIdError, TaskIndex};
use crate::revision::{Generation, Revision, Term, counter};

counter!(
    /// One try at running one task, numbered by the cell from 1. Zero: never assigned.
    Attempt, u32
);

/// One try at running one task, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job: JobUid,
    /// The task in the job.
    pub task: TaskIndex,
    /// The try.
    pub attempt: Attempt,
}

/// Prints as `REVISION-ORDINAL.TASK.ATTEMPT`, which is also the name of the attempt's folder.
impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.job, self.task, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError {
            what: "attempt id",
            value: text.to_owned(),
            expected: "REVISION-ORDINAL.TASK.ATTEMPT, as in 42-0.7.1",
        };
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or_else(wrong);
        let job = part()?.parse().map_err(|_| wrong())?;
        let task = TaskIndex(part()?.parse().map_err(|_| wrong())?);
        let attempt = Attempt(part()?.parse().map_err(|_| wrong())?);
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { job, task, attempt })
    }
}

/// Carried by every order. Agents persist the highest they have seen and drop lower ones,
/// so that a leader that was paused and resumes can harm nothing.
/// The order of the fields is the order of precedence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceToken {
    /// Raised by a restore.
    pub generation: Generation,
    /// The leader's term.
    pub term: Term,
    /// The revision of the view that the order was made from.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_id_reads_back_what_it_prints() {
        let id = AttemptId {
            job: JobUid { revision: Revision(42), ordinal: 0 },
            task: TaskIndex(7),
            attempt: Attempt(1),
        };
        assert_eq!(id.to_string(), "42-0.7.1");
        assert_eq!("42-0.7.1".parse(), Ok(id));
        for bad in ["42-0.7", "42-0.7.1.2", "42.7.1", "42-0.7.x"] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_restore_outranks_a_term_and_a_term_outranks_a_revision() {
        let token = |generation, term, revision| FenceToken {
            generation: Generation(generation),
            term: Term(term),
            revision: Revision(revision),
        };
        assert!(token(1, 0, 0) > token(0, 9, 9));
        assert!(token(0, 1, 0) > token(0, 0, 9));
        assert!(token(0, 0, 1) > token(0, 0, 0));
    }
}
