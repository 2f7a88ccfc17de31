//! What the cell was told and what it answered, and whether the cell keeps its word afterwards.
//!
//! Three answers, three promises: an acknowledged job is there for ever under its uid, exactly once; a refused one
//! never is; of one whose outcome was not learnt there is at most one. Pure: calls and jobs in, violations out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use paceline_types::{JobState, JobUid};

/// What became of a submission, as its caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The cell said that the job is there.
    Acknowledged {
        /// As answered.
        uid: JobUid,
        /// The cell said that it had been there before.
        existing: bool,
    },
    /// It is certain that nothing was done.
    Refused {
        /// What the client said.
        why: String,
    },
    /// It may have been done.
    Unknown {
        /// What the client said.
        why: String,
    },
}

/// One submission of a job whose name nobody else uses.
#[derive(Clone, Debug)]
pub struct Call {
    /// The job's name.
    pub name: String,
    /// Milliseconds from the beginning of the record.
    pub began_ms: u64,
    /// The same.
    pub ended_ms: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A job that the cell has.
#[derive(Clone, Debug)]
pub struct SeenJob {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: JobUid,
    /// Where it is.
    pub state: JobState,
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Calls by outcome.
    pub acknowledged: usize,
    /// See `acknowledged`.
    pub refused: usize,
    /// See `acknowledged`.
    pub unknown: usize,
    /// Acknowledged jobs that are not there.
    pub lost: usize,
    /// Every broken promise, in words.
    pub violations: Vec<String>,
}

/// Holds a record against all jobs of the cell whose names the record's author chose.
pub fn hold(calls: &[Call], jobs: &[SeenJob]) -> Held {
    let mut held = Held::default();
    let mut by_name: BTreeMap<&str, Vec<&SeenJob>> = BTreeMap::new();
    for job in jobs {
        by_name.entry(&job.name).or_default().push(job);
    }
    for call in calls {
        let found = by_name.get(call.name.as_str()).map_or(&[][..], Vec::as_slice);
        held.hold_call(call, found);
    }
    let called: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    for name in by_name.keys().filter(|name| !called.contains(*name)) {
        held.violations.push(format!("job {name} is there, but nobody submitted it"));
    }
    held
}

impl Held {
    fn hold_call(&mut self, call: &Call, found: &[&SeenJob]) {
        if found.len() > 1 {
            let uids: Vec<String> = found.iter().map(|job| job.uid.to_string()).collect();
            self.broken(call, format_args!("it is there {} times: {}", found.len(), uids.join(", ")));
        }
        match &call.outcome {
            Outcome::Acknowledged { uid, existing } => {
                self.acknowledged += 1;
                if *existing {
                    self.broken(call, "answered as existing, but it was submitted once");
                }
                match found.iter().find(|job| job.uid == *uid) {
                    Some(job) if job.state != JobState::Succeeded => {
                        self.broken(call, format_args!("it ended as {}", job.state.as_str()));
                    }
                    Some(_) => {}
                    None => {
                        self.lost += 1;
                        self.broken(call, format_args!("acknowledged as {uid}, but not there"));
                    }
                }
            }
            Outcome::Refused { why } => {
                self.refused += 1;
                if !found.is_empty() {
                    self.broken(call, format_args!("it is there, but was refused: {why}"));
                }
            }
            Outcome::Unknown { .. } => self.unknown += 1,
        }
    }

    fn broken(&mut self, call: &Call, what: impl fmt::Display) {
        let Call { name, began_ms, ended_ms, .. } = call;
        self.violations.push(format!("job {name} (called {began_ms} to {ended_ms} ms): {what}"));
    }
}

#[cfg(test)]
mod tests {
    use paceline_types::Revision;

    use super::*;

    fn uid(revision: u64) -> JobUid {
        JobUid { revision: Revision(revision), ordinal: 0 }
    }

    fn job(name: &str, revision: u64) -> SeenJob {
        SeenJob { name: name.to_owned(), uid: uid(revision), state: JobState::Succeeded }
    }

    fn call(name: &str, outcome: Outcome) -> Call {
        Call { name: name.to_owned(), began_ms: 1, ended_ms: 2, outcome }
    }

    fn acknowledged(name: &str, revision: u64) -> Call {
        call(name, Outcome::Acknowledged { uid: uid(revision), existing: false })
    }

    fn refused(name: &str) -> Call {
        call(name, Outcome::Refused { why: "no leader".to_owned() })
    }

    fn unknown(name: &str) -> Call {
        call(name, Outcome::Unknown { why: "too late".to_owned() })
    }

    #[test]
    fn a_cell_that_keeps_its_word_has_no_violation() {
        let calls = [acknowledged("a", 5), refused("b"), unknown("c"), unknown("d")];
        let held = hold(&calls, &[job("a", 5), job("d", 9)]);
        let expected = Held { acknowledged: 1, refused: 1, unknown: 2, ..Held::default() };
        assert_eq!(held, expected);
    }

    /// The canary: whatever else changes, this must be caught.
    #[test]
    fn a_lost_acknowledged_job_is_caught() {
        let held = hold(&[acknowledged("a", 5), acknowledged("b", 6)], &[job("b", 6)]);
        assert_eq!(held.lost, 1);
        assert_eq!(held.violations, ["job a (called 1 to 2 ms): acknowledged as 5-0, but not there"]);
    }

    #[test]
    fn every_other_broken_promise_is_caught() {
        let existing = call("a", Outcome::Acknowledged { uid: uid(5), existing: true });
        let failed = SeenJob { state: JobState::Failed, ..job("a", 5) };
        let cases: [(&str, Call, Vec<SeenJob>); 6] = [
            ("not there", acknowledged("a", 5), vec![job("a", 6)]),
            ("2 times: 5-0, 6-0", acknowledged("a", 5), vec![job("a", 5), job("a", 6)]),
            ("but was refused", refused("a"), vec![job("a", 5)]),
            ("2 times", unknown("a"), vec![job("a", 5), job("a", 6)]),
            ("answered as existing", existing, vec![job("a", 5)]),
            ("ended as failed", acknowledged("a", 5), vec![failed]),
        ];
        for (expected, call, jobs) in cases {
            let held = hold(&[call], &jobs);
            assert!(held.violations.iter().any(|fault| fault.contains(expected)), "{expected}: {held:?}");
        }
        let held = hold(&[], &[job("x", 1)]);
        assert_eq!(held.violations, ["job x is there, but nobody submitted it"]);
    }
}
