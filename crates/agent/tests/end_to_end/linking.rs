//! Which shard an agent speaks through, and what it does when that one is gone.

use std::time::Duration;

use paceline_identity::Role;
use paceline_link::home;
use paceline_link::message::{AgentOrder, ShardList};
use tokio::time::Instant;

use crate::fake_shard::start_master;
use crate::rig::{Rig, list};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_shard_died_goes_to_the_next() {
    let rig = Rig::new();
    let (mut one, mut other) = (rig.shard("s1").await, rig.shard("s2").await);
    let agent = rig.start(&[&one.address, &other.address]).await;
    let (session, died) = tokio::select! {
        session = one.session() => (session, true),
        session = other.session() => (session, false),
    };
    session.welcome().await;
    let first = session.hello.session;
    let mut left = if died {
        one.kill();
        other
    } else {
        other.kill();
        one
    };
    drop(session);
    assert!(left.session().await.hello.session > first);
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_shards_asks_a_master() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let shards = list(9, &[("s1", &shard.address)]);
    let master = start_master(rig.credentials(Role::Master, "m1"), shards).await;
    let agent = rig.start_with(rig.config(&[], &["127.0.0.1:1", &master])).await;
    shard.session().await;
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_where_another_shard_answers_gets_no_hello() {
    let rig = Rig::new();
    let (mut impostor, mut shard) = (rig.shard("s2").await, rig.shard("s1").await);
    let agent = rig.start(&[&shard.address]).await;
    let session = shard.session().await;
    // The list is wrong about the address of s1; the configured one is right.
    session.send(AgentOrder::Shards(list(9, &[("s1", &impostor.address)]))).await;
    session.send(refused(1)).await;
    tokio::select! {
        _ = impostor.session() => panic!("a Hello went to the wrong shard"),
        _ = async { for _ in 0..3 { shard.session().await.send(refused(1)).await; } } => {}
    }
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_stays_silent_does_not_keep_an_agent_from_the_next() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    // Connections are taken by the kernel, and nobody ever reads them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [silent.local_addr().unwrap().to_string(), shard.address.clone()];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut config = rig.config(&[&addresses[first], &addresses[second]], &[]);
        config.timings.connect_ms = 3_600_000;
        let agent = rig.start_with(config).await;
        shard.session().await;
        agent.leave().await;
    }
}

fn refused(retry_after_ms: u64) -> AgentOrder {
    AgentOrder::Refused { message: "a test".into(), retry_after_ms }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_agent_does_not_come_again_before_its_time() {
    let rig = Rig::new();
    let mut shard = rig.shard("s1").await;
    let agent = rig.start(&[&shard.address]).await;
    let session = shard.session().await;
    let refused_at = Instant::now();
    session.send(refused(1_500)).await;
    let again = shard.session().await;
    assert!(again.began - refused_at >= Duration::from_millis(1_500));
    agent.leave().await;
}

/// A list under which the node's home is `home`, and the move to it comes soon.
fn soon_home(home: (&str, &str), other: (&str, &str)) -> Option<ShardList> {
    let node = "n1".parse().unwrap();
    let shards = list(1, &[home, other]);
    if home::home(&node, &shards)?.name.as_str() != home.0 {
        return None;
    }
    (1..100_000)
        .map(|version| list(version, &[home, other]))
        .find(|shards| home::move_delay_ms(&node, shards) < 50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_moves_to_its_home_when_the_list_says_so_and_home_answers() {
    let rig = Rig::new();
    let (one, other) = (rig.shard("s1").await, rig.shard("s2").await);
    let lists = [
        soon_home(("s1", &one.address), ("s2", &other.address)),
        soon_home(("s2", &other.address), ("s1", &one.address)),
    ];
    let one_is_home = lists[0].is_some();
    let shards = lists.into_iter().flatten().next().expect("one of two is the home");
    let (mut home, mut away) = if one_is_home { (one, other) } else { (other, one) };
    let agent = rig.start(&[&away.address]).await;
    let mut session = away.session().await;
    session.welcome().await;
    session.report().await;
    session.send(AgentOrder::Shards(shards)).await;
    let mut moved = home.session().await;
    assert!(moved.hello.session > session.hello.session);
    assert!(session.ended_cleanly().await);
    moved.welcome().await;
    assert!(moved.report().await.table_complete);
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_stays_where_it_is_while_its_home_does_not_answer() {
    let rig = Rig::new();
    let mut away = rig.shard("s1").await;
    // A name under which the dead address is the node's home.
    let dead = (2..)
        .map(|number| format!("s{number}"))
        .find_map(|name| soon_home((&name, "127.0.0.1:1"), ("s1", &away.address)));
    let agent = rig.start(&[&away.address]).await;
    let mut session = away.session().await;
    session.welcome().await;
    session.report().await;
    session.send(AgentOrder::Shards(dead.expect("some name ranks above s1"))).await;
    for _ in 0..5 {
        let alive = session.receive().await;
        assert!(matches!(alive, Some(paceline_link::message::AgentMessage::Alive)), "{alive:?}");
    }
    agent.leave().await;
}
