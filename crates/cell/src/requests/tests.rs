//! The table of request ids through whole commands: what a client sees.

use paceline_types::{JobUid, Revision};

use crate::apply::testing::{Bench, batch};
use crate::command::{Command, CommandBody, RequestId};
use crate::config::{ConfigChange, Setting};
use crate::refusal::{Bound, Refusal};
use crate::reply::Reply;

fn id(principal: &str, client: u8, sequence: u64, lowest_unanswered: u64, floor: u64) -> RequestId {
    RequestId {
        principal: principal.to_owned(),
        client: [client; 16],
        sequence,
        lowest_unanswered,
        floor: Revision(floor),
    }
}

fn submit(name: &str, unix_ms: u64) -> CommandBody {
    CommandBody::SubmitJob { spec: batch(name, 2).into(), submitted_unix_ms: unix_ms }
}

fn ask(bench: &mut Bench, request: RequestId, body: CommandBody) -> Reply {
    bench.commands(vec![Command { request: Some(request), body }]).remove(0)
}

fn submitted(bench: &Bench) -> Reply {
    let uid = JobUid { revision: bench.cell.revision(), ordinal: 0 };
    Reply::JobSubmitted { uid, existing: false }
}

/// Lets `ms` of cell clock pass.
fn wait(bench: &mut Bench, ms: u64) {
    let mut left = ms;
    while left > 0 {
        let step_ms = left.min(crate::TICK_STEP_MS_MAX);
        bench.one(CommandBody::Tick { from_ms: bench.cell.clock_ms(), step_ms });
        left -= step_ms;
    }
}

fn refused(refusal: Refusal) -> Reply {
    Reply::Refused(refusal)
}

#[test]
fn a_retry_gets_the_first_answer_whatever_has_happened_since() {
    let mut bench = Bench::new();
    let first = ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("j", 5));
    assert_eq!(first, submitted(&bench));
    bench.one(CommandBody::StopJob { job: crate::JobSelector::Name("j".into()) });
    let retry = ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("j", 99));
    assert_eq!(retry, first, "the time that another leader puts beside it does not matter");
    assert_eq!(bench.cell.job_count(), 1);
}

#[test]
fn a_refusal_by_the_state_is_recorded_too() {
    let mut bench = Bench::new();
    let stop = CommandBody::StopJob { job: crate::JobSelector::Name("j".into()) };
    let first = ask(&mut bench, id("user/ann", 1, 1, 1, 0), stop.clone());
    assert!(matches!(first, Reply::Refused(Refusal::NotFound { .. })), "{first:?}");
    bench.submit(batch("j", 1));
    assert_eq!(ask(&mut bench, id("user/ann", 1, 1, 1, 0), stop), first);
}

#[test]
fn the_same_id_with_another_body_is_a_conflict() {
    let mut bench = Bench::new();
    ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("a", 0));
    let other = ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("b", 0));
    assert_eq!(other, refused(Refusal::RequestConflict));
    assert!(bench.cell.live_job_by_name("b").is_none());
    let stranger = ask(&mut bench, id("user/bob", 1, 1, 1, 0), submit("b", 0));
    assert_eq!(stranger, submitted(&bench), "ids of two principals are two ids");
}

#[test]
fn what_the_client_has_is_dropped_and_refused_when_it_comes_again() {
    let mut bench = Bench::new();
    for sequence in 1..=3 {
        ask(&mut bench, id("user/ann", 1, sequence, 1, 0), submit(&format!("j{sequence}"), 0));
    }
    assert_eq!(bench.cell.request_records(), 3);
    ask(&mut bench, id("user/ann", 1, 4, 3, 0), submit("j4", 0));
    assert_eq!(bench.cell.request_records(), 2, "3 and 4");
    let again = ask(&mut bench, id("user/ann", 1, 2, 1, 0), submit("j2", 0));
    assert_eq!(again, refused(Refusal::RequestAnswered { lowest_unanswered: 3 }));
    let absurd = ask(&mut bench, id("user/ann", 1, 5, 6, 0), submit("j5", 0));
    assert_eq!(absurd, refused(Refusal::RequestAnswered { lowest_unanswered: 6 }));
}

