//! Streams that break and go on.

use paceline_api::v1;
use paceline_api::v1::watch_reply::Message;
use paceline_client::{Class, LogsOf, WatchItem};
use paceline_types::Revision;
use tonic::Status;

use crate::fake::FakeMasters;

fn change(revision: u64) -> Result<v1::WatchReply, Status> {
    let change = v1::Change { revision, events: Vec::new() };
    Ok(v1::WatchReply { message: Some(Message::Change(change)) })
}

fn progress(revision: u64) -> Result<v1::WatchReply, Status> {
    Ok(v1::WatchReply { message: Some(Message::Progress(v1::Progress { revision })) })
}

fn broken<T>() -> Result<T, Status> {
    Err(Status::unavailable("connection reset"))
}

async fn masters() -> FakeMasters {
    let masters = FakeMasters::start(2).await;
    masters.cell.lock().leader = Some(1);
    masters
}

#[tokio::test]
async fn a_watch_goes_on_where_it_broke_and_shows_nothing_twice() {
    let masters = masters().await;
    masters.cell.lock().watches = [
        vec![progress(4), change(5), change(7), broken()],
        vec![],
        vec![change(7), change(9), progress(12), broken()],
        vec![change(13)],
    ]
    .into();
    let mut watch = masters.client_from(0).jobs().watch(None, None);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(match watch.next().await.expect("goes on") {
            WatchItem::Change(change) => change.revision,
            WatchItem::Progress(revision) => revision.0,
            WatchItem::Resync { .. } => panic!("nothing was lost"),
        });
    }
    assert_eq!(seen, [4, 5, 7, 9, 12, 13]);
    assert_eq!(watch.seen(), Revision(13));
    assert_eq!(masters.cell.lock().watched_after, [0, 7, 7, 12]);
}

#[tokio::test]
async fn a_watch_by_name_stays_with_the_job_that_had_the_name_first() {
    let masters = masters().await;
    masters.cell.lock().watches = [vec![change(105), broken()], vec![change(106)]].into();
    let mut watch = masters.client_from(1).jobs().watch(Some(Revision(100)), Some("hello".into()));
    assert!(matches!(watch.next().await, Ok(WatchItem::Change(change)) if change.revision == 105));
    // Another job has the name by now.
    masters.cell.lock().others = 230;
    assert!(matches!(watch.next().await, Ok(WatchItem::Change(change)) if change.revision == 106));
    assert_eq!(masters.cell.lock().watched_of, ["101-0", "101-0"]);
}

#[tokio::test]
async fn a_watch_whose_past_is_gone_says_so() {
    let masters = masters().await;
    let resync = v1::Resync { revision: 90, oldest_revision: 60 };
    masters.cell.lock().watches =
        [vec![Ok(v1::WatchReply { message: Some(Message::Resync(resync)) })]].into();
    let mut watch = masters.client_from(1).jobs().watch(Some(Revision(3)), Some("hello".into()));
    assert_eq!(watch.next().await.expect("answered"), WatchItem::Resync { oldest: Revision(60) });
    assert_eq!(masters.cell.lock().watched_after, [3]);
}

#[tokio::test]
async fn a_watch_that_breaks_again_and_again_is_told_to_the_caller_and_can_go_on() {
    let masters = masters().await;
    masters.cell.lock().watches = vec![vec![broken()]; 8].into();
    masters.cell.lock().watches.push_back(vec![change(2)]);
    let mut watch = masters.client_from(1).jobs().watch(Some(Revision(1)), None);
    let error = watch.next().await.expect_err("broken");
    assert_eq!(error.class(), Class::Retry);
    assert!(matches!(watch.next().await.expect("goes on"), WatchItem::Change(_)));
}

#[tokio::test]
async fn output_goes_on_at_the_byte_where_it_broke() {
    let masters = masters().await;
    let piece = |offset, data: &'static str, end| {
        let (data, uid) = (data.as_bytes().into(), Some(v1::JobUid { revision: 7, ordinal: 0 }));
        Ok(v1::LogsReply { revision: 8, attempt: 2, offset, data, end, uid })
    };
    masters.cell.lock().logs = [
        vec![piece(0, "", false), piece(0, "one ", false), broken()],
        // A master that begins too early does not make us print a byte twice.
        vec![piece(4, "", false), piece(2, "e two", true), piece(7, "never", true)],
    ]
    .into();
    let mut logs = masters.client_from(1).jobs().logs("hello", LogsOf { follow: true, ..LogsOf::default() });
    let mut text = Vec::new();
    while let Some(piece) = logs.next().await.expect("goes on") {
        text.extend_from_slice(&piece.data);
    }
    assert_eq!(String::from_utf8(text).expect("text"), "one two");
    assert_eq!(masters.cell.lock().logged_from, [0, 4]);
    let named = masters.cell.lock().logged_of.clone();
    assert_eq!(
        named,
        ["hello", "7-0"],
        "a stream that broke goes on with its job, whoever has the name by then"
    );
}
