//! A cell that keeps its word has no violation; each way of breaking it is caught.

use paceline_types::JobState;

use super::*;
use crate::history::{CallId, ClientNumber, Refused};

fn uid(revision: u64) -> JobUid {
    JobUid { revision: Revision(revision), ordinal: 0 }
}

fn id(sequence: u64) -> RequestId {
    RequestId { principal: "user/ann".to_owned(), client: [7; 16], sequence }
}

fn call(number: u64, request: Option<u64>, action: Action, outcome: Outcome) -> Call {
    let (invoked, returned) = (number * 10, Some(number * 10 + 5));
    let client = ClientNumber(1);
    Call { id: CallId(number), client, request: request.map(id), invoked, returned, action, outcome }
}

fn submit(name: &str) -> Action {
    Action::Submit { name: name.to_owned(), spec: 1 }
}

fn made(revision: u64) -> Outcome {
    let answer = Answer::Submitted { uid: uid(revision), existing: false };
    Outcome::Answered { revision: Revision(revision), answer }
}

fn found(revision: u64, at: u64) -> Outcome {
    let answer = Answer::Submitted { uid: uid(revision), existing: true };
    Outcome::Answered { revision: Revision(at), answer }
}

fn job(name: &str, revision: u64) -> SeenJob {
    SeenJob { name: name.to_owned(), uid: uid(revision), state: JobState::Succeeded }
}

fn at(revision: u64) -> EventId {
    EventId { revision: Revision(revision), ordinal: 0 }
}

/// Feeds calls one after the other and returns what was wrong.
fn feed(acknowledged: &mut Acknowledged, calls: &[Call]) -> Vec<Violation> {
    calls
        .iter()
        .flat_map(|call| {
            acknowledged.invoked(call);
            acknowledged.returned(call)
        })
        .collect()
}

/// What calls and a listing at revision 100 break.
fn held(calls: &[Call], jobs: &[SeenJob]) -> Vec<Violation> {
    let mut acknowledged = Acknowledged::default();
    let mut violations = feed(&mut acknowledged, calls);
    violations.extend(acknowledged.sight(Revision(100), "", jobs));
    violations
}

#[test]
fn a_cell_that_keeps_its_word_has_no_violation() {
    let calls = [
        call(1, Some(1), submit("a"), made(5)),
        call(2, None, submit("b"), Outcome::Refused(Refused::NotDone)),
        call(3, None, submit("c"), Outcome::Unknown),
        call(4, Some(4), submit("d"), Outcome::Unknown),
        call(5, Some(4), submit("d"), made(9)),
        call(6, None, submit("a"), found(5, 10)),
        call(7, None, submit("e"), made(11)),
        call(8, None, Action::Delete { job: Target::name("e") }, Outcome::Unknown),
    ];
    assert_eq!(held(&calls, &[job("a", 5), job("c", 8), job("d", 9)]), []);
}

/// The canary: whatever else changes, this must be caught.
#[test]
fn a_lost_acknowledged_job_is_caught_once() {
    let mut acknowledged = Acknowledged::default();
    let calls = [call(1, None, submit("a"), made(5)), call(2, None, submit("b"), made(6))];
    assert_eq!(feed(&mut acknowledged, &calls), []);
    assert_eq!(acknowledged.sight(Revision(5), "", &[job("a", 5)]), [], "b came later");
    let found = acknowledged.sight(Revision(9), "", &[job("b", 6)]);
    let text = "job a: acknowledged as 5-0 to call #1 (10 to 15), but not there at revision 9";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    assert_eq!(acknowledged.sight(Revision(9), "", &[job("b", 6)]), []);
    assert_eq!(acknowledged.sight(Revision(9), "c", &[]), [], "a listing of others says nothing of these");
}

