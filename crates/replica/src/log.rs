//! The Raft log: an in-memory tail, one writer with group commit, and a checksum chain that shows holes.
//!
//! It leaves the bytes to [`crate::disk::Disk`] and the meaning of payloads to the state machine.
//!
//! ```text
//!   append ──► tail (readable now) ──► queue ──► writer: drain ► one batch ► one sync ► callbacks in order
//!   vote, truncate, purge, committed ──────┘       └─► newest high-water mark ► its own loop: write a slot ► sync
//! ```

mod chain_state;
mod claim;
mod frame;
#[cfg(test)]
mod fuzz;
mod mark;
mod mark_keeper;
mod meta;
mod reader;
mod recover;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::disk::Disk;
use crate::fatal::FatalHandler;
use crate::worker::{self, Execution};
use chain_state::ChainState;
use mark_keeper::MarkKeeper;
use writer::{LogWriter, Request, WriterHandle};

pub use claim::{NO_RAFT_ID, REMOVED_FILE, adopt, leave, prepare};
#[cfg(feature = "testing")]
pub use mark::{MarkError, read as marked};
pub use meta::{DiskOwner, Identity, MetaError};
pub use reader::LogReader;
pub use recover::LogOpenError;

/// Requests that wait for the writer. openraft merges writes before they arrive here, so a full queue means a disk that
/// has been stalled for thousands of requests; then the core waits.
const WRITER_QUEUE: usize = 4096;

/// How to open a log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Whose log it is; checked against what the disk says.
    pub identity: DiskOwner,
    /// Recent entries kept in memory.
    pub memory_tail_bytes: usize,
    /// Whether an empty log may start anywhere. Only openraft's own suite does that.
    pub any_first_index: bool,
    /// Where the writer runs.
    pub execution: Execution,
    /// What a failed write or sync leads to.
    pub fatal: FatalHandler,
}

/// The log of one replica, for openraft to write and for anyone to read.
pub struct LogStore {
    shared: Arc<Shared>,
    writer: WriterHandle,
    #[cfg(feature = "testing")]
    marks: MarkKeeper,
}

/// What the core, the readers and the writer share.
struct Shared {
    disk: Arc<dyn Disk>,
    state: Mutex<ChainState>,
    execution: Execution,
    any_first_index: bool,
    /// Bytes given to the writer for log entries since the process started, framing and keys included.
    bytes_written: AtomicU64,
    identity: meta::Identity,
}

impl LogStore {
    /// Reads the log back, checks every entry and the high-water mark, and starts the writer.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogOpenError> {
        let recovered = recover::recover(disk.as_ref(), &options)?;
        let shared = Arc::new(Shared {
            disk: disk.clone(),
            state: Mutex::new(recovered.state),
            execution: options.execution,
            any_first_index: options.any_first_index,
            bytes_written: AtomicU64::new(0),
            identity: recovered.identity,
        });
        let (requests, queue) = mpsc::channel::<Request>(WRITER_QUEUE);
        let marks = MarkKeeper::start(disk.clone(), recovered.mark, options.execution, options.fatal.clone());
        let owner = LogWriter::new(disk, marks.clone(), shared.clone(), options.fatal.clone());
        worker::start(options.execution, "log-writer", options.fatal, owner, queue);
        Ok(Self {
            shared,
            writer: WriterHandle::new(requests),
            #[cfg(feature = "testing")]
            marks,
        })
    }

    /// The identity of the disk.
    pub fn disk_id(&self) -> crate::member::DiskId {
        self.shared.identity.disk_id
    }

    /// Returns once the high-water mark promises durably what the log has. Nothing but tests waits for that.
    #[cfg(feature = "testing")]
    pub async fn marked(&self) {
        while !self.marks.promises(self.shared.state.lock().last()) {
            tokio::task::yield_now().await;
        }
    }

    /// A view for statistics, barriers and reads.
    pub fn view(&self) -> LogView {
        LogView { shared: self.shared.clone(), writer: self.writer.clone() }
    }
}

/// A cheap handle on the log for everyone but openraft.
#[derive(Clone)]
pub struct LogView {
    shared: Arc<Shared>,
    writer: WriterHandle,
}

impl LogView {
    /// Bytes given to the writer for log entries since the process started.
    pub fn bytes_written(&self) -> u64 {
        // ORDERING: Relaxed, a statistic that nothing is decided on; paired with the add in `append`.
        self.shared.bytes_written.load(Ordering::Relaxed)
    }

    /// Bytes of log after the entry at `index`.
    pub fn bytes_after(&self, index: Option<u64>) -> u64 {
        self.shared.state.lock().bytes_after(index)
    }

    /// The highest index that may be purged so that about `keep_bytes` of log stay behind `snapshot_index`.
    pub fn purge_index(&self, snapshot_index: u64, keep_bytes: u64) -> Option<u64> {
        self.shared.state.lock().purge_index(snapshot_index, keep_bytes)
    }

    /// The last committed id known on this disk.
    pub fn committed(&self) -> Option<crate::raft::LogId> {
        self.shared.state.lock().committed()
    }

    /// The last entry that was purged.
    pub fn purged(&self) -> Option<crate::raft::LogId> {
        self.shared.state.lock().purged()
    }

    /// Everything that was written before this call is durable when it returns.
    pub async fn barrier(&self) -> std::io::Result<()> {
        self.writer.barrier().await
    }

    /// A reader of its own.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.shared.clone())
    }
}
