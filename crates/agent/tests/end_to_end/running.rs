//! Tasks from an order to a committed end.

use paceline_identity::Role;
use paceline_link::message::{AgentMessage, AgentOrder, Hello, Observed, Orders};
use paceline_types::{IndexRange, LinkSession, Term};

use crate::fake_runtime::FakeRuntime;
use crate::rig::{Rig, eventually, exited, id, observed, run_one, runs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_to_its_end_and_is_forgotten_once_that_is_acknowledged() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    let mut session = shard.session().await;
    session.welcome().await;
    let table = session.report().await;
    assert!(table.table_complete && table.runs.is_empty());
    session.send(run_one(7)).await;
    let running = session.report().await;
    assert_eq!(observed(&running, 7), Some(Observed::Running));
    assert_eq!(running.runs[0].pids, [70]);
    let launch = rig.runtime.launches().remove(0);
    assert_eq!((launch.attempt, launch.job_name.as_str(), launch.task_count), (id(7), "hello", 10_000));
    assert_eq!(launch.run, ["/bin/true", "x"]);
    rig.runtime.exit(id(7), 3);
    let ended = session.report().await;
    assert_eq!((observed(&ended, 7), ended.sequence), (Some(exited(3)), running.sequence + 1));
    assert!(rig.runtime.forgotten().is_empty());
    session.acknowledge(&ended).await;
    eventually("forgotten", || rig.runtime.forgotten() == [id(7)]).await;
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hello_says_who_speaks_through_whom_and_is_signed() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    let session = shard.session().await;
    let hello = &session.hello;
    assert_eq!(
        (hello.node.as_str(), hello.session, hello.labels["rack"].as_str()),
        ("n1", LinkSession(1), "r1")
    );
    assert_eq!(hello.capabilities, ["no memory_limit: a test"]);
    assert_eq!(session.peer.principal(), "agent/n1");
    let master = rig.credentials(Role::Master, "m1");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let verify = |shard: &str| {
        let message = Hello::signed_bytes("c1", hello, &shard.parse().unwrap());
        master.verify_signed(&hello.certificate_der, &message, &hello.signature, now)
    };
    assert_eq!(verify("s1").unwrap().principal(), "agent/n1");
    assert!(verify("s2").is_err(), "not through another shard");
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_quiet_is_heard_all_the_same() {
    let rig = Rig::new();
    let (_shard, agent, mut session) = rig.joined().await;
    for _ in 0..3 {
        assert_eq!(session.receive().await, Some(AgentMessage::Alive));
    }
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_of_the_past_starts_and_stops_nothing() {
    let rig = Rig::new();
    let (_shard, agent, mut session) = rig.joined().await;
    let mut orders = runs(IndexRange::new(0, 0).unwrap());
    orders.token.term = Term(5);
    session.send(AgentOrder::Orders(orders)).await;
    session.report().await;
    let mut stale: Orders = runs(IndexRange::new(1, 1).unwrap());
    stale.token.term = Term(4);
    session.send(AgentOrder::Orders(stale)).await;
    let mut next = runs(IndexRange::new(0, 0).unwrap());
    next.token.term = Term(5);
    next.runs[0].tasks =
        [IndexRange::new(0, 0).unwrap(), IndexRange::new(2, 2).unwrap()].into_iter().collect();
    session.send(AgentOrder::Orders(next)).await;
    let report = session.report().await;
    assert_eq!(observed(&report, 2), Some(Observed::Running), "came after the stale order");
    assert!(rig.runtime.stops().is_empty());
    assert!(rig.runtime.launches().iter().all(|launch| launch.attempt != id(1)));
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cell_no_longer_assigns_is_stopped() {
    let rig = Rig::new();
    let (_shard, agent, mut session) = rig.joined().await;
    session.send(run_one(0)).await;
    session.report().await;
    session.send(run_one(1)).await;
    eventually("stopped", || rig.runtime.stops() == [(id(0), 10_000)]).await;
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_short_tasks_flow_in_batches() {
    const TASKS: u32 = 5_000;
    let rig = Rig::with_runtime(FakeRuntime::new(true));
    let (_shard, agent, mut session) = rig.joined().await;
    session.send(AgentOrder::Orders(runs(IndexRange::new(0, TASKS - 1).unwrap()))).await;
    let (mut ended, mut reports) = (0, 0);
    while ended < u64::from(TASKS) {
        let report = session.report().await;
        reports += 1;
        let ends = report.runs.iter().filter(|run| run.observed == exited(0));
        ended += ends.map(|run| run.tasks.count()).sum::<u64>();
        session.acknowledge(&report).await;
    }
    assert_eq!(ended, u64::from(TASKS), "each once");
    assert!(reports < TASKS / 2, "{reports} reports for {TASKS} tasks");
    eventually("all forgotten", || rig.runtime.forgotten().len() == TASKS as usize).await;
    agent.leave().await;
}
