//! Three masters on real disks with real TLS: one that was away while the log behind it was purged comes back by snapshot,
//! with every finished job, and its state is that of the others at the same revision; one that lost its folder is told so,
//! and comes back in its own place.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline_client::{CellFolder, Client, ClientId, WatchItem, v1};
use paceline_identity::{
    Authority, CERTIFICATE_LIFE, Credentials, Listener, Role, TlsConnector, TlsListener,
};
use paceline_master::{Founder, LogBudget, MasterConfig, MasterError, MasterParts, NO_RAFT_ID, Timings};
use paceline_rules::JobSpec;
use paceline_store::{HistoryStore, RocksDisk};
use paceline_types::{Resources, Revision, TaskState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What is waited for takes a moment on an idle machine; this is for a busy one.
const WITHIN: Duration = Duration::from_secs(60);

struct Master {
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MasterError>>,
}

impl Master {
    async fn stop(self) {
        // It may have ended by itself; the next line says how.
        let _ = self.end.send(());
        self.task.await.expect("no panic").expect("a clean end");
    }

    /// Why it ended by itself, with all causes.
    async fn refused(self) -> String {
        let ended = tokio::time::timeout(WITHIN, self.task).await.expect("it ends by itself");
        let error = ended.expect("no panic").expect_err("it must not go on");
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
    }
}

/// Where a master is reached; a restart uses the same ports.
#[derive(Clone, Copy)]
struct Place {
    api: SocketAddr,
    peer: SocketAddr,
}

async fn bind(address: SocketAddr, credentials: &Arc<Credentials>) -> TlsListener {
    within("a free port", async || TlsListener::bind(address, credentials.clone()).await.ok()).await
}

/// A founder under its number.
async fn start(dir: &Path, places: &[Place], at: usize) -> Master {
    start_as(dir, places, at, at as u64 + 1).await
}

/// Opens what an earlier owner in this process may still be closing.
async fn start_as(dir: &Path, places: &[Place], at: usize, raft_id: u64) -> Master {
    let name = format!("m{}", at + 1);
    let own = Arc::new(Credentials::load(&dir.join(&name)).expect("credentials"));
    let peer = Arc::new(Credentials::load_peer(&dir.join(&name)).expect("credentials"));
    let founder = |other: usize| Founder {
        name: format!("m{}", other + 1),
        peer_address: places[other].peer.to_string(),
        api_address: places[other].api.to_string(),
    };
    let config = MasterConfig {
        cell: "test".into(),
        name: name.clone(),
        raft_id,
        api_address: places[at].api.to_string(),
        peer_address: places[at].peer.to_string(),
        bootstrap: (raft_id == 1).then(|| vec![founder(1), founder(2)]),
        health_port: None,
        timings: Timings::SLOW_DISK,
        log: LogBudget { snapshot_after_bytes: 256 * 1024, tail_bytes: 0 },
    };
    let data = dir.join(format!("{name}-data"));
    let parts = MasterParts {
        disk: Arc::new(RocksDisk::open(&data).expect("a disk")),
        history: Arc::new(HistoryStore::open(&data).expect("a history")),
        api_listener: bind(places[at].api, &own).await,
        peer_listener: bind(places[at].peer, &peer).await,
        peer_connector: Arc::new(TlsConnector::new(peer)),
        credentials: own,
    };
    let (end, ended) = oneshot::channel();
    let shutdown = async move {
        // A dropped sender ends the master as well.
        let _ = ended.await;
    };
    Master { end, task: tokio::spawn(paceline_master::run(config, parts, shutdown)) }
}

async fn within<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WITHIN, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A job of some weight in the log.
fn job(name: &str, tasks: u32) -> JobSpec {
    let mut job = JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(10, 1 << 20));
    job.template.env.insert("PADDING".into(), "x".repeat(60_000));
    job
}

async fn end(client: &Client, name: &str, tasks: u32) -> u64 {
    client.jobs().submit(&job(name, tasks)).await.expect("accepted");
    client.jobs().stop(name).await.expect("stopped").revision
}

/// Where the newest snapshot of a master ends.
fn last_snapshot(dir: &Path, master: usize) -> Option<u64> {
    let folder = dir.join(format!("m{master}-data/snapshots"));
    let names = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.rsplit('-').next()?.parse().ok()).max()
}

async fn finished(client: &Client) -> Vec<(v1::JobStatus, Vec<v1::Task>)> {
    let request = v1::ListJobsRequest { retired: true, page_size: 4, ..v1::ListJobsRequest::default() };
    let mut jobs = Vec::new();
    for job in client.jobs().list(request).await.expect("a list") {
        let uid = job.uid.expect("a uid");
        let tasks =
            client.jobs().list_tasks(paceline_client::JobRef::Uid(uid.into()), &[TaskState::Killed]).await;
        // The revision is that of the view that was asked.
        jobs.push((v1::JobStatus { revision: 0, ..job }, tasks.expect("its tasks")));
    }
    jobs
}

