//! Calls with one answer.

use std::time::{Duration, Instant};

use paceline_api::v1::{ErrorCode, FieldViolation};
use paceline_api::{error_detail, v1};
use paceline_client::{Class, ClientError};
use paceline_rules::JobSpec;
use paceline_types::Resources;

use crate::fake::{FakeMasters, Fault};

fn spec() -> JobSpec {
    JobSpec::batch("hello", 3, &["/bin/true"], Resources::new(10, 8 << 20))
}

async fn masters(count: usize, leader: usize) -> FakeMasters {
    let masters = FakeMasters::start(count).await;
    masters.cell.lock().leader = Some(leader);
    masters
}

#[tokio::test]
async fn a_follower_sends_the_client_to_the_leader() {
    let masters = masters(3, 2).await;
    let client = masters.client_from(0);
    let reply = client.jobs().submit(&spec()).await.expect("submitted");
    assert_eq!((reply.revision, reply.existing), (101, false));
    assert_eq!(client.revision().0, 101);
    assert_eq!(masters.cell.lock().executions, 1);
}

#[tokio::test]
async fn a_reply_that_was_lost_is_asked_for_again_under_the_same_id() {
    let masters = masters(1, 0).await;
    masters.cell.lock().faults = [Fault::DropReply, Fault::DropReply].into();
    let client = masters.client_from(0);
    let reply = client.jobs().submit(&spec()).await.expect("submitted");
    assert_eq!(reply.revision, 101);
    client.jobs().submit(&spec()).await.expect("submitted");
    let truth = masters.cell.lock();
    assert_eq!(truth.executions, 2);
    let ids: Vec<_> = truth.seen.iter().map(|id| (id.sequence, id.lowest_unanswered, id.floor.0)).collect();
    assert_eq!(ids, [(1, 1, 0), (1, 1, 0), (1, 1, 0), (2, 2, 101)]);
}

#[tokio::test]
async fn a_leader_that_hangs_is_left_for_the_next_under_the_same_id() {
    let masters = masters(2, 0).await;
    masters.cell.lock().faults = [Fault::Hang].into();
    let client = masters.client_from(0);
    let submitting = client.jobs();
    let spec = spec();
    let (reply, ()) = tokio::join!(submitting.submit(&spec), async {
        while masters.cell.lock().executions == 0 {
            tokio::task::yield_now().await;
        }
        masters.cell.lock().leader = Some(1);
    });
    assert_eq!(reply.expect("submitted").revision, 101);
    assert_eq!(masters.cell.lock().executions, 1);
}

#[tokio::test]
async fn a_new_client_of_a_cell_that_forgot_old_ones_reads_and_asks_again() {
    let masters = masters(1, 0).await;
    let forgotten = || Fault::Say(error_detail(ErrorCode::RequestTooOld, "below the horizon"));
    masters.cell.lock().faults = [forgotten()].into();
    let client = masters.client_from(0);
    assert_eq!(client.jobs().submit(&spec()).await.expect("submitted").revision, 101);
    let ids: Vec<_> = masters.cell.lock().seen.iter().map(|id| (id.sequence, id.floor.0)).collect();
    assert_eq!(ids, [(1, 0), (2, 90)]);

    // Refused again at the revision of that read, it is not asked a third time.
    masters.cell.lock().faults = [forgotten(), forgotten()].into();
    let refused = client.jobs().submit(&spec()).await.expect_err("refused twice");
    assert_eq!(refused.code(), Some(ErrorCode::RequestTooOld));
    assert_eq!(masters.cell.lock().executions, 1);
}

#[tokio::test]
async fn a_client_that_was_silent_until_it_was_forgotten_reads_and_asks_again() {
    let masters = masters(1, 0).await;
    let client = masters.client_from(0);
    client.jobs().submit(&spec()).await.expect("submitted");
    // What others did meanwhile moved the horizon beyond all that this client has seen.
    masters.cell.lock().others = 410;
    let forgotten = Fault::Say(error_detail(ErrorCode::RequestTooOld, "below the horizon"));
    masters.cell.lock().faults = [forgotten].into();
    assert_eq!(client.jobs().submit(&spec()).await.expect("submitted").revision, 512);
    let floors: Vec<_> = masters.cell.lock().seen.iter().map(|id| id.floor.0).collect();
    assert_eq!(floors, [0, 101, 500]);
}

#[tokio::test]
async fn the_death_of_a_leader_is_not_seen_within_the_deadline() {
    let mut masters = masters(3, 0).await;
    let client = masters.client_from(0);
    client.jobs().submit(&spec()).await.expect("submitted");
    masters.kill(0).await;
    let election = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        masters.cell.lock().leader = Some(2);
    };
    let (jobs, spec) = (client.jobs(), spec());
    let (reply, ()) = tokio::join!(jobs.submit(&spec), election);
    assert_eq!(reply.expect("submitted").revision, 102);
}

#[tokio::test]
async fn a_refusal_is_the_answer_and_is_not_repeated() {
    let masters = masters(2, 0).await;
    let mut detail = error_detail(ErrorCode::InvalidArgument, "the job has 1 fault");
    let (field, value, expected) = ("tasks".into(), "0".into(), "1 to 1000000".into());
    detail.violations = vec![FieldViolation { field, value, expected }];
    masters.cell.lock().faults = [Fault::Say(detail)].into();
    let error = masters.client_from(0).jobs().submit(&spec()).await.expect_err("refused");
    assert_eq!((error.class(), error.code()), (Class::Refused, Some(ErrorCode::InvalidArgument)));
    assert_eq!(error.to_string(), "the job has 1 fault\n  tasks: `0`: expected 1 to 1000000");
    assert_eq!(masters.cell.lock().seen.len(), 1);
}

