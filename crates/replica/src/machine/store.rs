//! The state machine as openraft drives it: apply, build a snapshot, install one.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use paceline_types::plant::{Plant, is_planted};
use parking_lot::Mutex;

use super::FrozenState;
use super::worker::{MachineHandle, Work};
use crate::fatal::FatalHandler;
use crate::log::LogView;
use crate::raft::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::snapshot::{SnapshotError, SnapshotFile, SnapshotFolder};
use crate::worker::Execution;

/// One batch of applies: the view is published at least this often, and a burst of small entries is published once.
const APPLY_BATCH: usize = 1024;

/// openraft's handle on the state machine and its snapshots.
pub struct MachineStore {
    machine: MachineHandle,
    snapshots: Arc<SnapshotFolder>,
    log: LogView,
    execution: Execution,
    fatal: FatalHandler,
}

impl MachineStore {
    /// Puts the parts together.
    pub fn new(
        machine: MachineHandle,
        snapshots: Arc<SnapshotFolder>,
        log: LogView,
        execution: Execution,
        fatal: FatalHandler,
    ) -> Self {
        Self { machine, snapshots, log, execution, fatal }
    }
}

/// Runs work on the snapshot folder; a disk that fails there is as fatal as one that fails under the log.
async fn with_folder<T: Send + 'static>(
    execution: Execution,
    fatal: &FatalHandler,
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> io::Result<T> {
    let done = execution.blocking(work).await;
    let done = done.ok_or_else(|| io::Error::other("work on a snapshot panicked"))?;
    if let Err(SnapshotError::Disk(error)) = &done {
        fatal.call(&format!("a snapshot cannot be read or written: {error}"));
    }
    Ok(done?)
}

impl RaftStateMachine<TypeConfig> for MachineStore {
    type SnapshotData = Arc<SnapshotFile>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.machine.applied();
        Ok((applied.last, applied.membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH);
        while let Some(batch) = batches.next().await {
            let work = batch.into_iter().collect::<io::Result<Work>>()?;
            self.machine.apply(work).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (machine, snapshots, execution) = (self.machine.clone(), self.snapshots.clone(), self.execution);
        let frozen = Mutex::new(self.machine.freeze().await.ok());
        SnapshotBuilder { frozen, machine, snapshots, execution, fatal: self.fatal.clone() }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: Arc<SnapshotFile>,
    ) -> io::Result<()> {
        // A truncation that this snapshot makes necessary must not be behind it on the disk.
        self.log.barrier().await?;
        let snapshots = self.snapshots.clone();
        let adopted = with_folder(self.execution, &self.fatal, move || snapshots.adopt(&snapshot)).await?;
        self.machine.restore(adopted).await??;
        let snapshots = self.snapshots.clone();
        with_folder(self.execution, &self.fatal, move || snapshots.remove_superseded()).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.current().map(as_openraft))
    }
}

fn as_openraft(file: Arc<SnapshotFile>) -> Snapshot {
    Snapshot { meta: file.meta().clone(), snapshot: file }
}

/// A frozen state on its way to a file.
pub struct SnapshotBuilder {
    // A lock only because openraft wants the builder to be `Sync`; it is used through `&mut`.
    frozen: Mutex<Option<(SnapshotMeta, Box<dyn FrozenState>)>>,
    machine: MachineHandle,
    snapshots: Arc<SnapshotFolder>,
    execution: Execution,
    fatal: FatalHandler,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Arc<SnapshotFile>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let frozen = self.frozen.get_mut().take();
        let (meta, mut state) = frozen.ok_or_else(|| io::Error::other("the state machine has stopped"))?;
        if is_planted(Plant::AppliedReadEarly) {
            // What a builder waits for where it runs on a thread of its own.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            state = self.machine.freeze().await?.1;
        }
        let snapshots = self.snapshots.clone();
        let built = with_folder(self.execution, &self.fatal, move || snapshots.build(meta, state)).await?;
        Ok(as_openraft(built))
    }
}
