//! Reads that show what was so are accepted; each way of showing something else is caught.

use super::*;
use crate::history::Freshness;
use JobState::{Active, Failed, Killed, Stopping, Succeeded};

fn uid(revision: u64) -> JobUid {
    JobUid { revision: Revision(revision), ordinal: 0 }
}

fn seen(of: u64, state: JobState) -> SeenJob {
    SeenJob { name: format!("job-{of}"), uid: uid(of), state }
}

fn call(number: u64, action: Action, revision: u64, answer: Answer) -> Call {
    Call {
        id: CallId(number),
        client: ClientNumber(1),
        request: None,
        invoked: number,
        returned: Some(number),
        action,
        outcome: Outcome::Answered { revision: Revision(revision), answer },
    }
}

fn get(number: u64, read: Freshness, revision: u64, job: SeenJob) -> Call {
    call(number, Action::Get { job: Target::name(&job.name), read }, revision, Answer::Seen(job))
}

fn list(number: u64, revision: u64, retired: bool, jobs: Vec<SeenJob>) -> Call {
    let action = Action::List { prefix: "job-".into(), retired, read: Freshness::stale(Revision(0)) };
    call(number, action, revision, Answer::Listed(jobs))
}

const NOW: Freshness = Freshness::LINEARIZABLE;
const STALE: Freshness = Freshness::stale(Revision(0));

fn feed(reads: &mut Reads, calls: &[Call]) -> Vec<Violation> {
    calls
        .iter()
        .flat_map(|call| {
            reads.invoked(call);
            reads.returned(call)
        })
        .collect()
}

/// Job 2 runs, stops at 5, is killed at 7, retires at 9; job 3 is deleted at 8.
fn facts(reads: &mut Reads) -> Vec<Violation> {
    let submitted = |of: u64| Fact::Submitted { name: format!("job-{of}") };
    reads.fact(Revision(2), uid(2), &submitted(2));
    reads.fact(Revision(3), uid(3), &submitted(3));
    reads.fact(Revision(4), uid(3), &Fact::Became(Succeeded));
    reads.fact(Revision(5), uid(2), &Fact::Became(Stopping));
    reads.fact(Revision(7), uid(2), &Fact::Became(Killed));
    reads.fact(Revision(8), uid(3), &Fact::Deleted);
    reads.fact(Revision(9), uid(2), &Fact::Retired);
    reads.known_to(Revision(10))
}

#[test]
fn reads_that_show_what_was_so_are_accepted_whether_facts_come_before_or_after() {
    let calls = [
        get(1, NOW, 3, seen(2, Active)),
        list(2, 4, false, vec![seen(2, Active), seen(3, Succeeded)]),
        get(3, NOW, 7, seen(2, Killed)),
        get(4, STALE, 6, seen(2, Stopping)),
        list(5, 9, false, vec![]),
        list(6, 9, true, vec![seen(2, Killed)]),
    ];
    let mut before = Reads::default();
    assert_eq!(facts(&mut before), []);
    assert_eq!(feed(&mut before, &calls), []);
    let mut after = Reads::default();
    assert_eq!(feed(&mut after, &calls), []);
    assert_eq!(after.waiting(), calls.len());
    assert_eq!(facts(&mut after), []);
    assert_eq!(after.waiting(), 0);
}

#[test]
fn a_linearizable_read_from_an_old_view_is_caught_and_a_stale_one_is_not() {
    let mut reads = Reads::default();
    assert_eq!(feed(&mut reads, &[get(1, NOW, 9, seen(2, Active)), get(2, STALE, 5, seen(2, Active))]), []);
    let found = feed(&mut reads, &[get(3, NOW, 8, seen(2, Active))]);
    let text = "call #3 was answered from revision 8, but 9 had been answered before it began";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    let asked = get(4, Freshness::stale(Revision(7)), 6, seen(2, Active));
    assert!(matches!(feed(&mut reads, &[asked])[..], [Violation::Old { why: "asked for", .. }]));
}

#[test]
fn what_began_before_an_answer_may_be_older_than_it() {
    let mut reads = Reads::default();
    let early = get(1, NOW, 5, seen(2, Active));
    reads.invoked(&early);
    assert_eq!(feed(&mut reads, &[get(2, NOW, 9, seen(2, Active))]), []);
    assert_eq!(reads.returned(&early), []);
}

#[test]
fn a_session_that_goes_back_is_caught() {
    let mut reads = Reads::default();
    let calls = [get(1, STALE, 9, seen(2, Active)), get(2, STALE, 8, seen(2, Active))];
    assert_eq!(feed(&mut reads.clone(), &calls), [], "nothing was promised");
    reads.session(ClientNumber(1));
    assert!(matches!(feed(&mut reads, &calls)[..], [Violation::SessionWentBack { .. }]));
}

#[test]
fn reads_that_contradict_each_other_are_caught_without_any_facts() {
    let contradictions = [
        (4, Stopping, 5, Active),
        (5, Active, 5, Stopping),
        (9, Succeeded, 12, Failed),
        (5, Active, 4, Killed),
        (9, Killed, 9, Active),
    ];
    for (one, state, other, other_state) in contradictions {
        let calls = [get(1, STALE, one, seen(2, state)), get(2, STALE, other, seen(2, other_state))];
        let found = feed(&mut Reads::default(), &calls);
        assert!(
            matches!(found[..], [Violation::Contradiction { .. }]),
            "{one} {state}, {other} {other_state}"
        );
    }
    let early = feed(&mut Reads::default(), &[get(1, STALE, 1, seen(2, Active))]);
    assert!(matches!(early[..], [Violation::BeforeSubmission { .. }]));
}

#[test]
fn another_job_than_was_asked_for_is_caught() {
    let job = Target { name: "job-2".into(), uid: Some(uid(3)) };
    let found = feed(
        &mut Reads::default(),
        &[call(1, Action::Get { job, read: NOW }, 5, Answer::Seen(seen(2, Active)))],
    );
    assert_eq!(found[0].to_string(), "call #1 asked for job-2 3-0 and was shown 2-0 (job-2)");
}

#[test]
fn what_was_never_committed_so_is_caught() {
    let cases: [(&str, Call); 6] = [
        ("active at revision 6 (call #1), committed was stopping", get(1, STALE, 6, seen(2, Active))),
        ("committed was no such job", get(1, STALE, 6, seen(4, Active))),
        ("deleted at 8", get(1, STALE, 8, seen(3, Succeeded))),
        ("does not show job 3-0 (job-3)", list(1, 6, false, vec![seen(2, Stopping)])),
        ("does not show job 2-0 (job-2)", list(1, 8, false, vec![])),
        ("does not show job 2-0 (job-2)", list(1, 9, true, vec![])),
    ];
    for (expected, wrong) in cases {
        let mut reads = Reads::default();
        assert_eq!(facts(&mut reads), []);
        let found = feed(&mut reads, &[wrong]);
        assert!(found.len() == 1 && found[0].to_string().contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut reads = Reads::default();
    let many: Vec<_> =
        (0..=WAITING_MAX as u64).map(|number| get(number, STALE, 5, seen(2, Active))).collect();
    assert!(matches!(feed(&mut reads, &many)[..], [Violation::Unjudged { call: CallId(0), .. }]));
    assert_eq!(reads.waiting(), WAITING_MAX);
}
