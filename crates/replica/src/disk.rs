//! The narrow, synchronous disk that the commit path stands on: an ordered key space for the log, and small files.
//!
//! Everything that makes an acknowledgement true (order, sync, rename, folder sync) is spelled out by the caller, so
//! that a simulated disk which loses unsynced bytes tests the code that production runs. Implementations decide
//! nothing: `store` maps it to RocksDB and the file system, `MemoryDisk` and the simulator to memory.
//!
//! ```text
//!   write(batch) ── visible at once ──► sync() ── survives a power cut
//!   create ► write_at ► sync ► rename ► sync_folder ── a file that exists is whole
//! ```

#[cfg(feature = "testing")]
mod memory;

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "testing")]
pub use memory::{DiskFault, MemoryDisk};

/// A failed disk operation: what was tried, on what, and what the system said.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{action} {target}: {cause}")]
pub struct DiskError {
    /// The operation, as a verb: `write`, `sync`, `rename`.
    pub action: &'static str,
    /// The file or key space.
    pub target: String,
    /// What the layer below reported.
    pub cause: String,
}

impl DiskError {
    /// An error of `action` on `target`.
    pub fn new(action: &'static str, target: impl Into<String>, cause: impl ToString) -> Self {
        Self { action, target: target.into(), cause: cause.to_string() }
    }
}

/// One of the ordered key spaces. Keys compare as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Log entries, keyed by their index as eight big-endian bytes.
    Log,
    /// Vote, commit, purge point and identity, keyed by name.
    Meta,
}

/// One change of a key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put {
        /// Where.
        space: Space,
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Bytes,
    },
    /// Removes all keys from `from` (inclusive) to `to` (exclusive).
    DeleteRange {
        /// Where.
        space: Space,
        /// The first key that goes.
        from: Vec<u8>,
        /// The first key that stays.
        to: Vec<u8>,
    },
}

/// Changes that become visible together and survive a crash together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put { space, key: key.into(), value: value.into() });
    }

    /// Removes the keys from `from` (inclusive) to `to` (exclusive).
    pub fn delete_range(&mut self, space: Space, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.changes.push(Change::DeleteRange { space, from: from.into(), to: to.into() });
    }

    /// The changes in the order in which they apply.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A folder for small files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// Snapshot files, complete and incoming.
    Snapshots,
    /// The high-water mark and other single files of the replica.
    Root,
}

/// An open file. Reads see what was written through any handle.
pub trait DiskFile: Send + Sync {
    /// Overwrites or extends the file from `offset_bytes`.
    fn write_at(&self, offset_bytes: u64, content: &[u8]) -> Result<(), DiskError>;
    /// Up to `max_bytes` from `offset_bytes`; shorter only at the end of the file.
    fn read_at(&self, offset_bytes: u64, max_bytes: usize) -> Result<Bytes, DiskError>;
    /// The length of the file.
    fn length_bytes(&self) -> Result<u64, DiskError>;
    /// Makes the content and the length durable; the name needs `sync_folder`.
    fn sync(&self) -> Result<(), DiskError>;
}

/// What a [`Disk::range`] calls for each key and value; breaking ends the walk.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The disk of one replica. All calls block; none may be made on an async worker, except for reads of a few kilobytes.
pub trait Disk: Send + Sync + 'static {
    /// Applies a batch: atomic, visible at once, durable only after [`Disk::sync`].
    fn write(&self, batch: Batch) -> Result<(), DiskError>;
    /// Makes every earlier [`Disk::write`] durable.
    fn sync(&self) -> Result<(), DiskError>;
    /// The value of a key.
    fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, DiskError>;
    /// Visits the keys from `from` (inclusive) to `to` (exclusive) in order, as of one moment.
    fn range(&self, space: Space, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError>;
    /// Gives back the room of keys that a durable batch deleted. May do nothing.
    fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<(), DiskError>;

    /// Creates or empties a file.
    fn create(&self, folder: Folder, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Opens a file for reading and writing, if it exists.
    fn open(&self, folder: Folder, name: &str) -> Result<Option<Box<dyn DiskFile>>, DiskError>;
    /// Renames within the folder, replacing what was there.
    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file; removing what does not exist is fine.
    fn remove(&self, folder: Folder, name: &str) -> Result<(), DiskError>;
    /// The names in the folder, sorted.
    fn list(&self, folder: Folder) -> Result<Vec<String>, DiskError>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self, folder: Folder) -> Result<(), DiskError>;
    /// Bytes that can still be written, where the disk knows: a full one is to be noticed before a write fails.
    fn free_bytes(&self) -> Result<Option<u64>, DiskError> {
        Ok(None)
    }
    /// How long the next sync will keep its caller, for a simulated disk on which a call takes no time. Whoever writes
    /// the log under [`Execution::Tasks`](crate::Execution::Tasks) waits that long first. A real disk has nothing to say.
    fn stall(&self) -> Duration {
        Duration::ZERO
    }
    /// What a person would open to look at this file, for error messages.
    fn describe(&self, folder: Folder, name: &str) -> String;
    /// What a person would look at for a key space, for error messages.
    fn describe_space(&self, space: Space) -> String;
}
