//! A cell's folders, and servers on loopback to dial.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::get;
use paceline_identity::{
    Authority, Connector, Credentials, Expect, Listener, PeerIdentity, PeerStream, Role, TlsConnector,
    TlsListener, Validity, grpc, serve,
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A cell on disk: the authority in `ca`, and a folder for each peer that was asked for.
pub struct TestCell {
    pub folder: TempDir,
    pub authority: Authority,
}

impl TestCell {
    pub fn new(cell: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::create(&folder.path().join("ca"), cell).unwrap();
        Self { folder, authority }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn credentials(&self, role: Role, name: &str) -> Arc<Credentials> {
        let dir = self.path(&format!("{role}-{name}"));
        self.authority.issue(role, name, DAY).unwrap().write(&dir).unwrap();
        Arc::new(Credentials::load(&dir).unwrap())
    }

    pub fn credentials_for(&self, role: Role, name: &str, validity: Validity) -> Arc<Credentials> {
        let dir = self.path(&format!("{role}-{name}-window"));
        self.authority.issue_for(role, name, validity).unwrap().write(&dir).unwrap();
        Arc::new(Credentials::load(&dir).unwrap())
    }

    /// An authority with this cell's keys that claims to be of another cell.
    pub fn under_another_name(&self, cell: &str) -> TestCell {
        let folder = TempDir::new().unwrap();
        copy_folder(&self.path("ca"), &folder.path().join("ca"));
        std::fs::write(folder.path().join("ca").join("cell"), cell).unwrap();
        let authority = Authority::load(&folder.path().join("ca")).unwrap();
        TestCell { folder, authority }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub fn now_unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A window that ended an hour ago.
pub fn past() -> Validity {
    Validity { not_before_unix: now_unix() - 7200, not_after_unix: now_unix() - 3600 }
}

/// A window that starts in an hour.
pub fn future() -> Validity {
    Validity { not_before_unix: now_unix() + 3600, not_after_unix: now_unix() + 7200 }
}

/// A server that runs until it is stopped.
pub struct TestServer {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl TestServer {
    pub async fn start(credentials: Arc<Credentials>, router: Router) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), credentials, router).await
    }

    pub async fn start_at(address: SocketAddr, credentials: Arc<Credentials>, router: Router) -> Self {
        let listener = TlsListener::bind(address, credentials).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            serve(listener, router, shutdown).await.unwrap();
        });
        Self { address, stop, running }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.unwrap();
    }

    pub async fn dial(&self, credentials: &Arc<Credentials>, expect: Expect) -> std::io::Result<PeerStream> {
        let connector = TlsConnector::new(Arc::clone(credentials));
        connector.connect(&self.address.to_string(), &expect).await
    }
}

/// Every gRPC path of these names answers OK with the caller's principal in a header.
macro_rules! echo_service {
    ($name:ident, $path:literal) => {
        #[derive(Clone)]
        pub struct $name;

        impl tonic::server::NamedService for $name {
            const NAME: &'static str = $path;
        }

        impl Service<Request<Body>> for $name {
            type Response = Response<Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<Body>) -> Self::Future {
                Box::pin(async move { Ok(echo(&request)) })
            }
        }
    };
}

echo_service!(Jobs, "paceline.v1.Jobs");
echo_service!(Nodes, "paceline.v1.Nodes");

/// What a handler sees of its caller.
fn echo(request: &Request<Body>) -> Response<Body> {
    let peer = request.extensions().get::<PeerIdentity>().expect("the gate inserts the peer");
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "0")
        .header("seen", peer.spiffe_id())
        .body(Body::empty())
        .unwrap()
}

pub fn router() -> Router {
    grpc(Jobs).merge(grpc(Nodes)).route("/healthz", get(async || "ok\n"))
}
