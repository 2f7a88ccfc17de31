//! Masters as they really run: RocksDB, mTLS with the peer CA, gRPC; restarted, killed, caught up by snapshot.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails like the test")]

#[path = "support/closed.rs"]
mod closed;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_identity::{
    Authority, CERTIFICATE_LIFE, Credentials, Listener, Role, TlsConnector, TlsListener, serve,
};
use paceline_replica::{
    CommittedEntry, FrozenState, History, HistoryAge, HistoryRow, Keep, Member, ReadLimit, Replica,
    ReplicaConfig, SnapshotError, StateMachine, Timings,
};
use paceline_store::{HistoryStore, RocksDisk, StoreError};
use tokio::sync::oneshot;

/// Adds up the payloads' lengths and counts them; replies with both. Every third entry retires.
struct Tally {
    count: u64,
    bytes: u64,
    history: Arc<HistoryStore>,
}

impl StateMachine for Tally {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        self.count += 1;
        self.bytes += entry.payload.len() as u64;
        if self.count.is_multiple_of(3) {
            let key = self.count.to_be_bytes().to_vec().into();
            let (name, value) = ("n".into(), entry.payload);
            let row = HistoryRow { key, name, revision: entry.revision, clock_ms: 0, value };
            self.history.put(&[row], entry.revision, &Keep::ALL).unwrap();
        }
        Bytes::from(format!("{} {}", self.count, self.bytes))
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        Box::new(FrozenTally(Some(format!("{} {}", self.count, self.bytes))))
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        let chunk = chunks.next().expect("a tally has one chunk")?;
        let text = String::from_utf8(chunk.to_vec()).expect("a tally is text");
        let (count, bytes) = text.split_once(' ').expect("a tally is two numbers");
        (self.count, self.bytes) = (count.parse().unwrap(), bytes.parse().unwrap());
        Ok(())
    }
}

struct FrozenTally(Option<String>);

impl FrozenState for FrozenTally {
    fn chunks(&mut self) -> Option<Bytes> {
        self.0.take().map(Bytes::from)
    }
}

struct Master {
    replica: Replica,
    history: Arc<HistoryStore>,
    address: SocketAddr,
    name: String,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

struct Cell {
    root: PathBuf,
    authority: Authority,
}

impl Cell {
    fn create(root: &Path) -> Self {
        let authority = Authority::create(&root.join("ca"), "test").unwrap();
        Self { root: root.to_owned(), authority }
    }

    /// Opens master `id` on its folder, listening on `address` (port 0: any).
    async fn open(&self, id: u64, address: SocketAddr, tune: impl Fn(&mut ReplicaConfig)) -> Master {
        let name = format!("m{id}");
        let dir = self.root.join(&name);
        let credentials = dir.join("credentials");
        if !credentials.exists() {
            let issued = self.authority.issue(Role::Master, &name, CERTIFICATE_LIFE).unwrap();
            issued.write(&credentials).unwrap();
        }
        let credentials = Arc::new(Credentials::load_peer(&credentials).unwrap());
        let mut config = ReplicaConfig::new("test", name.clone(), id);
        config.timings = Timings::SLOW_DISK;
        tune(&mut config);
        let disk = within("the folder to be free", open_disk(&dir.join("data"))).await;
        let connector = Arc::new(TlsConnector::new(credentials.clone()));
        let history = within("the history to be free", open_history(&dir.join("data"))).await;
        let history = Arc::new(history);
        let tally = Tally { count: 0, bytes: 0, history: history.clone() };
        let replica = Replica::open(config, Arc::new(disk), history.clone(), tally, connector).await.unwrap();
        let listener = within("the port to be free", bind(address, credentials)).await;
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = replica.peer_routes();
        let served = tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            serve(listener, routes, shutdown).await.unwrap();
        });
        Master { replica, history, address, name, stop, served }
    }
}

impl Cell {
    /// Waits until the disks of masters 1 to `masters` are closed.
    fn wait_closed(&self, masters: u64) {
        for id in 1..=masters {
            closed::wait_closed(&self.root.join(format!("m{id}")).join("data"));
        }
    }
}

