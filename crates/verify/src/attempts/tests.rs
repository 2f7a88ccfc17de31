//! Attempts that run as decided are accepted; each way of running otherwise is caught.

use paceline_types::{Generation, Term};

use super::*;

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn job() -> JobUid {
    JobUid { revision: Revision(1), ordinal: 0 }
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { job: job(), task: TaskIndex(0), attempt: Attempt(number) }
}

fn tasks() -> IndexSet {
    "0".parse().expect("a set")
}

fn at(revision: u64) -> EventId {
    EventId { revision: Revision(revision), ordinal: 0 }
}

fn order(term: u64, revision: u64) -> FenceToken {
    FenceToken { generation: Generation(0), term: Term(term), revision: Revision(revision) }
}

fn assigned(number: u32, to: &str) -> Fact {
    Fact::Assigned { attempt: Attempt(number), node: node(to), tasks: tasks() }
}

fn requeued(number: u32, from: &str, reason: Reason) -> Fact {
    Fact::Requeued { attempt: Attempt(number), node: node(from), tasks: tasks(), reason }
}

fn ended(number: u32, on: &str, state: TaskState, reason: Reason) -> Fact {
    Fact::Ended { attempt: Attempt(number), node: Some(node(on)), tasks: tasks(), state, reason }
}

fn succeeded(number: u32, on: &str) -> Fact {
    ended(number, on, TaskState::Succeeded, Reason::ExitedZero)
}

fn stopping(number: u32) -> Fact {
    Fact::Stopping { attempt: Attempt(number), tasks: tasks() }
}

/// With these facts, from revision 2 on; none of them is wrong.
fn decided(facts: &[Fact]) -> Attempts {
    let mut attempts = Attempts::default();
    assert_eq!(decide(&mut attempts, facts), []);
    attempts
}

fn decide(attempts: &mut Attempts, facts: &[Fact]) -> Vec<Violation> {
    (2..).zip(facts).flat_map(|(revision, fact)| attempts.committed(at(revision), job(), fact)).collect()
}

#[test]
fn a_task_that_runs_once_is_accepted_and_forgotten_when_it_is_gone() {
    let mut attempts = decided(&[assigned(1, "a"), succeeded(1, "a"), Fact::JobGone]);
    attempts.at_most_one(job());
    attempts.started(&node("a"), attempt(1), 10);
    assert_eq!(attempts.running(), 1);
    assert!(!attempts.forget(job()), "it runs");
    attempts.ended(&node("a"), attempt(1), 20, Cause::Itself);
    assert_eq!(attempts.check(30), []);
    assert_eq!(attempts.check_gone(30), []);
    assert!(attempts.forget(job()));
}

#[test]
fn a_task_that_was_lost_with_its_node_may_run_again_after_its_lease() {
    let mut attempts = Attempts::default();
    attempts.at_most_one(job());
    attempts.disturbed(&node("a"));
    let facts = [assigned(1, "a"), requeued(1, "a", Reason::NodeLost), assigned(2, "b"), succeeded(2, "b")];
    assert_eq!(decide(&mut attempts, &facts), []);
    assert_eq!(attempts.committed(at(3), job(), &facts[1]), [], "from another replica");
    attempts.started(&node("a"), attempt(1), 10);
    attempts.ended(&node("a"), attempt(1), 50, Cause::Lease);
    attempts.started(&node("b"), attempt(2), 50);
    attempts.ended(&node("b"), attempt(2), 60, Cause::Itself);
    assert_eq!(attempts.check(70), []);
}

#[test]
fn one_overlapping_instant_is_caught_where_it_was_promised_away() {
    let facts = [assigned(1, "a"), requeued(1, "a", Reason::NodeLost), assigned(2, "b")];
    let mut attempts = Attempts::default();
    attempts.disturbed(&node("a"));
    assert_eq!(decide(&mut attempts, &facts), []);
    attempts.started(&node("a"), attempt(1), 10);
    attempts.started(&node("b"), attempt(2), 49);
    attempts.ended(&node("a"), attempt(1), 50, Cause::Lease);
    assert_eq!(attempts.clone().check(70), [], "not promised");
    attempts.at_most_one(job());
    let found = attempts.check(70);
    let text = "job 1-0 promised at most one: attempt 1 on a (from 10) and attempt 2 on b (from 49) ran at the same time from 49 to 50";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
}

