//! Output of tasks on its way through a shard: any master asks, the node answers, nobody else.

use std::time::Duration;

use paceline_api::v1::agent_link_client::AgentLinkClient;
use paceline_api::v1::{LogFailure, LogPiece, LogRequest};
use paceline_identity::{Expect, Role, channel};
use paceline_link::ShardLimits;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::cell::{Cell, PATIENCE, Shard};
use super::master::{LogLink, Master};

/// An agent's end of its stream for output.
struct AgentLogs {
    say: mpsc::Sender<LogPiece>,
    asked: Streaming<LogRequest>,
}

impl AgentLogs {
    async fn dial(cell: &Cell, name: &str, shard: &Shard, node: &str) -> Result<Self, Status> {
        let expect = Expect::named(Role::Shard, "s");
        let channel = channel(cell.connector(Role::Agent, name), &shard.address, expect);
        let (say, said) = mpsc::channel(8);
        let first = LogPiece { node: node.to_owned(), ..LogPiece::default() };
        say.send(first).await.expect("room");
        let call = AgentLinkClient::new(channel).log_stream(ReceiverStream::new(said)).await?;
        Ok(Self { say, asked: call.into_inner() })
    }

    async fn question(&mut self) -> Result<LogRequest, Status> {
        let question = timeout(PATIENCE, self.asked.message()).await.expect("in time")?;
        question.ok_or_else(|| Status::ok("the stream ended"))
    }

    async fn answer(&self, ticket: u64, data: &'static str) {
        let piece = LogPiece { ticket, offset: 5, data: data.into(), ..LogPiece::default() };
        self.say.send(piece).await.expect("an open stream");
    }
}

/// Asks until the shard knows the node: its stream and the question race. The piece that is not a miss.
async fn ask(link: &mut LogLink, agent: &mut AgentLogs, ticket: u64) -> u64 {
    for ticket in (ticket..).step_by(10) {
        link.ask(ticket, "n").await;
        tokio::select! {
            question = agent.question() => {
                let question = question.expect("a question");
                assert_eq!((question.ticket, question.offset, question.stderr), (ticket, 5, true));
                return ticket;
            }
            piece = link.piece() => assert_eq!(piece.failure(), LogFailure::NodeNotHere, "{}", piece.error),
        }
        sleep(Duration::from_millis(20)).await;
    }
    unreachable!("the loop has no end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_master_asks_and_each_gets_its_own_piece() {
    let cell = Cell::new();
    let leader = Master::leader(&cell, "m1").await;
    let follower = Master::follower(&cell, "m2", "m1", &leader.address).await;
    let shard = cell.shard(&[&leader.address, &follower.address], ShardLimits::default()).await;
    let (mut of_leader, mut of_follower) = (leader.log_link().await, follower.log_link().await);
    let mut agent = AgentLogs::dial(&cell, "n", &shard, "n").await.expect("let in");
    let one = ask(&mut of_leader, &mut agent, 1).await;
    let two = ask(&mut of_follower, &mut agent, 2).await;
    agent.answer(99, "nobody asked for this").await;
    agent.answer(two, "for m2").await;
    agent.answer(two, "and again").await;
    agent.answer(one, "for m1").await;
    let piece = of_leader.piece().await;
    assert_eq!((piece.ticket, piece.node.as_str(), &piece.data[..]), (one, "n", &b"for m1"[..]));
    let piece = of_follower.piece().await;
    assert_eq!((piece.ticket, &piece.data[..]), (two, &b"for m2"[..]));
    of_follower.ask(500, "elsewhere").await;
    let piece = of_follower.piece().await;
    assert_eq!(
        (piece.ticket, piece.failure()),
        (500, LogFailure::NodeNotHere),
        "no second answer came before it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_goes_away_leaves_no_master_waiting() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let mut link = master.log_link().await;
    let mut agent = AgentLogs::dial(&cell, "n", &shard, "n").await.expect("let in");
    let ticket = ask(&mut link, &mut agent, 1).await;
    drop(agent);
    let piece = link.piece().await;
    assert_eq!((piece.ticket, piece.failure()), (ticket, LogFailure::StreamEnded), "{}", piece.error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_answers_for_its_own_node_only() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let mut thief = AgentLogs::dial(&cell, "n", &shard, "other").await.expect("the call is allowed");
    assert_eq!(thief.question().await.expect_err("refused").code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_lost_is_dialled_again_and_a_shard_that_leaves_ends_the_streams() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let first = master.log_link().await;
    drop(first);
    let mut link = master.log_link().await;
    let mut agent = AgentLogs::dial(&cell, "n", &shard, "n").await.expect("let in");
    let ticket = ask(&mut link, &mut agent, 1).await;
    agent.answer(ticket, "still here").await;
    assert_eq!(&link.piece().await.data[..], b"still here");
    let leaving = tokio::spawn(shard.leave());
    assert_eq!(agent.question().await.expect_err("closed").code(), Code::Unavailable);
    leaving.await.expect("no panic").expect("in good order");
}
