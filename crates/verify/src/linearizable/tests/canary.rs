//! Histories that are right must be accepted, and the same with one fault that nothing can explain must be rejected.

use paceline_types::{JobState, JobUid, Revision};

use super::generate::{Plan, Random, generate};
use crate::history::{
    Action, Answer, Call, CallId, ClientNumber, Freshness, History, Outcome, Refused, SeenJob, Target, text,
};
use crate::linearizable::jobs::{JobModel, Retirement};
use crate::linearizable::{BOUNDS, Bounds, Violation, check_jobs};

/// Histories of each kind that must be judged rightly.
const HISTORIES: u64 = 240;
const NAME: &str = "job-0";

fn base(seed: u64, unanswered_percent: usize) -> History {
    let mut random = Random::new(seed);
    let plan = Plan {
        calls: 20 + random.below(60),
        names: 1 + random.below(4),
        clients: 1 + random.below(6),
        unanswered_percent,
        reuse_percent: 50,
    };
    generate(&plan, &mut random)
}

fn judge(history: &History) -> Vec<Violation> {
    check_jobs(history, &JobModel::default(), BOUNDS)
}

#[test]
fn at_least_200_histories_that_are_right_are_accepted() {
    for seed in 0..HISTORIES {
        let history = base(seed, [0, 5, 20][seed as usize % 3]);
        let violations = judge(&history);
        assert!(violations.is_empty(), "seed {seed}: {}\n{}", violations[0], text::write(&history));
    }
}

/// One step of what is added behind a history.
fn step(action: Action, outcome: Outcome) -> (Action, Outcome) {
    (action, outcome)
}

fn uid(revision: u64) -> JobUid {
    JobUid { revision: Revision(1_000_000 + revision), ordinal: 0 }
}

fn target(uid: Option<JobUid>) -> Target {
    Target { name: NAME.to_owned(), uid }
}

fn ok(answer: Answer) -> Outcome {
    Outcome::Answered { revision: Revision(2_000_000), answer }
}

fn submitted(spec: u64, uid: JobUid, existing: bool) -> (Action, Outcome) {
    step(Action::Submit { name: NAME.to_owned(), spec }, ok(Answer::Submitted { uid, existing }))
}

fn stopped(uid: JobUid, state: JobState) -> (Action, Outcome) {
    step(Action::Stop { job: target(Some(uid)) }, ok(Answer::Stopping { uid, state }))
}

fn deleted(uid: JobUid) -> (Action, Outcome) {
    step(Action::Delete { job: target(Some(uid)) }, ok(Answer::Deleted { uid }))
}

fn get(by: Option<JobUid>) -> Action {
    Action::Get { job: target(by), read: Freshness::LINEARIZABLE }
}

fn seen(by: Option<JobUid>, uid: JobUid, state: JobState) -> (Action, Outcome) {
    step(get(by), ok(Answer::Seen(SeenJob { name: NAME.to_owned(), uid, state })))
}

fn listed(jobs: &[(JobUid, JobState)]) -> (Action, Outcome) {
    let seen =
        |(uid, state): &(JobUid, JobState)| SeenJob { name: NAME.to_owned(), uid: *uid, state: *state };
    let action = Action::List { prefix: NAME.to_owned(), retired: true, read: Freshness::LINEARIZABLE };
    step(action, ok(Answer::Listed(jobs.iter().map(seen).collect())))
}

/// With calls behind it, one after the other.
fn followed_by(history: &History, steps: &[(Action, Outcome)]) -> History {
    let last = |call: &Call| call.returned.unwrap_or(0).max(call.invoked);
    let end = history.calls().iter().map(last).max().unwrap_or(0);
    let behind = (1..).zip(steps).map(|(number, (action, outcome))| Call {
        id: CallId(5_000_000 + number),
        client: ClientNumber(99),
        request: None,
        invoked: end + 10 * number,
        returned: Some(end + 10 * number + 5),
        action: action.clone(),
        outcome: outcome.clone(),
    });
    history.calls().iter().cloned().chain(behind).collect()
}