#[tokio::test]
async fn an_overloaded_cell_is_asked_again_no_sooner_than_it_said() {
    let masters = masters(1, 0).await;
    let mut detail = error_detail(ErrorCode::Overloaded, "too many open ids");
    detail.retry_after_ms = 200;
    masters.cell.lock().faults = [Fault::Say(detail.clone())].into();
    let began = Instant::now();
    masters.client_from(0).jobs().submit(&spec()).await.expect("submitted");
    assert!(began.elapsed() >= Duration::from_millis(200));

    // Beyond the deadline there is no point in waiting at all.
    detail.retry_after_ms = 60_000;
    masters.cell.lock().faults = [Fault::Say(detail)].into();
    let client = masters.client_from(0).within(Duration::from_secs(5));
    let began = Instant::now();
    let error = client.jobs().submit(&spec()).await.expect_err("too late");
    assert_eq!(error.class(), Class::Retry);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(error.to_string().contains("too many open ids"), "{error}");
}

#[tokio::test]
async fn the_deadline_holds_and_what_was_surely_not_done_is_told_from_what_may_have_been() {
    let masters = masters(2, 0).await;
    let client = masters.client_from(0).within(Duration::from_millis(400));
    masters.cell.lock().faults = [Fault::Hang].into();
    let began = Instant::now();
    let error = client.jobs().submit(&spec()).await.expect_err("too late");
    assert!(matches!(error, ClientError::Unknown { tries: 1, .. }), "{error:?}");
    assert_eq!(error.class(), Class::Unknown);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    masters.cell.lock().leader = None;
    let error = client.jobs().submit(&spec()).await.expect_err("too late");
    assert!(matches!(error, ClientError::Unavailable { tries: 2.., .. }), "{error:?}");
    assert_eq!(error.class(), Class::Retry);
    assert!(error.to_string().contains("does not lead"), "{error}");
}

#[tokio::test]
async fn a_deadline_beyond_every_clock_is_as_good_as_for_ever() {
    let masters = masters(1, 0).await;
    let client = masters.client_from(0).within(Duration::MAX);
    assert_eq!(client.jobs().submit(&spec()).await.expect("submitted").revision, 101);
}

#[tokio::test]
async fn a_read_without_an_answer_leaves_nothing_open() {
    let mut masters = masters(1, 0).await;
    masters.kill(0).await;
    let client = masters.client_from(0).within(Duration::from_millis(200));
    let error = client.jobs().get("hello").await.expect_err("too late");
    assert_eq!(error.class(), Class::Retry);
}

#[tokio::test]
async fn an_id_that_the_cell_forgot_after_an_open_try_is_an_unknown_outcome() {
    let masters = masters(1, 0).await;
    let forgotten = Fault::Say(error_detail(ErrorCode::RequestTooOld, "below the horizon"));
    masters.cell.lock().faults = [Fault::DropReply, forgotten].into();
    let error = masters.client_from(0).jobs().submit(&spec()).await.expect_err("unknown");
    assert_eq!(error.class(), Class::Unknown);
}

#[tokio::test]
async fn a_read_goes_to_the_master_that_was_named_and_a_follower_answers_stale_ones_only() {
    let masters = masters(3, 0).await;
    let client = masters.client_from(0);
    let there = client.at(&masters.addresses[2]).await.expect("known");
    let error = there.jobs().get("hello").await.expect_err("it may be behind");
    assert_eq!(error.code(), Some(ErrorCode::NotLeader));
    let there = there.stale();
    assert_eq!(there.jobs().get("hello").await.expect("read").name, "m2");
    assert_eq!(client.jobs().get("hello").await.expect("read").name, "m0");
    let error = there.jobs().submit(&spec()).await.expect_err("refused");
    assert_eq!(error.code(), Some(ErrorCode::NotLeader));
}

/// A leader that was paused may have executed what it did not answer, and lead no more when it is asked again.
#[tokio::test]
async fn a_named_master_that_lost_the_leadership_after_an_open_try_leaves_an_unknown_outcome() {
    let masters = masters(2, 0).await;
    masters.cell.lock().faults = [Fault::DropReply].into();
    let there = masters.client_from(0).at(&masters.addresses[0]).await.expect("known");
    let submitting = there.jobs();
    let spec = spec();
    let (outcome, ()) = tokio::join!(submitting.submit(&spec), async {
        while masters.cell.lock().executions == 0 {
            tokio::task::yield_now().await;
        }
        masters.cell.lock().leader = Some(1);
    });
    assert_eq!(outcome.expect_err("not answered").class(), Class::Unknown);
    assert_eq!(masters.cell.lock().executions, 1);
}

#[tokio::test]
async fn all_pages_are_read_and_of_one_view() {
    let masters = masters(1, 0).await;
    let page = |first: u32, next: &'static str| {
        let tasks = (first..first + 2).map(|index| v1::Task { index, ..v1::Task::default() }).collect();
        let next_page_token = next.as_bytes().into();
        Ok(v1::ListTasksReply { revision: 7, tasks, next_page_token, ..v1::ListTasksReply::default() })
    };
    let gone = paceline_api::status_from(error_detail(ErrorCode::PageExpired, "the view is gone"));
    masters.cell.lock().pages = [page(0, "a"), page(2, "b"), Err(gone), page(0, "a"), page(2, "")].into();
    let tasks = masters.client_from(0).jobs().list_tasks("hello", &[]).await.expect("read");
    assert_eq!(tasks.iter().map(|task| task.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
}
