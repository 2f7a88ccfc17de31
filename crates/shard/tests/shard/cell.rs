//! Credentials of a cell that lives as long as a test, and shards in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline_identity::{Authority, Connector, Credentials, Listener, Role, TlsConnector, TlsListener};
use paceline_link::ShardLimits;
use paceline_shard::{ShardConfig, ShardError, run};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cell {
    folder: TempDir,
    authority: Authority,
}

impl Cell {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::create(&folder.path().join("ca"), "test").expect("an authority");
        Self { folder, authority }
    }

    pub fn credentials(&self, role: Role, name: &str) -> Arc<Credentials> {
        let dir = self.folder.path().join(format!("{role}-{name}"));
        if !Path::exists(&dir) {
            let issued = self.authority.issue(role, name, Duration::from_secs(3_600)).expect("issued");
            issued.write(&dir).expect("written");
        }
        Arc::new(Credentials::load(&dir).expect("loaded"))
    }

    pub fn connector(&self, role: Role, name: &str) -> Arc<dyn Connector> {
        Arc::new(TlsConnector::new(self.credentials(role, name)))
    }

    pub async fn listener(&self, role: Role, name: &str) -> (TlsListener, String) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TlsListener::bind(any, self.credentials(role, name)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        (listener, address)
    }

    /// Starts shard `s`.
    pub async fn shard(&self, masters: &[&str], limits: ShardLimits) -> Shard {
        let (listener, address) = self.listener(Role::Shard, "s").await;
        let config = ShardConfig {
            name: "s".parse().expect("a name"),
            cell: "test".to_owned(),
            address: None,
            masters: masters.iter().map(|&master| master.to_owned()).collect(),
            credentials: Some(self.credentials(Role::Shard, "s")),
            health_port: None,
            limits,
            seed: 7,
        };
        let (leave, left) = oneshot::channel();
        let connector = self.connector(Role::Shard, "s");
        let task = tokio::spawn(run(config, listener, connector, async move {
            // A dropped sender ends the shard as well.
            let _ = left.await;
        }));
        Shard { address, leave, task }
    }
}

pub struct Shard {
    pub address: String,
    leave: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ShardError>>,
}

impl Shard {
    pub async fn leave(self) -> Result<(), ShardError> {
        self.leave.send(()).expect("it runs");
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("no panic")
    }
}
