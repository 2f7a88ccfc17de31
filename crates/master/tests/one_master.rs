//! One master on a real disk with real TLS, asked through the real client: what is acknowledged is there, also after
//! a restart, and what is refused says why.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1::cell_client::CellClient;
use paceline_api::v1::jobs_client::JobsClient;
use paceline_client::{CellFolder, Class, Client, ClientError, ClientId, JobRef, LogsOf, v1};
use paceline_identity::{
    Authority, CERTIFICATE_LIFE, Credentials, Expect, Listener, Role, TlsConnector, TlsListener, channel,
};
use paceline_master::{LogBudget, MasterConfig, MasterError, MasterParts, Timings};
use paceline_rules::JobSpec;
use paceline_store::{HistoryStore, RocksDisk};
use paceline_types::{Resources, TaskState};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A folder with authorities and credentials.
fn cell() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::create(&dir.path().join("ca"), "test").expect("authorities");
    for (role, name) in [(Role::Master, "m1"), (Role::Operator, "op"), (Role::Shard, "s1")] {
        let issued = authority.issue(role, name, CERTIFICATE_LIFE).expect("a certificate");
        issued.write(&dir.path().join(name)).expect("written");
    }
    dir
}

fn credentials(dir: &Path, name: &str) -> Arc<Credentials> {
    Arc::new(Credentials::load(&dir.join(name)).expect("credentials"))
}

/// A running master.
struct Master {
    api: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MasterError>>,
}

impl Master {
    async fn start(dir: &Path) -> Self {
        let own = credentials(dir, "m1");
        let peer = Arc::new(Credentials::load_peer(&dir.join("m1")).expect("credentials"));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let api_listener = TlsListener::bind(any, own.clone()).await.expect("a port");
        let peer_listener = TlsListener::bind(any, peer.clone()).await.expect("a port");
        let api = api_listener.local_addr().expect("an address");
        let config = MasterConfig {
            cell: "test".into(),
            name: "m1".into(),
            raft_id: 1,
            api_address: api.to_string(),
            peer_address: peer_listener.local_addr().expect("an address").to_string(),
            bootstrap: Some(Vec::new()),
            health_port: None,
            timings: Timings::DEFAULT,
            log: LogBudget::default(),
        };
        let parts = MasterParts {
            disk: Arc::new(RocksDisk::open(&dir.join("data")).expect("a disk")),
            history: Arc::new(HistoryStore::open(&dir.join("data")).expect("a history")),
            api_listener,
            peer_listener,
            peer_connector: Arc::new(TlsConnector::new(peer)),
            credentials: own,
        };
        let (end, ended) = oneshot::channel();
        let shutdown = async move {
            let _ = ended.await;
        };
        Self { api, end, task: tokio::spawn(paceline_master::run(config, parts, shutdown)) }
    }

    fn client(&self, dir: &Path, name: &str, id: u8) -> Client {
        let folder =
            CellFolder { api: vec![self.api.to_string()], masters: Vec::new(), credentials: dir.join(name) };
        let connector = Arc::new(TlsConnector::new(credentials(dir, name)));
        Client::new(folder, connector, ClientId([id; 16])).within(Duration::from_secs(20))
    }

    async fn stop(self) {
        let _ = self.end.send(());
        self.task.await.expect("no panic").expect("a clean end");
    }
}

