//! Snapshot files: built from a frozen state, received from a leader, checked before they are believed.
//!
//! A file under its final name is complete and durable: it is written under a temporary name, synced, renamed, and the
//! folder is synced. Older files go last. What the chunks mean is the state machine's business.

mod folder;
mod format;
#[cfg(test)]
mod fuzz;
mod incoming;
mod name;
#[cfg(test)]
mod tests;

use crate::disk::DiskError;

pub use folder::SnapshotFolder;
pub use format::SnapshotFile;
pub use incoming::{Incoming, TransferError};

/// A snapshot that cannot be written, read or restored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error("the snapshot cannot be read or written")]
    Disk(#[from] DiskError),
    /// The file is not what was written.
    #[error(
        "snapshot {file} is damaged: {problem}; do not start this master on this folder again: while the other masters are healthy, replace it with an empty folder under a new Raft id, otherwise restore a backup"
    )]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is from another cell.
    #[error("snapshot {file} is of cell {found}, not of {expected}")]
    OtherCell {
        /// The file.
        file: String,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Jobs that retired before this snapshot are missing.
    #[error(
        "snapshot {file} ends at revision {upto}, and the history database reaches only to {watermark}: finished jobs are missing; do not start this master on this folder again: while the other masters are healthy, replace it with an empty folder under a new Raft id, otherwise restore a backup"
    )]
    HistoryBehind {
        /// The file.
        file: String,
        /// Where the snapshot ends.
        upto: u64,
        /// Up to where the history is here.
        watermark: u64,
    },
    /// The state machine gave a chunk that is empty or too large.
    #[error("the state machine gave a snapshot chunk of {bytes} bytes; it may have 1 to {limit}")]
    ChunkSize {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The state machine cannot use the content.
    #[error("the state machine refuses the snapshot: {0}")]
    Refused(String),
    /// What the state refers to outside the snapshot is not durable.
    #[error("the snapshot cannot become current: {0}")]
    Unsettled(String),
}

impl From<SnapshotError> for std::io::Error {
    fn from(error: SnapshotError) -> Self {
        std::io::Error::other(error)
    }
}
