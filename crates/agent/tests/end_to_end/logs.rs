//! Output of tasks through the stream beside the link.

use paceline_api::v1::LogFailure;
use paceline_link::message::LogRequest;

use crate::rig::{Rig, id, run_one};

fn question(ticket: u64, task: u32, offset: u64) -> LogRequest {
    let node = "n1".parse().unwrap();
    LogRequest { ticket, node, attempt: id(task), stderr: ticket.is_multiple_of(2), offset, max_bytes: 6 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_answered_piece_by_piece_and_refusals_say_why() {
    let rig = Rig::new();
    let (mut shard, agent, mut session) = rig.joined().await;
    session.send(run_one(7)).await;
    session.report().await;
    let mut logs = shard.logs.recv().await.expect("the agent dials it");
    let first = logs.piece().await;
    assert_eq!((first.ticket, first.node.as_str()), (0, "n1"));
    let piece = logs.ask(question(1, 7, 0)).await;
    assert_eq!((piece.ticket, &piece.data[..], piece.end), (1, &b"Stdout"[..], false));
    let piece = logs.ask(question(2, 7, 6)).await;
    assert_eq!((piece.ticket, piece.offset, &piece.data[..]), (2, 6, &b" of 40"[..]));
    let refused = logs.ask(question(3, 8, 0)).await;
    assert!(refused.ticket == 3 && refused.error.contains("not on this node"), "{}", refused.error);
    assert_eq!(refused.failure(), LogFailure::NoOutput, "whoever asks may wait for it");
    let mut other = question(4, 7, 0);
    other.node = "n2".parse().unwrap();
    assert!(logs.ask(other).await.error.contains("this is node n1"));
    agent.leave().await;
}
