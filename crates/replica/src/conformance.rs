//! openraft's own storage suite over any [`Disk`]: what every implementation has to pass.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::disk::Disk;
use crate::fatal::FatalHandler;
use crate::history::MemoryHistory;
use crate::log::{DiskOwner, LogOptions, LogStore};
use crate::machine::{CommittedEntry, FrozenState, MachineHandle, MachineStore, StateMachine};
use crate::raft::TypeConfig;
use crate::snapshot::{SnapshotError, SnapshotFolder};
use crate::worker::Execution;

/// A disk that a test was given, and what keeps it alive (a temporary folder, say).
pub type TestDisk<G> = (Arc<dyn Disk>, G);

/// Runs the whole suite; `make` gives an empty disk each time. Panics where the disk does not conform.
pub async fn run<G, M>(make: M)
where
    G: Send + Sync + 'static,
    M: Fn() -> TestDisk<G> + Send + Sync + 'static,
{
    let builder = Builder { make, opened: AtomicU64::new(0) };
    let suite: Result<(), StorageError<TypeConfig>> = Suite::test_all(builder).await;
    suite.expect("the disk does not conform");
}

struct Builder<M> {
    make: M,
    opened: AtomicU64,
}

impl<G, M> StoreBuilder<TypeConfig, LogStore, MachineStore, G> for Builder<M>
where
    G: Send + Sync + 'static,
    M: Fn() -> TestDisk<G> + Send + Sync + 'static,
{
    fn build(
        &self,
    ) -> impl Future<Output = Result<(G, LogStore, MachineStore), StorageError<TypeConfig>>> + Send {
        // ORDERING: Relaxed, only tells the suite's stores apart in names.
        let raft_id = self.opened.fetch_add(1, Ordering::Relaxed);
        let (disk, guard) = (self.make)();
        async move {
            let execution = Execution::Threads;
            let identity = DiskOwner { cell: "suite".into(), name: format!("suite-{raft_id}"), raft_id };
            let fatal = FatalHandler::replaced_by(|reason| panic!("{reason}"));
            let options = LogOptions {
                identity,
                memory_tail_bytes: 0,
                any_first_index: true,
                execution,
                fatal: fatal.clone(),
            };
            let log = LogStore::open(disk.clone(), options).expect("an empty disk opens");
            let history = Arc::new(MemoryHistory::new());
            let snapshots = SnapshotFolder::open(disk, history, "suite").expect("an empty disk opens");
            let machine = MachineHandle::start(Box::new(Counter::default()), execution, fatal.clone());
            let store = MachineStore::new(machine, Arc::new(snapshots), log.view(), execution, fatal);
            Ok((guard, log, store))
        }
    }
}

/// The smallest state machine: it counts.
#[derive(Default)]
struct Counter {
    applied: u64,
}

struct FrozenCounter {
    applied: Option<u64>,
}

impl StateMachine for Counter {
    fn apply(&mut self, _entry: CommittedEntry) -> Bytes {
        self.applied += 1;
        Bytes::copy_from_slice(&self.applied.to_le_bytes())
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        Box::new(FrozenCounter { applied: Some(self.applied) })
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        let chunk = chunks.next().ok_or_else(|| SnapshotError::Refused("it is empty".into()))??;
        let bytes = chunk.as_ref().try_into();
        self.applied =
            u64::from_le_bytes(bytes.map_err(|_| SnapshotError::Refused("it is not a counter".into()))?);
        Ok(())
    }
}

impl FrozenState for FrozenCounter {
    fn chunks(&mut self) -> Option<Bytes> {
        self.applied.take().map(|applied| Bytes::copy_from_slice(&applied.to_le_bytes()))
    }
}
