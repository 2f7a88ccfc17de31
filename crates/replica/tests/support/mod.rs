//! A state machine that remembers every entry, and masters in one process around it.

// Each test file uses the part it needs.
#![allow(dead_code)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_replica::{
    CommittedEntry, Disk, FrozenState, LocalTransport, Member, MemoryDisk, OpenError, Replica, ReplicaConfig,
    ReplicaStatus, SnapshotError, StateMachine, Timings,
};
use parking_lot::Mutex;

/// What a journal has applied and published.
pub type Published = Arc<Mutex<Vec<(u64, Bytes)>>>;

/// Remembers (revision, payload); replies with the number of entries.
#[derive(Default)]
pub struct Journal {
    entries: Vec<(u64, Bytes)>,
    published: Published,
}

impl Journal {
    pub fn new() -> (Self, Published) {
        let journal = Self::default();
        let published = journal.published.clone();
        (journal, published)
    }
}

impl StateMachine for Journal {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
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
    pub disk: MemoryDisk,
    pub name: String,
}

pub fn config(name: &str, raft_id: u64) -> ReplicaConfig {
    ReplicaConfig { timings: Timings::DEFAULT, ..ReplicaConfig::new("test", name, raft_id) }
}

/// Opens a master on a disk and serves it on the network.
pub async fn open(
    net: &LocalTransport,
    disk: &MemoryDisk,
    config: ReplicaConfig,
) -> Result<Master, OpenError> {
    let (journal, published) = Journal::new();
    let name = config.name.clone();
    let transport = Arc::new(net.from(&name));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let replica = Replica::open_with(config, shared, journal, transport).await?;
    net.serve(&name, replica.peer_handler());
    Ok(Master { replica, published, disk: disk.clone(), name })
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
        }
    }

    pub async fn stop(self, net: &LocalTransport) -> MemoryDisk {
        net.remove(&self.name);
        self.replica.shutdown().await;
        self.disk
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&ReplicaStatus) -> bool) -> ReplicaStatus {
        let mut status = self.replica.subscribe();
        let reached = within(what, status.wait_for(condition)).await;
        reached.expect("the replica lives").clone()
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
        masters.push(open(net, &MemoryDisk::new(), config).await.expect("an empty disk opens"));
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