/// What may follow any history: the newest job may have ended meanwhile.
fn right_ends() -> Vec<Vec<(Action, Outcome)>> {
    use JobState::{Active, Killed, Stopping, Succeeded};
    let a = uid(1);
    vec![
        vec![
            submitted(7, a, false),
            seen(None, a, Active),
            submitted(7, a, true),
            seen(Some(a), a, Succeeded),
        ],
        vec![submitted(7, a, false), stopped(a, Stopping), seen(None, a, Killed), deleted(a)],
        vec![
            submitted(7, a, false),
            step(Action::Submit { name: NAME.to_owned(), spec: 8 }, Outcome::Refused(Refused::NameInUse)),
        ],
        vec![submitted(7, a, false), submitted(8, uid(2), false), seen(Some(a), a, Succeeded)],
    ]
}

/// What may follow no history, whatever was left unanswered in it: uids are given once and rise, jobs go forward only,
/// and a name has one live job.
fn wrong_ends() -> Vec<(&'static str, Vec<(Action, Outcome)>)> {
    use JobState::{Active, Killed, Stopping, Succeeded};
    let (a, b) = (uid(1), uid(2));
    let used = step(Action::Submit { name: NAME.to_owned(), spec: 7 }, Outcome::Refused(Refused::NameInUse));
    vec![
        (
            "an ended job runs again",
            vec![submitted(7, a, false), seen(None, a, Succeeded), seen(Some(a), a, Active)],
        ),
        ("a stop is forgotten", vec![submitted(7, a, false), stopped(a, Stopping), seen(Some(a), a, Active)]),
        (
            "a deleted job is back",
            vec![submitted(7, a, false), seen(None, a, Killed), deleted(a), seen(Some(a), a, Killed)],
        ),
        (
            "two live jobs of one name",
            vec![submitted(7, a, false), submitted(8, b, false), seen(Some(a), a, Active)],
        ),
        ("found with another specification", vec![submitted(7, a, false), submitted(8, a, true)]),
        ("found while it stops", vec![submitted(7, a, false), stopped(a, Stopping), submitted(7, a, true)]),
        ("a uid given twice", vec![submitted(7, a, false), stopped(a, Killed), submitted(7, a, false)]),
        ("uids go back", vec![submitted(7, b, false), stopped(b, Killed), submitted(7, a, false)]),
        ("refused by itself", vec![submitted(7, a, false), used.clone(), seen(None, a, Active)]),
        ("deleted while it runs", vec![submitted(7, a, false), deleted(a), seen(Some(a), a, Active)]),
        ("two ends", vec![submitted(7, a, false), seen(None, a, Killed), seen(Some(a), a, Succeeded)]),
    ]
}

#[test]
fn what_goes_on_rightly_is_accepted_and_at_least_200_provable_faults_are_rejected() {
    let mut rejected = 0;
    for seed in 0..HISTORIES {
        let history = base(seed, [0, 6][seed as usize % 2]);
        let right = right_ends();
        let violations = judge(&followed_by(&history, &right[seed as usize % right.len()]));
        assert!(violations.is_empty(), "seed {seed}: {}", violations[0]);
        let wrong = wrong_ends();
        let (fault, steps) = &wrong[seed as usize % wrong.len()];
        let found = judge(&followed_by(&history, steps));
        let [Violation::NoOrder { name, counterexample }] = &found[..] else {
            panic!("seed {seed}, {fault}: {found:?}");
        };
        assert_eq!(name, NAME);
        assert!(counterexample.culprit.0 > 5_000_000, "seed {seed}, {fault}: {counterexample}");
        rejected += 1;
    }
    assert!(rejected >= 200);
}

