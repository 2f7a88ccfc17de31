//! What travels through a shard, and what does not.

use paceline_identity::Role;
use paceline_link::ShardLimits;
use paceline_link::message::{AgentMessage, AgentOrder, Observed, Report, ReportRun, ShardMessage};
use paceline_types::{
    Attempt, ExitStatus, IndexSet, JobUid, LinkSession, NodeEpoch, NodeId, Reason, Revision,
};
use tonic::Code;

use super::agent::{Agent, hello};
use super::cell::Cell;
use super::master::{Link, Master};

fn report(sequence: u64, tasks: &str) -> Report {
    let run = ReportRun {
        job: JobUid { revision: Revision(3), ordinal: 0 },
        attempt: Attempt(1),
        tasks: tasks.parse::<IndexSet>().expect("indices"),
        observed: Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero },
        pids: Vec::new(),
    };
    Report { sequence, runs: vec![run], table_complete: true }
}

async fn hears_hello(link: &mut Link, session: u64) {
    let expected = ShardMessage::NodeHello(Box::new(hello("n", session)));
    assert_eq!(link.hear().await, expected);
}

fn said(session: u64, report: Report) -> ShardMessage {
    let node = "n".parse().expect("a name");
    ShardMessage::NodeReport { node, session: LinkSession(session), report }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_and_the_leader_speak_through_the_shard() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let mut link = master.link().await;
    link.welcome().await;
    let mut agent = Agent::connect(&cell, Role::Agent, "n", &shard).await.expect("let in");
    agent.hello(hello("n", 1)).await;
    hears_hello(&mut link, 1).await;
    let welcome = AgentOrder::Welcome { node: NodeId(4), epoch: NodeEpoch(1), heartbeat_ms: 1_000 };
    link.order("n", 1, welcome.clone()).await;
    assert_eq!(agent.hear().await.expect("an order"), welcome);
    agent.say(AgentMessage::Report(report(1, "0-2"))).await;
    assert_eq!(link.hear().await, said(1, report(1, "0-2")));
    link.order("n", 9, AgentOrder::Acknowledge { sequence: 1 }).await;
    link.order("n", 1, AgentOrder::Acknowledge { sequence: 1 }).await;
    assert_eq!(agent.hear().await.expect("an order"), AgentOrder::Acknowledge { sequence: 1 });
    drop(agent);
    let gone = ShardMessage::NodeGone { node: "n".parse().expect("a name"), session: LinkSession(1) };
    assert_eq!(link.hear().await, gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_keeps_the_agents_and_the_next_hears_what_is_not_acknowledged() {
    let cell = Cell::new();
    let (first, second) = (Master::leader(&cell, "m1").await, Master::leader(&cell, "m2").await);
    let shard = cell.shard(&[&first.address, &second.address], ShardLimits::default()).await;
    let mut link = first.link().await;
    link.welcome().await;
    let mut agent = Agent::connect(&cell, Role::Agent, "n", &shard).await.expect("let in");
    agent.hello(hello("n", 1)).await;
    hears_hello(&mut link, 1).await;
    agent.say(AgentMessage::Report(report(1, "0-2"))).await;
    link.hear().await;
    link.order("n", 1, AgentOrder::Acknowledge { sequence: 1 }).await;
    agent.hear().await.expect("acknowledged");
    agent.say(AgentMessage::Report(report(2, "3"))).await;
    link.hear().await;
    drop(link);
    first.kill();
    agent.say(AgentMessage::Report(report(3, "4"))).await;
    let mut link = second.link().await;
    link.welcome().await;
    hears_hello(&mut link, 1).await;
    let mut heard = Vec::new();
    while !heard.contains(&4) {
        let ShardMessage::NodeReport { report, .. } = link.hear().await else { panic!("a report") };
        heard.extend(report.runs.iter().flat_map(|run| run.tasks.iter()).map(|task| task.0));
    }
    assert_eq!(heard, [3, 4]);
    link.order("n", 1, AgentOrder::Acknowledge { sequence: 3 }).await;
    assert_eq!(agent.hear().await.expect("the same stream"), AgentOrder::Acknowledge { sequence: 3 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_and_the_shard_goes_there() {
    let cell = Cell::new();
    let leader = Master::leader(&cell, "m2").await;
    let follower = Master::follower(&cell, "m1", "m2", &leader.address).await;
    let _shard = cell.shard(&[&follower.address], ShardLimits::default()).await;
    leader.link().await.welcome().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_is_left_for_the_next() {
    let cell = Cell::new();
    let (paused, next) = (Master::leader(&cell, "m1").await, Master::leader(&cell, "m2").await);
    let limits = ShardLimits { heartbeat_ms: 100, ..ShardLimits::default() };
    let _shard = cell.shard(&[&paused.address, &next.address], limits).await;
    let _silent = paused.link().await;
    next.link().await.welcome().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_speaks_for_its_own_node_only() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let mut agent = Agent::connect(&cell, Role::Agent, "n", &shard).await.expect("let in");
    agent.hello(hello("other", 1)).await;
    let refused = agent.hear().await.expect("a reason");
    assert!(
        matches!(&refused, AgentOrder::Refused { message, .. } if message.contains("other")),
        "{refused:?}"
    );
    assert_eq!(agent.hear().await.expect_err("closed").code(), Code::Unavailable);
    let group = Agent::connect(&cell, Role::AgentGroup, "virtual-", &shard).await.expect("let in");
    group.hello(hello("virtual-7", 1)).await;
    let mut link = master.link().await;
    link.welcome().await;
    let heard = link.hear().await;
    assert!(
        matches!(&heard, ShardMessage::NodeHello(hello) if hello.node.as_str() == "virtual-7"),
        "{heard:?}"
    );
    let operator = Agent::connect(&cell, Role::Operator, "o", &shard).await;
    assert_eq!(operator.err().expect("refused").code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_hello_is_closed_in_time() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let limits = ShardLimits { hello_within_ms: 50, silence_ms: 80, ..ShardLimits::default() };
    let shard = cell.shard(&[&master.address], limits).await;
    let mut agent = Agent::connect(&cell, Role::Agent, "n", &shard).await.expect("let in");
    let refused = agent.hear().await.expect("a reason");
    assert!(
        matches!(&refused, AgentOrder::Refused { message, .. } if message.contains("no Hello")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_leaves_sends_its_agents_elsewhere_first() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let mut link = master.link().await;
    link.welcome().await;
    let mut agent = Agent::connect(&cell, Role::Agent, "n", &shard).await.expect("let in");
    agent.hello(hello("n", 1)).await;
    hears_hello(&mut link, 1).await;
    let leaving = tokio::spawn(shard.leave());
    let refused = agent.hear().await.expect("a reason");
    assert!(matches!(refused, AgentOrder::Refused { retry_after_ms: 0, .. }), "{refused:?}");
    leaving.await.expect("no panic").expect("in good order");
}
