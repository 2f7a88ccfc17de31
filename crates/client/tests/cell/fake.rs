//! A cell of fake masters: one shared truth, real servers on loopback, and faults on demand.

mod cell;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;

use paceline_api::v1::jobs_server::JobsServer;
use paceline_client::{CellFolder, Client, ClientId};
use paceline_identity::{
    Authority, CERTIFICATE_LIFE, Credentials, Listener, Role, TlsConnector, TlsListener, grpc, serve,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use cell::{FakeCell, Fault};
use service::FakeJobs;

/// Masters on loopback that share a [`FakeCell`].
pub struct FakeMasters {
    folder: TempDir,
    authority: Authority,
    pub cell: Arc<FakeCell>,
    pub addresses: Vec<String>,
    servers: Vec<JoinHandle<()>>,
}

impl FakeMasters {
    /// Starts so many; the first one leads.
    pub async fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("created");
        let authority = Authority::create(&folder.path().join("ca"), "test").expect("created");
        let mut masters =
            Self { folder, authority, cell: Arc::default(), addresses: Vec::new(), servers: Vec::new() };
        for at in 0..count {
            let credentials = masters.credentials(Role::Master, &format!("m{at}"));
            let any: SocketAddr = ([127, 0, 0, 1], 0).into();
            let listener = TlsListener::bind(any, Arc::new(credentials)).await.expect("bound");
            masters.addresses.push(listener.local_addr().expect("bound").to_string());
            let jobs = FakeJobs { at, cell: Arc::clone(&masters.cell) };
            let router = grpc(JobsServer::new(jobs));
            masters.servers.push(tokio::spawn(async move {
                serve(listener, router, std::future::pending()).await.expect("serves until it is killed");
            }));
        }
        masters.cell.lock().addresses.clone_from(&masters.addresses);
        masters
    }

    /// Credentials of this cell.
    pub fn credentials(&self, role: Role, name: &str) -> Credentials {
        let issued = self.authority.issue(role, name, CERTIFICATE_LIFE).expect("issued");
        let dir = tempfile::tempdir_in(self.folder.path()).expect("created");
        issued.write(&dir.path().join("credentials")).expect("written");
        Credentials::load(&dir.path().join("credentials")).expect("loads")
    }

    /// A client that begins with the master at `first`.
    pub fn client_from(&self, first: usize) -> Client {
        self.client_with(self.credentials(Role::Operator, &format!("op{first}")), first)
    }

    /// The same with other credentials.
    pub fn client_with(&self, credentials: Credentials, first: usize) -> Client {
        let connector = Arc::new(TlsConnector::new(Arc::new(credentials)));
        let api = self.addresses.clone();
        let folder = CellFolder { api, masters: Vec::new(), credentials: self.folder.path().to_owned() };
        // The low bytes of the id choose where a client begins.
        let mut id = [0; 16];
        id[0] = u8::try_from(first).expect("few masters");
        Client::new(folder, connector, ClientId(id))
    }

    /// Closes a master's connections and its port, as SIGKILL does.
    pub async fn kill(&mut self, at: usize) {
        self.servers[at].abort();
        let ended = (&mut self.servers[at]).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
}
