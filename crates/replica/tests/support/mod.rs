//! A state machine that remembers every entry, and masters in one process around it.

// Each test file uses the part it needs.
#![allow(dead_code)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_replica::{
    CommittedEntry, Disk, FrozenState, History, HistoryAge, HistoryRow, Keep, LocalTransport, Member,
    MemoryDisk, MemoryHistory, OpenError, ReadLimit, Replica, ReplicaConfig, ReplicaStatus, SnapshotError,
    StateMachine, Timings,
};
use parking_lot::Mutex;

/// What a journal has applied and published.
pub type Published = Arc<Mutex<Vec<(u64, Bytes)>>>;

/// What is on the disks of one master.
#[derive(Clone, Default)]
pub struct Disks {
    pub disk: MemoryDisk,
    pub history: MemoryHistory,
}

impl Disks {
    pub fn new() -> Self {
        Self::default()
    }

    /// A crash. A put of history is synced or did not happen.
    pub fn after_crash(&self, kept_batches: usize) -> Self {
        Self { disk: self.disk.after_crash(kept_batches), history: self.history.clone() }
    }
}

impl std::ops::Deref for Disks {
    type Target = MemoryDisk;

    fn deref(&self) -> &MemoryDisk {
        &self.disk
    }
}

/// Entries that begin so retire: they go to the history.
pub const RETIRES: &[u8] = b"retire";

/// Remembers (revision, payload); replies with the number of entries.
#[derive(Default)]
pub struct Journal {
    entries: Vec<(u64, Bytes)>,
    published: Published,
    history: MemoryHistory,
}

impl Journal {
    pub fn new(history: MemoryHistory) -> (Self, Published) {
        let journal = Self { history, ..Self::default() };
        let published = journal.published.clone();
        (journal, published)
    }
}

impl StateMachine for Journal {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        if entry.payload.starts_with(RETIRES) {
            let (key, value) = (entry.revision.to_be_bytes().to_vec().into(), entry.payload.clone());
            let row = HistoryRow { key, name: "n".into(), revision: entry.revision, clock_ms: 0, value };
            self.history.put(&[row], entry.revision, &Keep::ALL).expect("a history in memory takes it");
        }
        self.entries.push((entry.revision, entry.payload));
        Bytes::from(self.entries.len().to_string())
    }

    fn applied_batch(&mut self) {
        let mut published = self.published.lock();
        if published.len() > self.entries.len() {
            published.clear();
        }
        let known = published.len();
        published.extend_from_slice(&self.entries[known..]);
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        Box::new(FrozenJournal { entries: self.entries.clone(), next: 0 })
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        self.entries.clear();
        self.published.lock().clear();
        for chunk in chunks {
            let chunk = chunk?;
            let revision = u64::from_le_bytes(chunk[..8].try_into().expect("a chunk begins with a revision"));
            self.entries.push((revision, chunk.slice(8..)));
        }
        Ok(())
    }
}

struct FrozenJournal {
    entries: Vec<(u64, Bytes)>,
    next: usize,
}

impl FrozenState for FrozenJournal {
    fn chunks(&mut self) -> Option<Bytes> {
        let (revision, payload) = self.entries.get(self.next)?;
        self.next += 1;
        let mut chunk = revision.to_le_bytes().to_vec();
        chunk.extend_from_slice(payload);
        Some(chunk.into())
    }
}

/// A master of the test cell.
pub struct Master {
    pub replica: Replica,
    pub published: Published,
    pub disks: Disks,
    pub name: String,
}

pub fn config(name: &str, raft_id: u64) -> ReplicaConfig {
    ReplicaConfig {
        timings: Timings::DEFAULT,
        peer_address: format!("{name}:1"),
        api_address: format!("{name}:2"),
        ..ReplicaConfig::new("test", name, raft_id)
    }
}

/// Opens a master on a disk and serves it on the network.
pub async fn open(net: &LocalTransport, disks: &Disks, config: ReplicaConfig) -> Result<Master, OpenError> {
    let (journal, published) = Journal::new(disks.history.clone());
    let name = config.name.clone();
    let transport = Arc::new(net.from(&name));
    let disk: Arc<dyn Disk> = Arc::new(disks.disk.clone());
    let history = Arc::new(disks.history.clone());
    let replica = Replica::open_with(config, disk, history, journal, transport).await?;
    net.serve(&name, replica.peer_handler());
    Ok(Master { replica, published, disks: disks.clone(), name })
}

impl Master {
    pub fn member(&self) -> Member {
        let raft_id = self.name.trim_start_matches('m').parse().expect("masters are named m1, m2, m3");
        Member {
            raft_id,
            name: self.name.clone(),
            peer_address: format!("{}:1", self.name),
            api_address: format!("{}:2", self.name),
            disk_id: self.replica.disk_id(),
            replaces: None,
        }
    }

    pub async fn stop(self, net: &LocalTransport) -> Disks {
        net.remove(&self.name);
        self.replica.shutdown().await;
        self.disks
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&ReplicaStatus) -> bool) -> ReplicaStatus {
        let mut status = self.replica.subscribe();
        let reached = within(what, status.wait_for(condition)).await;
        reached.expect("the replica lives").clone()
    }

    /// What is in its history, oldest first.
    pub fn retired(&self) -> Vec<HistoryRow> {
        let all = ReadLimit { rows: usize::MAX, bytes: usize::MAX };
        self.disks.history.rows_after(&HistoryAge::default(), u64::MAX, all).expect("it is in memory")
    }

    pub fn payloads(&self) -> Vec<Bytes> {
        self.published.lock().iter().map(|(_, payload)| payload.clone()).collect()
    }
}

/// Opens `count` masters and initialises the cell from the first.
pub async fn cell(net: &LocalTransport, count: u64, tune: impl Fn(&mut ReplicaConfig)) -> Vec<Master> {
    let mut masters = Vec::new();
    for raft_id in 1..=count {
        let mut config = config(&format!("m{raft_id}"), raft_id);
        tune(&mut config);
        masters.push(open(net, &Disks::new(), config).await.expect("an empty disk opens"));
    }
    let members = masters.iter().map(Master::member).collect();
    masters[0].replica.initialize(members).await.expect("pristine disks can be initialised");
    masters
}

/// The position of the master that leads and may act.
pub async fn leader(masters: &[Master]) -> usize {
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

/// Bounds a wait, and says what was waited for.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), work).await {
        Ok(result) => result,
        Err(_) => panic!("waited 30 s in vain for {what}"),
    }
}
