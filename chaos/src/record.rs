//! What the cell was told and what it answered, and whether the cell keeps its word afterwards.
//!
//! Three answers, three promises: an acknowledged job is there for ever under its uid, exactly once; a refused one
//! never is; of one whose outcome was not learnt there is at most one. That is judged by `verify`; here calls are
//! counted, and jobs that ended otherwise than small jobs do are named. Pure: calls and jobs in, violations out.

use std::collections::BTreeMap;

use paceline_types::{JobState, JobUid, Revision};
use paceline_verify::acknowledged::{Acknowledged, Violation};
use paceline_verify::history;

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

/// Holds a record against all jobs of the cell whose names the record's author chose, read when all calls were over.
pub fn hold(calls: &[Call], jobs: &[SeenJob]) -> Held {
    let mut held = Held::default();
    let mut acknowledged = Acknowledged::default();
    let recorded: Vec<history::Call> =
        (0..).zip(calls).map(|(number, call)| recorded(number, call)).collect();
    recorded.iter().for_each(|call| acknowledged.invoked(call));
    let mut found: Vec<Violation> = recorded.iter().flat_map(|call| acknowledged.returned(call)).collect();
    let seen: Vec<history::SeenJob> = jobs
        .iter()
        .map(|SeenJob { name, uid, state }| history::SeenJob { name: name.clone(), uid: *uid, state: *state })
        .collect();
    // A linearizable listing after the last call: no acknowledged job is younger than it.
    found.extend(acknowledged.sight(Revision(u64::MAX), "", &seen));
    held.lost = found.iter().filter(|violation| matches!(violation, Violation::Lost { .. })).count();
    held.violations = found.iter().map(|violation| in_words(violation, calls)).collect();
    let by_uid: BTreeMap<JobUid, &SeenJob> = jobs.iter().map(|job| (job.uid, job)).collect();
    for call in calls {
        held.count(call, &by_uid);
    }
    held
}

/// A violation, with what the client said where that explains it.
fn in_words(violation: &Violation, calls: &[Call]) -> String {
    let refused = |wanted: &str| {
        calls.iter().find_map(|call| match &call.outcome {
            Outcome::Refused { why } if call.name == wanted => Some(why),
            _ => None,
        })
    };
    match violation {
        Violation::Refused { name, .. } => match refused(name) {
            Some(why) => format!("{violation}: {why}"),
            None => violation.to_string(),
        },
        _ => violation.to_string(),
    }
}

/// The call as `verify` reads it. The name is all that is known of the specification, and no two calls share one.
fn recorded(number: u64, call: &Call) -> history::Call {
    let outcome = match &call.outcome {
        Outcome::Acknowledged { uid, existing } => history::Outcome::Answered {
            revision: uid.revision,
            answer: history::Answer::Submitted { uid: *uid, existing: *existing },
        },
        Outcome::Refused { .. } => history::Outcome::Refused(history::Refused::NotDone),
        Outcome::Unknown { .. } => history::Outcome::Unknown,
    };
    history::Call {
        id: history::CallId(number),
        client: history::ClientNumber(0),
        request: None,
        invoked: call.began_ms,
        returned: Some(call.ended_ms),
        action: history::Action::Submit { name: call.name.clone(), spec: 0 },
        outcome,
    }
}

impl Held {
    fn count(&mut self, call: &Call, jobs: &BTreeMap<JobUid, &SeenJob>) {
        let Call { name, began_ms, ended_ms, outcome } = call;
        match outcome {
            Outcome::Acknowledged { uid, .. } => {
                self.acknowledged += 1;
                if let Some(job) = jobs.get(uid).filter(|job| job.state != JobState::Succeeded) {
                    let state = job.state.as_str();
                    self.violations.push(format!(
                        "job {name} (called {began_ms} to {ended_ms} ms): it ended as {state}"
                    ));
                }
            }
            Outcome::Refused { .. } => self.refused += 1,
            Outcome::Unknown { .. } => self.unknown += 1,
        }
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
        let text =
            "job a: acknowledged as 5-0 to call #0 (1 to 2), but not there at revision 18446744073709551615";
        assert_eq!(held.violations, [text]);
    }

    #[test]
    fn every_other_broken_promise_is_caught() {
        let existing = call("a", Outcome::Acknowledged { uid: uid(5), existing: true });
        let failed = SeenJob { state: JobState::Failed, ..job("a", 5) };
        let cases: [(&str, Call, Vec<SeenJob>); 6] = [
            ("not there", acknowledged("a", 5), vec![job("a", 6)]),
            ("2 times (5-0, 6-0)", acknowledged("a", 5), vec![job("a", 5), job("a", 6)]),
            ("but every submission was refused: no leader", refused("a"), vec![job("a", 5)]),
            ("2 times", unknown("a"), vec![job("a", 5), job("a", 6)]),
            ("told that 5-0 was there before", existing, vec![job("a", 5)]),
            ("ended as failed", acknowledged("a", 5), vec![failed]),
        ];
        for (expected, call, jobs) in cases {
            let held = hold(&[call], &jobs);
            assert!(held.violations.iter().any(|fault| fault.contains(expected)), "{expected}: {held:?}");
        }
        let held = hold(&[], &[job("x", 1)]);
        assert_eq!(held.violations, ["job x: 1-0 is there, but nobody submitted it"]);
    }
}