#[test]
fn every_other_broken_promise_is_caught() {
    let unknown = |number| call(number, None, submit("a"), Outcome::Unknown);
    let refused = |number| call(number, None, submit("a"), Outcome::Refused(Refused::NotDone));
    let delete = |outcome| call(9, None, Action::Delete { job: Target::name("a") }, outcome);
    let deleted = Outcome::Answered { revision: Revision(20), answer: Answer::Deleted { uid: uid(5) } };
    let cases: [(&str, Vec<Call>, Vec<SeenJob>); 8] = [
        ("not there", vec![call(1, None, submit("a"), made(5))], vec![job("a", 6)]),
        ("there 2 times (5-0, 6-0), but only 1", vec![unknown(1)], vec![job("a", 5), job("a", 6)]),
        ("there 2 times", vec![call(1, None, submit("a"), made(5))], vec![job("a", 5), job("a", 6)]),
        ("every submission was refused", vec![refused(1)], vec![job("a", 5)]),
        ("nobody submitted it", vec![], vec![job("a", 5)]),
        (
            "no other submission can have made it",
            vec![call(1, None, submit("a"), found(5, 6))],
            vec![job("a", 5)],
        ),
        (
            "deleted at revision 20",
            vec![call(1, None, submit("a"), made(5)), delete(deleted)],
            vec![job("a", 5)],
        ),
        (
            "not there",
            vec![call(1, None, submit("a"), made(5)), delete(Outcome::Refused(Refused::Conflict))],
            vec![],
        ),
    ];
    for (expected, calls, jobs) in cases {
        let found = held(&calls, &jobs);
        assert!(found.iter().any(|fault| fault.to_string().contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn two_answers_to_one_request_are_caught() {
    let tries = [call(1, Some(1), submit("a"), made(5)), call(2, Some(1), submit("a"), made(6))];
    let found = held(&tries, &[job("a", 5), job("a", 6)]);
    assert!(found.iter().any(|fault| matches!(fault, Violation::AnswersDiffer { .. })), "{found:?}");
    assert!(found.iter().any(|fault| matches!(fault, Violation::DoneTwice { .. })), "{found:?}");
    let same = [
        call(1, Some(1), submit("a"), made(5)),
        call(
            2,
            Some(1),
            submit("a"),
            Outcome::Answered {
                revision: Revision(9),
                answer: Answer::Submitted { uid: uid(5), existing: false },
            },
        ),
        call(3, Some(1), submit("a"), Outcome::Refused(Refused::Answered)),
    ];
    assert_eq!(held(&same, &[job("a", 5)]), [], "the same answer in a later entry, and a retry too late");
}

#[test]
fn a_request_that_is_done_twice_is_caught_and_one_that_replicas_repeat_is_not() {
    let mut acknowledged = Acknowledged::default();
    assert_eq!(acknowledged.effect(&id(1), at(5)), Ok(()));
    assert_eq!(acknowledged.effect(&id(1), at(5)), Ok(()), "from another replica");
    assert_eq!(acknowledged.effect(&id(2), at(6)), Ok(()));
    let twice = Violation::RequestDoneTwice { request: id(1), first: at(5), second: at(9) };
    assert_eq!(acknowledged.effect(&id(1), at(9)), Err(twice));
}

#[test]
fn a_late_retry_that_is_executed_is_caught() {
    let mut acknowledged = Acknowledged::default();
    let too_old = call(1, Some(1), submit("a"), Outcome::Refused(Refused::TooOld));
    assert_eq!(feed(&mut acknowledged, &[too_old]), []);
    let found = acknowledged.effect(&id(1), at(9)).expect_err("caught").to_string();
    assert!(
        found.ends_with("done at revision 9, but its client was told that nothing was done (too_old)"),
        "{found}"
    );

    let mut open = Acknowledged::default();
    let earlier = call(1, Some(1), submit("a"), Outcome::Unknown);
    let refused = call(2, Some(1), submit("a"), Outcome::Refused(Refused::TooOld));
    assert_eq!(feed(&mut open, &[earlier, refused]), []);
    assert_eq!(open.effect(&id(1), at(9)), Ok(()), "the first try may have been done");

    let mut known = Acknowledged::default();
    assert_eq!(known.effect(&id(1), at(9)), Ok(()));
    let not_done = call(1, Some(1), submit("a"), Outcome::Refused(Refused::NotDone));
    assert!(matches!(feed(&mut known, &[not_done])[..], [Violation::DoneAfterRefusal { .. }]));
}
