//! A cell's certificates, a data folder, and agents that start and leave.

use std::sync::Arc;
use std::time::Duration;

use paceline_agent::{AgentConfig, AgentError, Timings, run};
use paceline_api::encode_spec;
use paceline_identity::{Authority, CERTIFICATE_LIFE, Credentials, Role, TlsConnector, TlsListener};
use paceline_link::message::{
    AgentOrder, Desired, JobBody, Observed, OrderRun, OrderSet, Orders, Report, ShardAddress, ShardList,
};
use paceline_rules::JobSpec;
use paceline_runtime::Runtime;
use paceline_types::{
    AgentInstance, Attempt, AttemptId, BootId, ExitStatus, FenceToken, Generation, IndexRange, JobUid,
    Resources, Revision, ShardId, SpecVersion, TaskIndex, Term,
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake_runtime::FakeRuntime;
use crate::fake_shard::{FakeSession, FakeShard};

pub struct Rig {
    pub dir: TempDir,
    pub runtime: Arc<FakeRuntime>,
    /// In place of the fake one.
    pub instead: Option<Arc<dyn Runtime>>,
    authority: Authority,
}

pub struct RunningAgent {
    shutdown: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), AgentError>>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with_runtime(FakeRuntime::new(false))
    }

    pub fn with_runtime(runtime: FakeRuntime) -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "c1").unwrap();
        Self { dir, runtime: Arc::new(runtime), instead: None, authority }
    }

    pub fn credentials(&self, role: Role, name: &str) -> Arc<Credentials> {
        let dir = self.dir.path().join(format!("{role}-{name}"));
        if !dir.exists() {
            self.authority.issue(role, name, CERTIFICATE_LIFE).unwrap().write(&dir).unwrap();
        }
        Arc::new(Credentials::load(&dir).unwrap())
    }

    pub async fn shard(&self, name: &str) -> FakeShard {
        FakeShard::start(self.credentials(Role::Shard, name)).await
    }

    pub fn config(&self, shards: &[&str], masters: &[&str]) -> AgentConfig {
        let data_dir = self.dir.path().join("data");
        let mut config = AgentConfig::of_this_machine("c1", "n1".parse().unwrap(), data_dir).unwrap();
        let texts = |addresses: &[&str]| addresses.iter().map(|&address| address.to_owned()).collect();
        (config.shards, config.masters) = (texts(shards), texts(masters));
        (config.boot, config.fresh_instance, config.seed) = (BootId([1; 16]), AgentInstance([2; 16]), 7);
        config.capacity = Resources::new(4_000, 1 << 30);
        config.labels = [("rack".to_owned(), "r1".to_owned())].into();
        config.timings = Timings { sweep_ms: 200, backoff_max_ms: 200, leave_ms: 300, ..Timings::default() };
        config
    }

    pub async fn start(&self, shards: &[&str]) -> RunningAgent {
        self.start_with(self.config(shards, &[])).await
    }

    /// A shard, an agent of it, and their session: welcomed, with an empty table reported.
    pub async fn joined(&self) -> (FakeShard, RunningAgent, FakeSession) {
        let mut shard = self.shard("s1").await;
        let agent = self.start(&[&shard.address]).await;
        let mut session = shard.session().await;
        session.welcome().await;
        session.report().await;
        (shard, agent, session)
    }

    pub async fn start_with(&self, config: AgentConfig) -> RunningAgent {
        let credentials = self.credentials(Role::Agent, "n1");
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = TlsListener::bind(address, Arc::clone(&credentials)).await.unwrap();
        let connector = Arc::new(TlsConnector::new(Arc::clone(&credentials)));
        let runtime: Arc<dyn Runtime> = match self.instead.clone() {
            Some(runtime) => runtime,
            None => Arc::clone(&self.runtime) as Arc<dyn Runtime>,
        };
        let (shutdown, asked) = oneshot::channel::<()>();
        let asked = async move {
            let _ = asked.await;
        };
        let agent = run(config, runtime, connector, credentials, Some(listener), asked);
        RunningAgent { shutdown, ended: tokio::spawn(agent) }
    }

    /// Why an agent does not start.
    pub async fn refusal(&self, config: AgentConfig) -> String {
        let ended = self.start_with(config).await.ended;
        ended.await.unwrap().expect_err("it is refused").to_string()
    }
}

impl RunningAgent {
    pub async fn leave(self) {
        let _ = self.shutdown.send(());
        self.ended.await.unwrap().unwrap();
    }

    /// Dies without a word, as far as a task can.
    pub async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

pub fn job() -> JobUid {
    JobUid { revision: Revision(40), ordinal: 0 }
}

pub fn id(task: u32) -> AttemptId {
    AttemptId { job: job(), task: TaskIndex(task), attempt: Attempt(1) }
}

pub fn runs(tasks: IndexRange) -> Orders {
    let spec =
        encode_spec(&JobSpec::batch("hello", 10_000, &["/bin/true", "x"], Resources::new(10, 1 << 20)));
    let tasks = [tasks].into_iter().collect();
    let desired = Desired::Run { assigned: Revision(41) };
    Orders {
        token: FenceToken { generation: Generation(0), term: Term(1), revision: Revision(50) },
        set: OrderSet::Full { first: true, last: true },
        jobs: vec![JobBody { job: job(), version: SpecVersion(1), spec }],
        runs: vec![OrderRun { job: job(), attempt: Attempt(1), tasks, desired }],
    }
}

pub fn run_one(task: u32) -> AgentOrder {
    AgentOrder::Orders(runs(IndexRange::one(TaskIndex(task))))
}

/// What a report says of a task.
pub fn observed(report: &Report, task: u32) -> Option<Observed> {
    let run = report.runs.iter().find(|run| run.job == job() && run.tasks.contains(TaskIndex(task)));
    run.map(|run| run.observed)
}

pub fn exited(code: i32) -> Observed {
    let reason =
        if code == 0 { paceline_types::Reason::ExitedZero } else { paceline_types::Reason::ExitedNonZero };
    Observed::Ended { status: Some(ExitStatus::Code(code)), reason }
}

pub fn list(version: u64, shards: &[(&str, &str)]) -> ShardList {
    let shard = |(id, (name, address)): (u32, &(&str, &str))| ShardAddress {
        id: ShardId(id),
        name: name.parse().unwrap(),
        address: (*address).to_owned(),
    };
    ShardList { version: Revision(version), shards: (0..).zip(shards).map(shard).collect() }
}

/// Waits for something that follows within milliseconds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