#[test]
fn an_overlap_is_caught_while_both_still_run() {
    let mut attempts = Attempts::default();
    attempts.at_most_one(job());
    attempts.disturbed(&node("a"));
    let facts = [assigned(1, "a"), requeued(1, "a", Reason::NodeLost), assigned(2, "b")];
    assert_eq!(decide(&mut attempts, &facts), []);
    attempts.started(&node("a"), attempt(1), 10);
    assert_eq!(attempts.check(40), []);
    attempts.started(&node("b"), attempt(2), 50);
    assert!(matches!(attempts.check(50)[..], [Violation::Overlap { from: 50, to: 51, .. }]));
    assert_eq!(attempts.check(60), [], "named once");
}

#[test]
fn a_second_start_of_one_attempt_is_caught() {
    let mut attempts = decided(&[assigned(1, "a")]);
    attempts.started(&node("a"), attempt(1), 10);
    attempts.ended(&node("a"), attempt(1), 20, Cause::Fault);
    attempts.started(&node("a"), attempt(1), 30);
    let found = attempts.check(40);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].to_string(), "attempt 1-0.0.1 was started twice: on a at 10 and on a at 30");
}

#[test]
fn what_nobody_assigned_there_is_caught() {
    let mut nowhere = Attempts::default();
    nowhere.started(&node("a"), attempt(1), 10);
    let found = nowhere.check(20);
    assert_eq!(found[0].to_string(), "attempt 1-0.0.1 was started on a, but the cell had not decided on it");
    let mut elsewhere = decided(&[assigned(1, "a")]);
    elsewhere.started(&node("b"), attempt(1), 10);
    assert!(elsewhere.check(20)[0].to_string().ends_with("but the cell had decided on a"));
}

#[test]
fn a_wanted_attempt_that_an_old_view_kills_is_caught() {
    let facts = [assigned(1, "a"), Fact::JobStopping, stopping(1)];
    let killed_by = |token| {
        let mut attempts = decided(&facts);
        attempts.started(&node("a"), attempt(1), 10);
        attempts.ended(&node("a"), attempt(1), 20, Cause::Order(token));
        attempts.known_to(Revision(4));
        attempts.check(30)
    };
    assert_eq!(killed_by(order(3, 4)), [], "stopping since revision 4");
    let found = killed_by(order(3, 3));
    assert!(matches!(found[..], [Violation::GoodAttemptKilled { at: 20, .. }]), "{found:?}");
}

#[test]
fn an_order_ahead_of_the_facts_is_judged_when_they_have_caught_up() {
    let mut attempts = decided(&[assigned(1, "a")]);
    attempts.started(&node("a"), attempt(1), 10);
    attempts.ended(&node("a"), attempt(1), 20, Cause::Order(order(1, 9)));
    let mut later = attempts.clone();
    assert_eq!(later.committed(at(9), job(), &stopping(1)), []);
    later.known_to(Revision(9));
    assert_eq!(later.check(30), []);
    assert_eq!(attempts.check(30), [], "nobody knows yet");
    attempts.known_to(Revision(9));
    assert!(matches!(attempts.check(30)[..], [Violation::GoodAttemptKilled { .. }]));
    assert_eq!(attempts.check(40), [], "named once");
}

#[test]
fn an_order_of_a_deposed_leader_that_is_carried_out_is_caught() {
    let mut attempts = Attempts::default();
    assert_eq!(attempts.obeyed(&node("a"), order(3, 9)), Ok(()));
    assert_eq!(attempts.obeyed(&node("a"), order(3, 8)), Ok(()), "of the same leader");
    assert_eq!(attempts.obeyed(&node("b"), order(2, 8)), Ok(()), "another node");
    let found = attempts.obeyed(&node("a"), order(2, 20)).expect_err("caught").to_string();
    assert_eq!(found, "a carried out an order of (generation 0, term 2) after one of (generation 0, term 3)");
}

