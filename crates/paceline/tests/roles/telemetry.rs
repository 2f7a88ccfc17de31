//! What every role says about itself: its three endpoints, its health port, numbers that move, and the days left of
//! certificates, those of the other masters too.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use paceline_identity::Role;
use paceline_master::Founder;
use paceline_rules::JobSpec;
use paceline_store::RocksDisk;
use paceline_types::Resources;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::calls::Caller;
use crate::cell::{PATIENCE, TestCell, free_port};

const LOOK: Duration = Duration::from_millis(200);

/// The value of one series of an exposition.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until all series are above zero; fails with those that are not.
async fn all_move(caller: &Caller, series: &[&str]) {
    let moved = async {
        loop {
            let metrics = caller.get("/metrics").await;
            let still: Vec<&&str> = series
                .iter()
                .filter(|series| value(&metrics, series).is_none_or(|value| value <= 0.0))
                .collect();
            if still.is_empty() {
                return;
            }
            sleep(LOOK).await;
        }
    };
    if timeout(PATIENCE, moved).await.is_err() {
        panic!("not all of {series:?} moved:\n{}", caller.get("/metrics").await);
    }
}

/// The whole answer of a health port.
async fn probe(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_serves_health_and_metrics_and_its_numbers_move() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    let (shard_port, agent_port) = (free_port(), free_port());
    let shard = cell.shard(&master, Some(shard_port)).await;
    let agent = cell.agent(shard, Some(agent_port)).await;
    let client = cell.client(Role::User, &master);
    let job = JobSpec::batch("j", 3, &["/bin/true"], Resources::new(1 << 40, 1 << 60));
    client.jobs().submit(&job).await.unwrap();
    assert!(client.jobs().get("none").await.is_err());

    let user = cell.credentials(Role::User, "ada");
    let caller = |address: SocketAddr, role| Caller::new(user.clone(), address, role);
    let of_master = [
        "paceline_identity_certificate_left_days",
        "paceline_disk_free_bytes",
        "paceline_raft_term",
        "paceline_raft_leader",
        "paceline_raft_applied",
        "paceline_raft_log_bytes_total",
        "paceline_raft_proposals_total{outcome=\"ok\"}",
        "paceline_raft_propose_seconds_count",
        "paceline_cell_applied_entries_total",
        "paceline_cell_apply_seconds_count",
        "paceline_cell_task_transitions_total{to=\"pending\"}",
        "paceline_schedule_passes_total",
        "paceline_schedule_pass_seconds_count",
        "paceline_schedule_pending_tasks",
        "paceline_link_sessions",
        "paceline_link_messages_total{direction=\"received\"}",
        "paceline_link_messages_total{direction=\"sent\"}",
        "paceline_api_submit_seconds_count",
        "paceline_api_calls_total{outcome=\"ok\"}",
        "paceline_api_calls_total{outcome=\"refused\"}",
    ];
    all_move(&caller(master.api, Role::Master), &of_master).await;
    let of_links = [
        "paceline_identity_certificate_left_days",
        "paceline_link_sessions",
        "paceline_link_messages_total{direction=\"received\"}",
        "paceline_link_messages_total{direction=\"sent\"}",
    ];
    all_move(&caller(shard, Role::Shard), &of_links).await;
    all_move(&caller(agent, Role::Agent), &of_links).await;

    for (address, role) in [(master.api, Role::Master), (shard, Role::Shard), (agent, Role::Agent)] {
        for path in ["/healthz", "/readyz"] {
            let answer = caller(address, role).get(path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{role} {path}: {answer}");
        }
    }
    for port in [shard_port, agent_port] {
        for path in ["/healthz", "/readyz"] {
            let answer = probe(port, path).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        }
        assert!(
            probe(port, "/metrics").await.unwrap().starts_with("HTTP/1.1 404"),
            "no numbers without a certificate"
        );
    }
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_left_of_every_masters_certificate_stand_in_the_status() {
    let mut cell = TestCell::new();
    // Half a day more than the whole days that are expected.
    for (name, days) in [("m2", 10), ("m3", 200)] {
        let life = Duration::from_secs(days * 86_400 + 43_200);
        let issued = cell.authority().issue(Role::Master, name, life).unwrap();
        issued.write(&cell.folder_of(Role::Master, name)).unwrap();
    }
    let mut founders = Vec::new();
    for name in ["m2", "m3"] {
        let disk = Arc::new(RocksDisk::open(&cell.path(&format!("{name}-data"))).unwrap());
        let master = cell.master_on(name, disk, None).await;
        let (peer_address, api_address) = (master.peer.to_string(), master.api.to_string());
        founders.push(Founder { name: name.into(), peer_address, api_address });
    }
    let disk = Arc::new(RocksDisk::open(&cell.path("m1-data")).unwrap());
    let first = cell.master_on("m1", disk, Some(founders)).await;
    let client = cell.client(Role::User, &first);
    let days = async {
        loop {
            let mut masters = client.cell().status().await.unwrap().masters;
            masters.sort_by(|one, other| one.name.cmp(&other.name));
            let days: Option<Vec<i64>> = masters.iter().map(|master| master.certificate_days_left).collect();
            match days {
                Some(days) if days.len() == 3 => return days,
                _ => sleep(LOOK).await,
            }
        }
    };
    let days = timeout(PATIENCE, days).await.expect("the leader has dialled all");
    // `ca issue` gives a year, of which a moment has passed, or not even that.
    assert!([364, 365].contains(&days[0]) && days[1..] == [10, 200], "{days:?}");
    cell.end().await;
}
