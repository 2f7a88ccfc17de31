//! A cell of running roles: authorities and certificates from `paceline ca`, real TLS, real disks, one port of each
//! kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use paceline_agent::AgentConfig;
use paceline_client::{CellFolder, Client, ClientId, v1};
use paceline_identity::{Authority, Credentials, Listener, Role, TlsConnector, TlsListener};
use paceline_master::{Founder, MasterConfig, MasterParts, Timings};
use paceline_replica::Disk;
use paceline_shard::{ShardConfig, ShardLimits};
use paceline_store::RocksDisk;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The name in each role's certificate. The group's is a prefix of the agent's, so that it speaks for it.
pub fn name_of(role: Role) -> &'static str {
    match role {
        Role::Master => "m1",
        Role::Shard => "s1",
        Role::Agent => "n1",
        Role::AgentGroup => "n",
        Role::User => "ada",
        Role::Operator => "op",
    }
}

/// Runs the program and fails with its own words.
fn paceline(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The folders of a cell called `test`, and the roles that run in it until it is dropped.
pub struct TestCell {
    folder: TempDir,
    running: JoinSet<()>,
    leave: watch::Sender<bool>,
    /// Clients so far: each counts its own requests, so no two may share an id.
    clients: AtomicU8,
}

impl TestCell {
    /// Authorities, and credentials of every role.
    pub fn new() -> Self {
        let cell = Self::named("test");
        for role in Role::ALL {
            cell.issue(role, name_of(role));
        }
        cell
    }

    /// Authorities alone.
    pub fn named(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        paceline(&["ca", "init", "--cell-name", name, "--dir", text(&folder.path().join("ca"))]);
        Self { folder, running: JoinSet::new(), leave: watch::Sender::new(false), clients: AtomicU8::new(0) }
    }

    /// Completes when the cell ends.
    fn left(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut leaving = self.leave.subscribe();
        async move {
            // A sender that is gone is an end as well.
            let _ = leaving.wait_for(|leave| *leave).await;
        }
    }

    /// Ends every role and waits for it: a database must not be closed by a process that is ending. A role that ended
    /// by itself fails the test here.
    pub async fn end(mut self) {
        self.leave.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn authority(&self) -> Authority {
        Authority::load(&self.path("ca")).unwrap()
    }

    /// Where the credentials of a peer lie.
    pub fn folder_of(&self, role: Role, name: &str) -> PathBuf {
        self.path(&format!("{role}-{name}"))
    }

    pub fn issue(&self, role: Role, name: &str) {
        let out = self.folder_of(role, name);
        let role = role.to_string();
        paceline(&[
            "ca",
            "issue",
            "--dir",
            text(&self.path("ca")),
            "--role",
            &role,
            name,
            "--out",
            text(&out),
        ]);
    }

    pub fn credentials(&self, role: Role, name: &str) -> Arc<Credentials> {
        let dir = self.folder_of(role, name);
        if !dir.exists() {
            self.issue(role, name);
        }
        Arc::new(Credentials::load(&dir).unwrap())
    }

    pub fn peer_credentials(&self, name: &str) -> Arc<Credentials> {
        Arc::new(Credentials::load_peer(&self.folder_of(Role::Master, name)).unwrap())
    }

    /// An authority whose everyday certificates are signed by this cell's peer authority, as only a stolen one could.
    pub fn stolen_peer_authority(&self) -> Authority {
        let dir = self.path("stolen");
        if !dir.exists() {
            std::fs::create_dir(&dir).unwrap();
            for (from, to) in [
                ("peer-ca.pem", "ca.pem"),
                ("peer-ca.key", "ca.key"),
                ("peer-ca.pem", "peer-ca.pem"),
                ("peer-ca.key", "peer-ca.key"),
                ("cell", "cell"),
            ] {
                std::fs::copy(self.path("ca").join(from), dir.join(to)).unwrap();
            }
        }
        Authority::load(&dir).unwrap()
    }

    /// Starts master `m1`, alone.
    pub async fn master(&mut self) -> Master {
        let disk = Arc::new(RocksDisk::open(&self.path("m1-data")).unwrap());
        self.master_on("m1", disk, Some(Vec::new())).await
    }

    /// Starts a master on a disk of the test's own.
    pub async fn master_on(
        &mut self,
        name: &str,
        disk: Arc<dyn Disk>,
        founders: Option<Vec<Founder>>,
    ) -> Master {
        let (own, peer) = (self.credentials(Role::Master, name), self.peer_credentials(name));
        let (api_listener, api) = listen(&own).await;
        let (peer_listener, peer_port) = listen(&peer).await;
        let config = MasterConfig {
            cell: "test".into(),
            name: name.into(),
            raft_id: u64::from(name.as_bytes()[1] - b'0'),
            api_address: api.to_string(),
            peer_address: peer_port.to_string(),
            bootstrap: founders,
            health_port: None,
            timings: Timings::SLOW_DISK,
            log: Default::default(),
        };
        let peer_connector = Arc::new(TlsConnector::new(peer));
        let history = Arc::new(paceline_replica::MemoryHistory::new());
        let parts =
            MasterParts { disk, history, api_listener, peer_listener, peer_connector, credentials: own };
        let left = self.left();
        self.running.spawn(async move { paceline_master::run(config, parts, left).await.unwrap() });
        Master { api, peer: peer_port }
    }

    /// Starts shard `s1`.
    pub async fn shard(&mut self, master: &Master, health_port: Option<u16>) -> SocketAddr {
        let credentials = self.credentials(Role::Shard, "s1");
        let (listener, address) = listen(&credentials).await;
        let config = ShardConfig {
            name: "s1".parse().unwrap(),
            cell: "test".into(),
            address: None,
            masters: vec![master.api.to_string()],
            credentials: Some(credentials.clone()),
            health_port,
            limits: ShardLimits::default(),
            seed: 7,
        };
        let connector = Arc::new(TlsConnector::new(credentials));
        let left = self.left();
        self.running
            .spawn(async move { paceline_shard::run(config, listener, connector, left).await.unwrap() });
        address
    }

    /// Starts agent `n1`, which runs no task in these tests.
    pub async fn agent(&mut self, shard: SocketAddr, health_port: Option<u16>) -> SocketAddr {
        let credentials = self.credentials(Role::Agent, "n1");
        let (listener, address) = listen(&credentials).await;
        let data = self.path("n1-data");
        let mut config = AgentConfig::of_this_machine("test", "n1".parse().unwrap(), data).unwrap();
        config.shards = vec![shard.to_string()];
        config.health_port = health_port;
        let runtime = paceline_agent::process_runtime(&config, Path::new("/bin/true")).unwrap();
        let connector = Arc::new(TlsConnector::new(credentials.clone()));
        let left = self.left();
        self.running.spawn(async move {
            let listener = Some(listener);
            paceline_agent::run(config, runtime, connector, credentials, listener, left).await.unwrap();
        });
        address
    }

    /// A client of the cell.
    pub fn client(&self, role: Role, master: &Master) -> Client {
        let folder = CellFolder {
            api: vec![master.api.to_string()],
            masters: Vec::new(),
            credentials: self.folder_of(role, name_of(role)),
        };
        let connector = Arc::new(TlsConnector::new(self.credentials(role, name_of(role))));
        let id = self.clients.fetch_add(1, Ordering::Relaxed);
        Client::new(folder, connector, ClientId([id; 16])).within(PATIENCE)
    }

    /// Sets one setting of the cell.
    pub async fn set(&self, master: &Master, setting: &str, value: u64) {
        let change = v1::CellConfig { settings: [(setting.to_owned(), value)].into(), failure_domains: None };
        self.client(Role::Operator, master).cell().set_config(change).await.unwrap();
    }
}

/// Where a master is reached.
pub struct Master {
    pub api: SocketAddr,
    pub peer: SocketAddr,
}

async fn listen(credentials: &Arc<Credentials>) -> (TlsListener, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TlsListener::bind(any, credentials.clone()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port on loopback that nobody listens on at the moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