/// Certificates and free ports for three masters.
async fn places(dir: &Path) -> Vec<Place> {
    let authority = Authority::create(&dir.join("ca"), "test").expect("authorities");
    for (role, name) in
        [(Role::Master, "m1"), (Role::Master, "m2"), (Role::Master, "m3"), (Role::Operator, "op")]
    {
        let issued = authority.issue(role, name, CERTIFICATE_LIFE).expect("a certificate");
        issued.write(&dir.join(name)).expect("written");
    }
    let mut places = Vec::new();
    for name in ["m1", "m2", "m3"] {
        let own = Arc::new(Credentials::load(&dir.join(name)).expect("credentials"));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (api, peer) = (bind(any, &own).await, bind(any, &own).await);
        places.push(Place {
            api: api.local_addr().expect("an address"),
            peer: peer.local_addr().expect("an address"),
        });
    }
    places
}

/// An operator's client that knows these addresses.
fn client_of<'a>(dir: &Path, places: impl IntoIterator<Item = &'a Place>, id: u8) -> Client {
    let api = places.into_iter().map(|place| place.api.to_string()).collect();
    let folder = CellFolder { api, masters: Vec::new(), credentials: dir.join("op") };
    let credentials = Arc::new(Credentials::load(&dir.join("op")).expect("credentials"));
    Client::new(folder, Arc::new(TlsConnector::new(credentials)), ClientId([id; 16])).within(WITHIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lost_its_folder_is_told_so_and_comes_back_in_its_own_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let places = places(dir).await;
    let mut masters = Vec::new();
    for at in 0..3 {
        masters.push(Some(start(dir, &places, at).await));
    }
    let client = client_of(dir, &places, 1);
    client.jobs().submit(&job("kept", 3)).await.expect("accepted");
    let voters = async || {
        let members = client.members().list().await.ok()?.members;
        let votes = |member: &&v1::Member| member.state() == v1::MemberState::Voter;
        Some(members.iter().filter(votes).map(|it| (it.name.clone(), it.raft_id)).collect::<Vec<_>>())
    };
    let mut lose = async |at: usize| {
        masters[at].take().expect("it runs").stop().await;
        std::fs::remove_dir_all(dir.join(format!("m{}-data", at + 1))).expect("removed");
    };

    // The one that began the cell would begin it anew.
    lose(0).await;
    let refused = start(dir, &places, 0).await.refused().await;
    assert!(refused.contains("member replace m1"), "{refused}");
    std::fs::remove_dir_all(dir.join("m1-data")).expect("removed");
    let back = start_as(dir, &places, 0, NO_RAFT_ID).await;
    let (peer, api) = (places[0].peer.to_string(), places[0].api.to_string());
    let refused = client.members().add("m1", &peer, &api).await.expect_err("m1 is there").to_string();
    assert!(refused.contains("replace"), "{refused}");
    let wrong = client.members().replace("m1", "m1", &peer, "127.0.0.1:9").await;
    let refused = wrong.expect_err("nobody would be sent to it").to_string();
    assert!(refused.contains("api_address") && refused.contains(&api), "{refused}");
    let first = client.members().replace("m1", "m1", &peer, &api).await.expect("accepted").member;
    let in_place = async || {
        let voters = voters().await?;
        let new = |(name, id): &(String, u64)| name == "m1" && *id > 3;
        (voters.len() == 3 && voters.iter().any(new)).then_some(())
    };
    within("m1 in its own place", in_place).await;
    let again = client.members().replace("m1", "m1", &peer, &api).await.expect("the same again").member;
    let id = |member: &Option<v1::Member>| member.as_ref().map(|member| member.raft_id);
    assert_eq!(id(&again), id(&first), "it stands there already");

    // Another one would vote twice under its old id.
    lose(1).await;
    let refused = start(dir, &places, 1).await.refused().await;
    assert!(refused.contains("could vote twice") && refused.contains("member replace m2"), "{refused}");
    std::fs::remove_dir_all(dir.join("m2-data")).expect("removed");
    let also_back = start_as(dir, &places, 1, NO_RAFT_ID).await;
    let (peer, api) = (places[1].peer.to_string(), places[1].api.to_string());
    client.members().replace("m2", "m2", &peer, &api).await.expect("accepted");
    let all_new = async || {
        let voters = voters().await?;
        (voters.len() == 3 && voters.iter().filter(|(_, id)| *id > 3).count() == 2).then_some(())
    };
    within("m2 in its own place", all_new).await;
    assert_eq!(client.jobs().get("kept").await.expect("it is there").name, "kept");

    // What it was given is what it starts from.
    back.stop().await;
    masters[0] = Some(start_as(dir, &places, 0, NO_RAFT_ID).await);
    let own = client_of(dir, &places[..1], 2).stale();
    within("its own view", async || own.jobs().get("kept").await.ok()).await;
    also_back.stop().await;
    for master in masters.into_iter().flatten() {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_filled_by_snapshot_reads_the_same_finished_jobs_and_has_the_same_digest() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let places = places(dir).await;
    let mut masters = Vec::new();
    for at in 0..3 {
        masters.push(Some(start(dir, &places, at).await));
    }
    let client = |only: Option<usize>, id: u8| {
        let those = places.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at));
        client_of(dir, those.map(|(_, place)| place), id)
    };
    let everyone = client(None, 1);
    let early = end(&everyone, "early", 3).await;

    // A follower goes away, and the others go on without it until they have purged what it needs.
    let status = everyone.cell().status().await.expect("a status");
    let away = (0..3).find(|at| status.leader != format!("m{}", at + 1)).expect("not all lead");
    masters[away].take().expect("it runs").stop().await;
    let small = v1::CellConfig { settings: [("jobs_per_cell".to_owned(), 8)].into(), failure_domains: None };
    everyone.cell().set_config(small).await.expect("accepted");
    for number in 0..12 {
        end(&everyone, &format!("job-{number}"), 5 + number).await;
    }
    let others: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    let mut first = Vec::new();
    for at in &others {
        let beyond = async || last_snapshot(dir, at + 1).filter(|end| *end > early + 10);
        first.push(within("a snapshot far beyond what the follower has", beyond).await);
    }
    // Whoever takes the next snapshot has purged behind this one.
    let mut more = 0;
    let purged = async || {
        if others.iter().zip(&first).all(|(at, first)| last_snapshot(dir, at + 1) > Some(*first)) {
            return Some(());
        }
        end(&everyone, &format!("more-{more}"), 1).await;
        more += 1;
        None
    };
    within("the next snapshots", purged).await;
    let all_retired = async || {
        let live = everyone.cell().status().await.expect("a status").jobs.expect("counts");
        (live.killed < 6).then_some(())
    };
    within("jobs to retire", all_retired).await;
    let now = everyone.cell().status().await.expect("a status").revision;

    masters[away] = Some(start(dir, &places, away).await);
    let follower = client(Some(away), 2).stale();
    let caught_up = async || {
        let status = follower.cell().status().await.ok()?;
        (status.revision >= now).then_some(())
    };
    within("the follower to catch up", caught_up).await;
    let mut watch = follower.jobs().watch(Some(Revision(early)), None);
    let first = within("the first message", async || match watch.next().await.ok()? {
        WatchItem::Progress(_) => None,
        other => Some(other),
    });
    assert!(matches!(first.await, WatchItem::Resync { .. }), "it came by snapshot, not by log");

    let leader = finished(&everyone).await;
    assert_eq!(leader.len(), 13 + more);
    assert!(leader.iter().filter(|(job, _)| job.retired).count() >= 7, "{leader:?}");
    // The rest may retire meanwhile, so both are asked again.
    let same_jobs = async || (finished(&follower).await == finished(&everyone).await).then_some(());
    within("the follower to read the same finished jobs", same_jobs).await;
    for number in 0..12 {
        let found = follower.jobs().get(format!("job-{number}").as_str()).await.expect("by name");
        assert_eq!(found.tasks.map(|tasks| tasks.killed), Some(5 + number));
    }
    let same_digest = async || {
        let latest = everyone.cell().status().await.ok()?.revision;
        let ours = everyone.cell().status_at(Revision(latest)).await.ok()?;
        let theirs = follower.cell().status_at(Revision(ours.revision)).await.ok()?;
        assert_eq!(theirs.answered_by, format!("m{}", away + 1));
        assert_eq!(theirs.revision, ours.revision);
        assert_eq!(theirs.state_digest, ours.state_digest);
        Some(())
    };
    within("an equal revision", same_digest).await;

    // What it was given is also what it restarts from.
    masters[away].take().expect("it runs").stop().await;
    masters[away] = Some(start(dir, &places, away).await);
    let restarted = client(Some(away), 3).stale();
    let again = async || (finished(&restarted).await == finished(&everyone).await).then_some(());
    within("the same finished jobs after a restart", again).await;
    for master in masters.into_iter().flatten() {
        master.stop().await;
    }
}
