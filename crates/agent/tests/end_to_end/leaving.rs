//! Agents that leave, die, come back, and folders that are not theirs.

use paceline_types::BootId;

use crate::rig::{Rig, eventually, exited, id, observed, run_one};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_not_acknowledged_is_reported_again_after_a_restart() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    let mut session = shard.session().await;
    let first = session.hello.session;
    session.welcome().await;
    session.report().await;
    session.send(run_one(7)).await;
    session.report().await;
    rig.runtime.exit(id(7), 3);
    assert_eq!(observed(&session.report().await, 7), Some(exited(3)));
    agent.leave().await;

    let agent = rig.start(&[&shard.address]).await;
    let mut session = shard.session().await;
    assert!(session.hello.session > first);
    assert_eq!(session.hello.fence.revision.0, 50, "the fence came back too");
    session.welcome().await;
    let table = session.report().await;
    assert_eq!((table.sequence, table.table_complete), (1, true));
    assert_eq!(observed(&table, 7), Some(exited(3)));
    session.send(run_one(7)).await;
    session.acknowledge(&table).await;
    eventually("forgotten", || rig.runtime.forgotten() == [id(7)]).await;
    assert_eq!(rig.runtime.launches().len(), 1);
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_tasks_that_outlived_their_agent_are_reported_by_the_next() {
    let rig = Rig::new();
    let (mut shard, agent, mut session) = rig.joined().await;
    session.send(run_one(7)).await;
    session.report().await;
    agent.kill().await;
    assert_eq!(rig.runtime.stops(), []);
    rig.runtime.exit(id(7), 4);

    let agent = rig.start(&[&shard.address]).await;
    let mut session = shard.session().await;
    session.welcome().await;
    assert_eq!(observed(&session.report().await, 7), Some(exited(4)));
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_leaves_says_goodbye_and_lets_its_tasks_go_on() {
    let rig = Rig::new();
    let (_shard, agent, mut session) = rig.joined().await;
    session.send(run_one(7)).await;
    session.report().await;
    let (clean, ()) = tokio::join!(
        async {
            let clean = session.ended_cleanly().await;
            drop(session);
            clean
        },
        agent.leave()
    );
    assert!(clean);
    assert_eq!(rig.runtime.stops(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_in_the_folder_does_not_start() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    shard.session().await;
    let text = rig.refusal(rig.config(&[&shard.address], &[])).await;
    assert!(text.contains("held by another agent"), "{text}");
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_node_or_cell_does_not_start() {
    let rig = Rig::new();
    let mut config = rig.config(&["127.0.0.1:1"], &[]);
    config.node = "n2".parse().unwrap();
    let text = rig.refusal(config).await;
    assert!(text.contains("node n2 of cell c1") && text.contains("spiffe://c1/agent/n1"), "{text}");
    let mut config = rig.config(&["127.0.0.1:1"], &[]);
    config.cell = "c2".to_owned();
    assert!(rig.refusal(config).await.contains("cell c2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_any_address_does_not_start() {
    let rig = Rig::new();
    assert!(rig.refusal(rig.config(&[], &[])).await.contains("neither a shard nor a master"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_table_does_not_start_and_is_named() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    shard.session().await;
    agent.leave().await;
    let path = rig.dir.path().join("data/agent/orders");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let text = rig.refusal(rig.config(&[&shard.address], &[])).await;
    assert!(text.contains("agent/orders is damaged") && text.contains("node replace"), "{text}");
    let mut config = rig.config(&[&shard.address], &[]);
    config.boot = BootId([9; 16]);
    let agent = rig.start_with(config).await;
    shard.session().await;
    agent.leave().await;
}