/// Faults that only hold where everything was answered.
#[test]
fn a_lost_job_a_phantom_and_a_gap_in_a_listing_are_rejected() {
    let (a, phantom) = (uid(1), uid(9));
    let not_found = step(get(None), Outcome::Refused(Refused::NotFound));
    for seed in 0..60 {
        let history = base(1_000 + seed, 0);
        let wrong = [
            vec![submitted(7, a, false), not_found.clone()],
            vec![seen(None, phantom, JobState::Active)],
            vec![submitted(7, a, false), listed(&[])],
            vec![submitted(7, a, false), listed(&[(phantom, JobState::Active)])],
        ];
        for steps in wrong {
            assert_eq!(judge(&followed_by(&history, &steps)).len(), 1, "seed {seed}: {steps:?}");
        }
    }
}

/// An answer from the future, in the middle of a history.
#[test]
fn a_read_that_shows_a_job_before_it_was_submitted_is_rejected() {
    let mut rejected = 0;
    for seed in 0..120 {
        let history = base(2_000 + seed, 10);
        let mut calls = history.calls().to_vec();
        let new = calls.iter().rev().find_map(|call| match (&call.action, &call.outcome) {
            (
                Action::Submit { name, .. },
                Outcome::Answered { answer: Answer::Submitted { uid, existing: false }, .. },
            ) if call.request.is_none() => Some((name.clone(), *uid, call.invoked)),
            _ => None,
        });
        let Some((name, uid, invoked)) = new else { continue };
        let early = calls.iter_mut().find(|call| {
            matches!(&call.action, Action::Get { job, .. } if job.name == name && job.uid.is_none())
                && call.returned.is_some_and(|at| at < invoked)
        });
        let Some(early) = early else { continue };
        early.outcome = ok(Answer::Seen(SeenJob { name: name.clone(), uid, state: JobState::Active }));
        let found = judge(&calls.into_iter().collect());
        assert!(matches!(&found[..], [Violation::NoOrder { .. }]), "seed {seed}: {found:?}");
        rejected += 1;
    }
    assert!(rejected >= 60, "{rejected}");
}

#[test]
fn the_window_of_a_fault_is_short_and_readable() {
    let history = followed_by(
        &base(7, 0),
        &[
            submitted(7, uid(1), false),
            stopped(uid(1), JobState::Killed),
            seen(Some(uid(1)), uid(1), JobState::Active),
        ],
    );
    let found = judge(&history);
    let [Violation::NoOrder { counterexample, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(counterexample.calls, [CallId(5_000_003)]);
    let text = found[0].to_string();
    assert!(text.contains("no order of these calls explains the answer to #5000003"), "{text}");
    assert!(text.contains("1000001-0 spec 7 killed"), "{text}");
    assert!(text.contains("#5000003 c99: get 1000001-0 → 1000001-0 is active"), "{text}");
}

#[test]
fn a_search_that_reaches_its_bound_says_so_and_fails() {
    let bounds = Bounds { steps: 10, configurations: 10 };
    let found = check_jobs(&base(3, 0), &JobModel::default(), bounds);
    assert!(found.iter().any(|found| matches!(found, Violation::Undecided { .. })), "{found:?}");
}

#[test]
fn thousands_of_calls_over_tens_of_jobs_are_decided() {
    let plan = Plan { calls: 4_000, names: 40, clients: 16, unanswered_percent: 3, reuse_percent: 30 };
    let history = generate(&plan, &mut Random::new(11));
    assert!(history.len() >= 4_000 && history.answered() > 2_000);
    let found = judge(&history);
    assert!(found.is_empty(), "{}", found[0]);
    let fewer = Bounds { steps: 100_000, ..BOUNDS };
    assert!(
        check_jobs(&history, &JobModel::default(), fewer).is_empty(),
        "it took far more steps than it should"
    );
    let strict = JobModel { ends: false, retirement: Retirement::Never };
    assert!(!check_jobs(&history, &strict, BOUNDS).is_empty(), "jobs did end by themselves");
}