/// Another owner in this process may still be letting go.
async fn open_disk(dir: &Path) -> RocksDisk {
    loop {
        match RocksDisk::open(dir) {
            Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
}

/// The owner before may be closing it.
async fn open_history(dir: &Path) -> HistoryStore {
    loop {
        match HistoryStore::open(dir) {
            Ok(history) => return history,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn bind(address: SocketAddr, credentials: Arc<Credentials>) -> TlsListener {
    loop {
        match TlsListener::bind(address, credentials.clone()).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Master {
    fn member(&self, id: u64) -> Member {
        Member {
            raft_id: id,
            name: self.name.clone(),
            peer_address: self.address.to_string(),
            api_address: "127.0.0.1:1".into(),
            disk_id: self.replica.disk_id(),
            replaces: None,
        }
    }

    async fn stop(self) -> SocketAddr {
        self.replica.shutdown().await;
        drop(self.stop);
        self.served.await.unwrap();
        self.address
    }
}

fn retired(master: &Master) -> Vec<HistoryRow> {
    let all = ReadLimit { rows: usize::MAX, bytes: usize::MAX };
    master.history.rows_after(&HistoryAge::default(), u64::MAX, all).unwrap()
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(result) => result,
        Err(_) => panic!("waited 60 s in vain for {what}"),
    }
}

async fn leader(masters: &[Master]) -> usize {
    within("a leader", async {
        loop {
            if let Some(found) = masters.iter().position(|master| master.replica.status().leading) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn applied(master: &Master, revision: u64) {
    let mut status = master.replica.subscribe();
    let reached = status.wait_for(|status| status.applied >= Some(revision));
    within(&format!("{} to apply {revision}", master.name), reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_master_restarts_with_what_it_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let cell = Cell::create(root.path());
    let mut master = cell.open(1, any_port(), |_| ()).await;
    master.replica.initialize(vec![master.member(1)]).await.unwrap();
    for round in 1..=3_u64 {
        let masters = [master];
        leader(&masters).await;
        let [current] = masters;
        for number in 1..=5 {
            let proposed = current.replica.propose(Bytes::from_static(&[0; 100])).await.unwrap();
            let count = (round - 1) * 5 + number;
            assert_eq!(proposed.reply, format!("{count} {}", count * 100));
        }
        if round == 2 {
            within("a snapshot", current.replica.snapshot_now()).await.unwrap();
        }
        let address = current.stop().await;
        master = cell.open(1, address, |_| ()).await;
    }
    master.stop().await;
    cell.wait_closed(1);
}

fn compacting(config: &mut ReplicaConfig) {
    config.snapshot_after_log_bytes = 1024 * 1024;
    config.log_tail_bytes = 0;
    config.memory_tail_bytes = 64 * 1024;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_masters_over_tls_survive_a_leader_and_feed_a_snapshot_to_a_laggard() {
    let root = tempfile::tempdir().unwrap();
    let cell = Cell::create(root.path());
    let mut masters = Vec::new();
    for id in 1..=3 {
        masters.push(cell.open(id, any_port(), compacting).await);
    }
    // The disk ids are learnt by asking, as a real master does.
    let mut members = vec![masters[0].member(1)];
    for (id, master) in [(2, &masters[1]), (3, &masters[2])] {
        let found = masters[0].replica.probe(&master.address.to_string(), &master.name).await.unwrap();
        assert_eq!((found.raft_id, found.disk_id), (id, master.replica.disk_id()));
        members.push(Member { disk_id: found.disk_id, ..master.member(id) });
    }
    let stranger = masters[0].replica.probe(&masters[1].address.to_string(), "m3").await;
    assert!(stranger.is_err(), "the certificate at that address is m2's");
    masters[0].replica.initialize(members).await.unwrap();

    let at = leader(&masters).await;
    let mut last = 0;
    for _ in 0..20 {
        last = masters[at].replica.propose(Bytes::from_static(&[0; 100])).await.unwrap().revision;
    }
    assert_eq!(masters[at].replica.read_index().await.unwrap(), last);
    for master in &masters {
        applied(master, last).await;
    }

    let dead = masters.remove(at);
    let id = dead.name.trim_start_matches('m').parse().unwrap();
    let address = dead.stop().await;
    let at = leader(&masters).await;
    for number in 21..=60_u64 {
        let proposed = masters[at].replica.propose(Bytes::from(vec![0; 64 * 1024])).await.unwrap();
        assert_eq!(proposed.reply, format!("{number} {}", 2000 + (number - 20) * 64 * 1024));
        last = proposed.revision;
    }
    let mut status = masters[at].replica.subscribe();
    within("a purge", status.wait_for(|status| status.purged > Some(25))).await.unwrap();

    masters.push(cell.open(id, address, compacting).await);
    applied(&masters[2], last).await;
    assert!(masters[2].replica.status().snapshot.is_some());
    assert_eq!(retired(&masters[2]).len(), 20, "what retired while it was away is here");
    assert!(masters.iter().all(|master| retired(master) == retired(&masters[2])));
    let to = masters[2].name.clone();
    let at = leader(&masters).await;
    within("the handover", masters[at].replica.transfer_leadership(Some(to))).await.unwrap();
    let at = leader(&masters).await;
    let proposed = masters[at].replica.propose(Bytes::new()).await.unwrap();
    assert_eq!(proposed.reply, format!("61 {}", 2000 + 40 * 64 * 1024));
    for master in masters {
        master.stop().await;
    }
    cell.wait_closed(3);
}
