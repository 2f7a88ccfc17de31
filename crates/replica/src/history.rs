//! Where finished jobs retire to: rows with a watermark, in one synced write.
//!
//! The watermark is the revision up to which everything that retired is durable, or was and has been trimmed. A snapshot
//! may become current, and the log behind it be purged, only once the watermark has reached it; see `snapshot/folder`
//! for snapshots of this replica's own and `history/shipping` for those that come from a peer. What the rows mean is the
//! caller's business.

mod shipping;

#[cfg(feature = "testing")]
mod check;
#[cfg(all(test, feature = "testing"))]
mod fuzz;
#[cfg(feature = "testing")]
mod memory;

use bytes::Bytes;

use crate::disk::DiskError;

#[cfg(feature = "testing")]
pub use check::check_history;
#[cfg(feature = "testing")]
pub use memory::MemoryHistory;
pub use shipping::{HistoryIntake, HistorySource};

/// How old a row is: rows are trimmed and shipped in this order, which is the same on every replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryAge {
    /// The entry that the row retired in.
    pub revision: u64,
    /// The row's key.
    pub key: Bytes,
}

/// One row: where it sorts, when it retired and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Unique. Listings follow it downwards, so keys sort like the things that they name were made.
    pub key: Bytes,
    /// Rows are found by it too; many may share one. At most 65,535 bytes.
    pub name: Bytes,
    /// The entry that it retired in.
    pub revision: u64,
    /// The cell clock then; never falls as revisions rise.
    pub clock_ms: u64,
    /// The retired thing, encoded.
    pub value: Bytes,
}

impl HistoryRow {
    /// How old it is.
    pub fn age(&self) -> HistoryAge {
        HistoryAge { revision: self.revision, key: self.key.clone() }
    }

    /// What it weighs in a page or a message, about.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.name.len() + self.value.len() + 2 * size_of::<u64>()
    }
}

/// What stays after a put: rows that miss one of these go, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// At most this many rows.
    pub rows: u64,
    /// Rows that retired at this cell clock or later.
    pub clock_from_ms: u64,
    /// Rows of this age or younger.
    pub from: HistoryAge,
}

impl Keep {
    /// Nothing goes.
    pub const ALL: Self =
        Self { rows: u64::MAX, clock_from_ms: 0, from: HistoryAge { revision: 0, key: Bytes::new() } };
}

/// How much one read gives at most. A row that is larger than the bytes comes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Rows.
    pub rows: usize,
    /// Their weight together.
    pub bytes: usize,
}

impl ReadLimit {
    /// Whether a row still fits behind `rows` rows of `bytes` bytes.
    pub fn admits(self, rows: usize, bytes: usize, next: &HistoryRow) -> bool {
        rows == 0 || (rows < self.rows && bytes.saturating_add(next.bytes()) <= self.bytes)
    }
}

/// The history database of one replica. All calls block.
pub trait History: Send + Sync + 'static {
    /// Writes rows, raises the watermark and trims, in one synced step.
    ///
    /// The rows must be all that retired after the stored watermark and up to `watermark`; they may begin earlier, and
    /// rows of later revisions may come with them. Rows at or below the stored watermark are here already or were
    /// trimmed since, so they are passed over; others replace what is under their key. When the watermark does not rise
    /// nothing is trimmed: what is to be kept was decided by a later put already.
    fn put(&self, rows: &[HistoryRow], watermark: u64, keep: &Keep) -> Result<(), DiskError>;
    /// The revision up to which everything is durable here. Zero when new.
    fn watermark(&self) -> Result<u64, DiskError>;
    /// The row of a key.
    fn get(&self, key: &[u8]) -> Result<Option<HistoryRow>, DiskError>;
    /// The row of a name with the highest key, below `before` if given.
    fn newest_named(&self, name: &[u8], before: Option<&[u8]>) -> Result<Option<HistoryRow>, DiskError>;
    /// Rows by falling key, below `before` if given.
    fn scan_back(&self, before: Option<&[u8]>, limit: ReadLimit) -> Result<Vec<HistoryRow>, DiskError>;
    /// Rows by rising age after `after`, up to the revision `upto`.
    fn rows_after(
        &self,
        after: &HistoryAge,
        upto: u64,
        limit: ReadLimit,
    ) -> Result<Vec<HistoryRow>, DiskError>;
    /// The age of the oldest row.
    fn oldest(&self) -> Result<Option<HistoryAge>, DiskError>;
    /// How many rows there are.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether there are none.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
}
