//! Tickets between readers and shards without a network.

use super::*;
use paceline_types::{Attempt, AttemptId, JobUid, TaskIndex};

fn shard(name: &str) -> ShardName {
    name.parse().expect("a name")
}

fn question() -> LogRequest {
    let job: JobUid = "7-0".parse().expect("a uid");
    let attempt = AttemptId { job, task: TaskIndex(3), attempt: Attempt(1) };
    let node = "n".parse().expect("a name");
    LogRequest { ticket: 0, node, attempt, stderr: false, offset: 10, max_bytes: 4 }
}

fn piece(ticket: u64, offset: u64, data: &'static str) -> LogPiece {
    LogPiece { ticket, offset, data: data.into(), ..LogPiece::default() }
}

fn open(relay: &LogRelay, name: &str) -> (u64, mpsc::Receiver<Question>) {
    let (questions, asked) = mpsc::channel(4);
    (relay.opened(shard(name), questions, CancellationToken::new()), asked)
}

async fn asked(questions: &mut mpsc::Receiver<Question>) -> u64 {
    questions.recv().await.expect("a question").expect("no end").ticket
}

#[tokio::test]
async fn a_piece_comes_back_to_whoever_asked_and_its_ticket_is_spent() {
    let relay = LogRelay::new();
    let (stream, mut questions) = open(&relay, "a");
    let name = shard("a");
    let answer = async {
        let ticket = asked(&mut questions).await;
        relay.answered(stream, piece(ticket, 10, "abc"));
        relay.answered(stream, piece(ticket, 10, "xyz"));
    };
    let (piece, ()) = tokio::join!(relay.ask(&name, question()), answer);
    assert_eq!(piece.expect("a piece").data, "abc");
    assert!(relay.state().open.is_empty());
}

#[tokio::test]
async fn a_ticket_of_one_shard_is_worth_nothing_to_another() {
    let relay = LogRelay::new();
    let (right, mut questions) = open(&relay, "a");
    let (wrong, _b) = open(&relay, "b");
    let name = shard("a");
    let answer = async {
        let ticket = asked(&mut questions).await;
        relay.answered(wrong, piece(ticket, 10, "bad"));
        relay.answered(right, piece(ticket.wrapping_add(1), 10, "bad"));
        relay.answered(right, piece(ticket, 12, "good"));
    };
    let (piece, ()) = tokio::join!(relay.ask(&name, question()), answer);
    assert_eq!(piece.expect("a piece").data, "good");
}

#[tokio::test]
async fn a_stream_that_ends_answers_its_questions_at_once() {
    let relay = LogRelay::new();
    let (stream, mut questions) = open(&relay, "a");
    let name = shard("a");
    let end = async {
        asked(&mut questions).await;
        relay.ended(&name, stream);
    };
    let (piece, ()) = tokio::join!(relay.ask(&name, question()), end);
    assert_eq!(piece, Err(Unanswered::StreamEnded));
    assert_eq!(relay.ask(&name, question()).await, Err(Unanswered::ShardAway(name.clone())));
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_an_older_one_whose_end_harms_nothing() {
    let relay = LogRelay::new();
    let (older, mut silent) = open(&relay, "a");
    let (_newer, mut questions) = open(&relay, "a");
    relay.ended(&shard("a"), older);
    assert_eq!(relay.shards(), [shard("a")]);
    let name = shard("a");
    let mut asking = Box::pin(relay.ask(&name, question()));
    assert!(futures::poll!(&mut asking).is_pending());
    assert!(questions.try_recv().is_ok() && silent.try_recv().is_err());
}

#[tokio::test]
async fn whoever_gives_up_leaves_no_ticket_behind() {
    let relay = LogRelay::new();
    let (_stream, _questions) = open(&relay, "a");
    let name = shard("a");
    let mut asking = Box::pin(relay.ask(&name, question()));
    assert!(futures::poll!(&mut asking).is_pending());
    assert_eq!(relay.state().open.len(), 1);
    drop(asking);
    assert!(relay.state().open.is_empty());
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let name = shard("a");
    for wrong in [piece(1, 9, "abc"), piece(1, 10, "abcde")] {
        assert!(matches!(checked(&name, 10, 4, wrong), Err(Unanswered::Unreadable(_))));
    }
    assert!(checked(&name, 10, 4, piece(1, 99, "abcd")).is_ok(), "rotation may have removed the beginning");
    let failure = |failure: LogFailure| {
        let piece = LogPiece { error: "why".to_owned(), failure: failure.into(), ..LogPiece::default() };
        checked(&name, 10, 4, piece).expect_err("no piece")
    };
    assert_eq!(failure(LogFailure::NodeNotHere), Unanswered::NodeNotHere(name.clone()));
    assert_eq!(failure(LogFailure::NoOutput), Unanswered::NoOutput("why".to_owned()));
    assert_eq!(failure(LogFailure::Unspecified), Unanswered::Unreadable("why".to_owned()));
}