#[test]
fn a_stale_attempt_that_still_lives_is_caught() {
    let mut attempts = Attempts::default();
    attempts.disturbed(&node("a"));
    let facts = [assigned(1, "a"), requeued(1, "a", Reason::NodeLost), assigned(2, "b")];
    assert_eq!(decide(&mut attempts, &facts), []);
    attempts.started(&node("a"), attempt(1), 10);
    attempts.started(&node("b"), attempt(2), 30);
    assert_eq!(attempts.check(40), []);
    let stale = attempts.check_gone(90);
    let text = "attempt 1-0.0.1 on a still runs at 90, though it was over at revision 3";
    assert_eq!(stale.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    attempts.ended(&node("a"), attempt(1), 95, Cause::Order(order(1, 4)));
    assert_eq!(attempts.check(99), []);
    assert_eq!(attempts.check_gone(99), []);
}

#[test]
fn attempts_out_of_turn_and_second_ends_are_caught() {
    let cases: [(&str, Vec<Fact>); 5] = [
        ("attempt 1 is the next", vec![assigned(2, "a")]),
        ("attempt 1 was not over", vec![assigned(1, "a"), assigned(2, "b")]),
        ("the task had ended", vec![assigned(1, "a"), succeeded(1, "a"), assigned(2, "b")]),
        ("had ended at 3 already", vec![assigned(1, "a"), succeeded(1, "a"), succeeded(1, "a")]),
        ("that is no end", vec![assigned(1, "a"), ended(1, "a", TaskState::Running, Reason::None)]),
    ];
    for (expected, facts) in cases {
        let found = decide(&mut Attempts::default(), &facts);
        assert!(found.len() == 1 && found[0].to_string().contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn an_end_that_nothing_explains_is_caught_and_what_explains_it_is_heard() {
    let failed = ended(1, "a", TaskState::Failed, Reason::ExitedNonZero);
    let killed = ended(1, "a", TaskState::Killed, Reason::JobStopped);
    let lost = ended(1, "a", TaskState::Lost, Reason::NodeLost);
    let cases = [
        ("nothing was done to its node", requeued(1, "a", Reason::NotOnNode)),
        ("no task of the job can fail", requeued(1, "a", Reason::ExitedNonZero)),
        ("no task of the job can fail", failed),
        ("its job is not being stopped", killed),
        ("nothing was done to its node", lost),
    ];
    for (expected, fact) in cases {
        let mut attempts = decided(&[assigned(1, "a")]);
        let mut excused = attempts.clone();
        let found = attempts.committed(at(9), job(), &fact);
        assert!(found.len() == 1 && found[0].to_string().ends_with(expected), "{expected}: {found:?}");
        excused.may_fail(job());
        excused.disturbed(&node("a"));
        assert_eq!(excused.committed(at(8), job(), &Fact::JobStopping), []);
        assert_eq!(excused.committed(at(9), job(), &fact), []);
    }
}

#[test]
fn an_excuse_ends_with_what_was_done_to_the_node() {
    let mut attempts = Attempts::default();
    attempts.disturbed(&node("a"));
    assert_eq!(attempts.committed(at(1), job(), &assigned(1, "a")), []);
    attempts.calmed(&node("a"), at(5).revision);
    let lost = requeued(1, "a", Reason::NodeRebooted);
    assert_eq!(attempts.committed(at(6), job(), &lost), [], "bound to it while it was disturbed");
    assert_eq!(attempts.committed(at(7), job(), &assigned(2, "a")), []);
    let found = attempts.committed(at(8), job(), &requeued(2, "a", Reason::NodeRebooted));
    assert!(matches!(found[..], [Violation::WithoutCause { .. }]), "{found:?}");
}