fn job(name: &str, tasks: u32) -> JobSpec {
    JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(10, 1 << 20))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    let submitted = client.jobs().submit(&job("a", 100_000)).await.expect("accepted");
    assert!(!submitted.existing);
    let again = client.jobs().submit(&job("a", 100_000)).await.expect("accepted");
    assert_eq!((again.existing, again.uid), (true, submitted.uid));
    let before = client.cell().status().await.expect("a status");
    assert_eq!((before.leader.as_str(), before.masters.len()), ("m1", 1));
    master.stop().await;

    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 2);
    let found = client.jobs().get("a").await.expect("there");
    assert_eq!(found.uid, submitted.uid);
    assert_eq!(found.tasks.map(|tasks| tasks.pending), Some(100_000));
    let after = client.cell().status().await.expect("a status");
    assert!(after.revision >= before.revision);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_listed_paged_stopped_and_forgotten() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    for name in ["a", "b", "c"] {
        client.jobs().submit(&job(name, 25)).await.expect("accepted");
    }
    let page = v1::ListJobsRequest { page_size: 2, ..v1::ListJobsRequest::default() };
    let first = client.jobs().list_page(page.clone()).await.expect("a page");
    client.jobs().submit(&job("d", 1)).await.expect("accepted");
    let token = first.next_page_token.clone();
    let second =
        client.jobs().list_page(v1::ListJobsRequest { page_token: token, ..page }).await.expect("a page");
    let names: Vec<&str> = first.jobs.iter().chain(&second.jobs).map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["c", "b", "a"], "pages of one listing come from one view");
    assert_eq!(first.revision, second.revision);

    let pending = client.jobs().list_tasks("b", &[TaskState::Pending]).await.expect("tasks");
    assert_eq!(pending.iter().map(|task| task.index).collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
    client.jobs().stop("b").await.expect("stopped");
    let stopped = client.jobs().get("b").await.expect("there");
    assert_eq!((stopped.state(), stopped.tasks.map(|tasks| tasks.killed)), (v1::JobState::Killed, Some(25)));
    client.jobs().delete("b").await.expect("deleted");
    assert_eq!(code(client.jobs().get("b").await), Some(v1::ErrorCode::NotFound));
    master.stop().await;
}