#[test]
fn a_record_lives_ten_minutes_of_cell_clock_after_the_last_call() {
    let mut bench = Bench::new();
    assert!(!bench.cell.wants_tick());
    ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("a", 0));
    assert!(bench.cell.wants_tick());
    wait(&mut bench, 599_000);
    let retry = ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("a", 0));
    assert!(matches!(retry, Reply::JobSubmitted { existing: false, .. }));
    wait(&mut bench, 599_000);
    assert!(bench.cell.wants_tick(), "the retry was a call");
    wait(&mut bench, 1_000);
    assert!(!bench.cell.wants_tick());
    assert_eq!(bench.cell.request_records(), 0);
}

#[test]
fn an_id_from_before_the_horizon_is_refused_and_never_executed() {
    let mut bench = Bench::new();
    ask(&mut bench, id("user/ann", 1, 1, 1, 0), submit("a", 0));
    let horizon = bench.cell.revision();
    wait(&mut bench, 600_000);
    let late = ask(&mut bench, id("user/ann", 1, 2, 1, horizon.0 - 1), submit("b", 0));
    assert_eq!(late, refused(Refusal::RequestTooOld { horizon }));
    assert!(bench.cell.live_job_by_name("b").is_none());
    let fresh = ask(&mut bench, id("user/ann", 1, 3, 3, horizon.0), submit("b", 0));
    assert_eq!(fresh, submitted(&bench));
}

#[test]
fn a_client_with_too_many_open_ids_is_told_to_come_again_with_the_same_id() {
    let mut bench = Bench::new();
    let settings = [(Setting::RequestIdsPerClient, 2)].into();
    bench.one(CommandBody::SetConfig(ConfigChange { settings, failure_domains: None }));
    for sequence in 1..=2 {
        ask(&mut bench, id("user/ann", 1, sequence, 1, 0), submit(&format!("j{sequence}"), 0));
    }
    match ask(&mut bench, id("user/ann", 1, 3, 1, 0), submit("j3", 0)) {
        Reply::Refused(Refusal::Overloaded { bound: Bound::OpenRequests, limit: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    let retry = ask(&mut bench, id("user/ann", 1, 3, 2, 0), submit("j3", 0));
    assert_eq!(retry, submitted(&bench), "the refusal was not recorded");
}

#[test]
fn one_principal_cannot_take_the_whole_table() {
    let mut bench = Bench::new();
    let settings = [(Setting::RequestRecords, 1_000)].into();
    bench.one(CommandBody::SetConfig(ConfigChange { settings, failure_domains: None }));
    let tick = CommandBody::Tick { from_ms: 1, step_ms: 0 };
    let mut open = |principal: &str, many: u64| {
        let commands = (0..many).map(|at| {
            let client = u8::try_from(at / 100).expect("few");
            Command { request: Some(id(principal, client, at, 0, 0)), body: tick.clone() }
        });
        let replies = bench.commands(commands.collect());
        let full = |reply: &&Reply| {
            matches!(reply, Reply::Refused(Refusal::Overloaded { bound: Bound::RequestRecords, .. }))
        };
        many - replies.iter().filter(full).count() as u64
    };
    assert_eq!(open("user/greedy", 800), 500, "half of the table");
    assert_eq!(open("user/second", 800), 250, "half of the rest");
    assert_eq!(open("user/third", 1), 1);
}

#[test]
fn a_principal_that_no_certificate_can_hold_is_refused() {
    let mut bench = Bench::new();
    let reply = ask(&mut bench, id(&"x".repeat(129), 1, 1, 1, 0), submit("a", 0));
    assert!(matches!(reply, Reply::Refused(Refusal::InvalidArgument(_))), "{reply:?}");
    assert_eq!(bench.cell.request_records(), 0);
}
