//! The disks of a master: RocksDB for the log and for history, plain files for snapshots and marks.
//!
//! It maps `replica`'s narrow [`Disk`](paceline_replica::Disk) and [`History`](paceline_replica::History) to a folder and
//! decides nothing: order, syncs and what an error means are the caller's. It is the only crate that names RocksDB.
//!
//! ```text
//!   DIR/lock              one process at a time
//!   DIR/log/              RocksDB: log entries, vote, commit, purge point
//!   DIR/high-water-mark   what the log must not fall behind
//!   DIR/snapshots/        one complete snapshot, perhaps one in the making
//!   DIR/history-lock      one process at a time
//!   DIR/history/          RocksDB: finished jobs
//! ```

mod beside;
mod database;
mod disk;
mod files;
#[cfg(test)]
mod fuzz;
mod history;
mod tail;

pub use disk::RocksDisk;
pub use history::HistoryStore;

use std::path::PathBuf;

/// A folder that cannot be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{path}: {action} failed")]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process; only one master may run on a folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// RocksDB refused: the database is damaged, or of a later version.
    #[error(
        "the database in {path} cannot be opened: {cause}; do not repair it, that could drop acknowledged entries: while the other masters are healthy, replace this one with an empty folder under a new Raft id, otherwise restore a backup"
    )]
    Database {
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        cause: String,
    },
}

/// Decoders are held to what they may allocate.
#[cfg(test)]
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