fn code<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> Option<v1::ErrorCode> {
    outcome.expect_err("refused").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_typed_and_name_what_is_wrong() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.jobs().submit(&job("a", 1)).await.expect("accepted");
    assert_eq!(code(client.jobs().submit(&job("a", 2)).await), Some(v1::ErrorCode::NameInUse));
    assert_eq!(code(client.jobs().delete("a").await), Some(v1::ErrorCode::Conflict));
    assert_eq!(code(client.jobs().stop("none").await), Some(v1::ErrorCode::NotFound));
    assert_eq!(code(client.nodes().drain("none").await), Some(v1::ErrorCode::NotFound));
    let broken = JobSpec { pool: "/x".into(), max_attempts: 0, ..job("B", 0) };
    let refused = client.jobs().submit(&broken).await.expect_err("refused");
    assert_eq!(refused.class(), Class::Refused);
    let ClientError::Refused(detail) = refused else { panic!("a refusal") };
    let fields: Vec<&str> = detail.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["name", "pool", "tasks", "max_attempts"]);

    // A shard's certificate may not submit, whatever it holds in its hands.
    let shard = master.client(dir.path(), "s1", 3);
    assert_eq!(code(shard.jobs().submit(&job("s", 1)).await), Some(v1::ErrorCode::PermissionDenied));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_says_why_and_its_output_what_to_do() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.jobs().submit(&job("a", 3)).await.expect("accepted");
    let waiting = client.jobs().get("a").await.expect("there").waiting.expect("it waits");
    assert_eq!((waiting.tasks, waiting.reason()), (3, v1::Reason::NoNodeMatches));
    assert_eq!(waiting.explanation, "the cell has no node");
    assert_eq!(waiting.change, "start an agent on a machine");

    let of = |task| LogsOf { task, ..LogsOf::default() };
    let refused = client.jobs().logs("a", of(0)).next().await.expect_err("no attempt");
    assert_eq!(refused.code(), Some(v1::ErrorCode::Conflict));
    assert!(refused.to_string().contains("has had no attempt"), "{refused}");
    assert_eq!(code(client.jobs().logs("a", of(3)).next().await), Some(v1::ErrorCode::NotFound));
    assert_eq!(code(client.jobs().logs("none", of(0)).next().await), Some(v1::ErrorCode::NotFound));
    client.jobs().stop("a").await.expect("stopped");
    let ended = client.jobs().logs("a", LogsOf { follow: true, ..of(0) }).next().await.expect_err("killed");
    assert_eq!(ended.code(), Some(v1::ErrorCode::NotFound), "{ended}");
    assert_eq!(client.jobs().get("a").await.expect("there").waiting, None);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_snapshot_are_served() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    let change = |name: &str, value| v1::CellConfig {
        settings: [(name.to_owned(), value)].into(),
        failure_domains: None,
    };
    let config = client.cell().set_config(change("heartbeat_ms", 500)).await.expect("accepted");
    assert_eq!(config.settings["heartbeat_ms"], 500);
    assert_eq!(
        code(client.cell().set_config(change("heartbeat_ms", 1)).await),
        Some(v1::ErrorCode::InvalidArgument)
    );
    assert_eq!(
        code(client.cell().set_config(change("no_such", 1)).await),
        Some(v1::ErrorCode::InvalidArgument)
    );
    let mut snapshot = client.cell().snapshot().await.expect("opened");
    let mut bytes = 0;
    while let Some(piece) = snapshot.next().await.expect("a piece") {
        bytes += piece.len();
    }
    assert!(bytes > 0 && snapshot.revision().is_some());
    assert_eq!(code(client.cell().transfer_leadership(None).await), Some(v1::ErrorCode::Conflict));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_in_a_term_to_come_is_refused_and_in_a_passed_one_says_who_leads() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let term = master.client(dir.path(), "op", 1).cell().status().await.expect("a status").term;
    let connector = Arc::new(TlsConnector::new(credentials(dir.path(), "op")));
    let expect = Expect { role: Role::Master, name: None };
    let mut raw = CellClient::new(channel(connector, &master.api.to_string(), expect));
    let request = |if_term| v1::TransferLeadershipRequest { if_term, ..Default::default() };
    let refused = raw.transfer_leadership(request(term + 1_000)).await.expect_err("nothing was done");
    let detail = paceline_api::detail_of(&refused).expect("a typed refusal");
    assert_eq!((detail.code(), detail.leader), (v1::ErrorCode::NotLeader, None));
    if let Some(passed) = term.checked_sub(1).filter(|&passed| passed > 0) {
        let reply = raw.transfer_leadership(request(passed)).await.expect("an answer").into_inner();
        assert_eq!((reply.leader.as_str(), reply.term), ("m1", term));
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_delivers_every_change_of_a_job_once_and_in_order() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.jobs().submit(&job("other", 1)).await.expect("accepted");
    let submitted = client.jobs().submit(&job("a", 3)).await.expect("accepted");
    let uid = submitted.uid.expect("a uid");
    let before = paceline_types::Revision(submitted.revision - 1);
    let mut watch = client.jobs().watch(Some(before), Some(JobRef::Uid(uid.into())));
    client.jobs().stop(JobRef::Uid(uid.into())).await.expect("stopped");
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match watch.next().await.expect("the watch goes on") {
            paceline_client::WatchItem::Change(change) => {
                seen.extend(change.events.into_iter().map(|event| (change.revision, event)));
            }
            other => {
                assert!(!matches!(other, paceline_client::WatchItem::Resync { .. }), "nothing was trimmed")
            }
        }
    }
    use v1::event::Happened;
    let kinds: Vec<&str> = seen
        .iter()
        .map(|(_, event)| match &event.happened {
            Some(Happened::JobSubmitted(_)) => "submitted",
            Some(Happened::JobStopping(_)) => "stopping",
            Some(Happened::TasksEnded(_)) => "ended",
            Some(Happened::JobEnded(_)) => "job ended",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["submitted", "stopping", "ended", "job ended"]);
    assert!(seen.is_sorted_by_key(|(revision, event)| (*revision, event.ordinal)));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_its_answer_whatever_the_limits_are_by_then() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.cell().status().await.expect("a leader");
    let connector = Arc::new(TlsConnector::new(credentials(dir.path(), "op")));
    let expect = Expect { role: Role::Master, name: None };
    let mut raw = JobsClient::new(channel(connector, &master.api.to_string(), expect));
    let request = |sequence| v1::SubmitJobRequest {
        request: Some(v1::RequestId {
            client: vec![9; 16].into(),
            sequence,
            lowest_unanswered: 1,
            floor_revision: 0,
        }),
        spec: Some((&job("big", 50)).into()),
    };
    let first = raw.submit(request(1)).await.expect("accepted").into_inner();
    let smaller =
        v1::CellConfig { settings: [("tasks_per_job".to_owned(), 10)].into(), failure_domains: None };
    client.cell().set_config(smaller).await.expect("accepted");

    let retried = raw.submit(request(1)).await.expect("the same answer").into_inner();
    assert_eq!((retried.uid, retried.existing), (first.uid, false));
    let refused = raw.submit(request(2)).await.expect_err("too many tasks by now");
    let detail = paceline_api::detail_of(&refused).expect("a typed refusal");
    assert_eq!(detail.violations[0].field, "tasks");
    master.stop().await;
}

/// Waits until a job has retired.
async fn until_retired(client: &Client, job: JobRef) -> v1::JobStatus {
    let retired = async {
        loop {
            let found = client.jobs().get(job.clone()).await.expect("a job that ended stays readable");
            if found.retired {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), retired).await.expect("it retires")
}

fn setting(name: &str, value: u64) -> v1::CellConfig {
    v1::CellConfig { settings: [(name.to_owned(), value)].into(), failure_domains: None }
}

/// Names of the jobs of a listing, with whether they have retired, in pages of `page_size`; `between` runs after the
/// first page.
async fn listed(client: &Client, page_size: u32, between: impl AsyncFnOnce()) -> Vec<(String, bool)> {
    let mut request = v1::ListJobsRequest { page_size, retired: true, ..v1::ListJobsRequest::default() };
    let mut between = Some(between);
    let mut names = Vec::new();
    loop {
        let page = client.jobs().list_page(request.clone()).await.expect("a page");
        assert!(page.jobs.len() <= page_size as usize);
        names.extend(page.jobs.into_iter().map(|job| (job.name, job.retired)));
        if page.next_page_token.is_empty() {
            return names;
        }
        request.page_token = page.next_page_token;
        if let Some(between) = between.take() {
            between().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_retires_and_stays_readable_and_its_name_may_be_used_again() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    let submitted = client.jobs().submit(&job("a", 25)).await.expect("accepted");
    let uid = JobRef::Uid(submitted.uid.expect("a uid").into());
    let stopped = client.jobs().stop("a").await.expect("stopped");
    client.cell().set_config(setting("jobs_per_cell", 1)).await.expect("accepted");

    let retired = until_retired(&client, uid.clone()).await;
    assert_eq!((retired.name.as_str(), retired.state()), ("a", v1::JobState::Killed));
    assert_eq!(retired.tasks.map(|tasks| tasks.killed), Some(25));
    assert_eq!(retired.ended_revision, Some(stopped.revision));
    assert!(retired.revision > stopped.revision && retired.spec.is_some());
    assert_eq!(client.jobs().get("a").await.expect("by name").uid, submitted.uid);
    let tasks = client.jobs().list_tasks("a", &[TaskState::Killed]).await.expect("its tasks");
    assert_eq!(tasks.iter().map(|task| task.index).collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
    let live = client.jobs().list(v1::ListJobsRequest::default()).await.expect("a list");
    assert!(live.is_empty(), "it has left the live state: {live:?}");

    // What has ended is stopped; what is in the history goes from there by age and number only.
    let again = client.jobs().stop("a").await.expect("no error");
    assert_eq!((again.uid, again.state()), (submitted.uid, v1::JobState::Killed));
    let refused = client.jobs().delete("a").await.expect_err("refused");
    assert_eq!(refused.code(), Some(v1::ErrorCode::Conflict));
    assert!(refused.to_string().contains("history_age_ms"), "{refused}");

    let reused = client.jobs().submit(&job("a", 1)).await.expect("the name is free");
    assert!(!reused.existing);
    assert_eq!(client.jobs().get("a").await.expect("there").uid, reused.uid);
    assert!(client.jobs().get(uid.clone()).await.expect("there").retired);
    let names = listed(&client, 10, async || ()).await;
    assert_eq!(names, [("a".to_owned(), false), ("a".to_owned(), true)]);

    master.stop().await;
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 2);
    assert_eq!(until_retired(&client, uid).await.tasks.map(|tasks| tasks.killed), Some(25));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_right_while_jobs_retire_between_them() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    for name in ["a", "b", "c", "d", "e"] {
        client.jobs().submit(&job(name, 2)).await.expect("accepted");
    }
    // Some are in the history when the listing begins, and some go there while it is read.
    client.jobs().stop("b").await.expect("stopped");
    client.cell().set_config(setting("jobs_per_cell", 6)).await.expect("accepted");
    until_retired(&client, "b".into()).await;
    client.cell().set_config(setting("jobs_per_cell", 1_000)).await.expect("accepted");
    client.jobs().stop("a").await.expect("stopped");
    client.jobs().stop("c").await.expect("stopped");
    let between = async || {
        client.cell().set_config(setting("jobs_per_cell", 1)).await.expect("accepted");
        until_retired(&client, "a".into()).await;
        until_retired(&client, "c".into()).await;
    };
    let expected = |retired: &[&str]| {
        ["e", "d", "c", "b", "a"].map(|name| (name.to_owned(), retired.contains(&name))).to_vec()
    };
    assert_eq!(listed(&client, 2, between).await, expected(&["b"]), "as the first page's view has them");
    assert_eq!(listed(&client, 2, async || ()).await, expected(&["a", "b", "c"]));
    assert_eq!(listed(&client, 5, async || ()).await, expected(&["a", "b", "c"]));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_of_a_retired_job_says_how_it_ended() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.jobs().submit(&job("a", 2)).await.expect("accepted");
    let stopped = client.jobs().stop("a").await.expect("stopped");
    client.cell().set_config(setting("jobs_per_cell", 1)).await.expect("accepted");
    until_retired(&client, "a".into()).await;
    let mut watch = client.jobs().watch(None, Some("a".into()));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("no silence");
        if let paceline_client::WatchItem::Change(change) = next.expect("the watch goes on") {
            seen.extend(change.events.into_iter().map(|event| (change.revision, event.happened)));
        }
    }
    use v1::event::Happened;
    assert_eq!(seen[0].0, stopped.revision);
    assert!(matches!(&seen[0].1, Some(Happened::JobEnded(ended)) if ended.state() == v1::JobState::Killed));
    assert!(matches!(&seen[1].1, Some(Happened::JobRetired(_))));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digest_of_a_revision_is_that_of_the_revision_or_is_refused() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let client = master.client(dir.path(), "op", 1);
    client.jobs().submit(&job("first", 1)).await.expect("accepted");
    let before = client.cell().status().await.expect("a status");
    let revision = paceline_types::Revision(before.revision);
    client.jobs().submit(&job("second", 1)).await.expect("accepted");
    let again = client.cell().status_at(revision).await.expect("recent enough");
    assert_eq!((again.revision, again.state_digest), (before.revision, before.state_digest));
    let latest = client.cell().status().await.expect("a status");
    let to_come = paceline_types::Revision(latest.revision + 1);
    let ahead = tokio::spawn({
        let client = client.clone();
        async move { client.cell().status_at(to_come).await }
    });
    client.jobs().submit(&job("third", 1)).await.expect("accepted");
    assert_eq!(ahead.await.expect("no panic").expect("it comes").revision, to_come.0);
    for number in 0..20 {
        client.jobs().submit(&job(&format!("more-{number}"), 1)).await.expect("accepted");
    }
    assert_eq!(code(client.cell().status_at(revision).await), Some(v1::ErrorCode::Conflict));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_health_says_of_each_service_whether_the_master_is_ready() {
    let dir = cell();
    let master = Master::start(dir.path()).await;
    let connector = Arc::new(TlsConnector::new(credentials(dir.path(), "op")));
    let expect = Expect { role: Role::Master, name: None };
    let mut health = HealthClient::new(channel(connector, &master.api.to_string(), expect));
    let serving = async {
        loop {
            let mut ready = 0;
            for service in ["", "paceline.v1.Jobs", "paceline.v1.Cell"] {
                let request = HealthCheckRequest { service: service.to_owned() };
                let status =
                    health.check(request).await.expect("a service that is known").into_inner().status();
                assert_ne!(status, ServingStatus::Unknown);
                ready += usize::from(status == ServingStatus::Serving);
            }
            if ready == 3 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), serving).await.expect("it leads, so it is ready");
    master.stop().await;
}
