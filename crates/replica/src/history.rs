//! Where finished jobs retire to: rows with a watermark, in one synced write.
//!
//! The watermark is the revision up to which everything that retired is durable. A snapshot may become current, and the
//! log behind it be purged, only once the watermark has reached it (see [`crate::FrozenState::settle`]). What the rows
//! mean is the caller's business.

use bytes::Bytes;

use crate::disk::DiskError;

/// One row: where it sorts and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Rows are found by key and by prefix of it.
    pub key: Bytes,
    /// The retired thing, encoded.
    pub value: Bytes,
}

/// The history database of one replica. All calls block.
pub trait History: Send + Sync + 'static {
    /// Writes rows and the watermark in one synced step. Rows below the watermark that is stored are here already and
    /// may have been trimmed since, so a put with a lower watermark, as a replay makes it, changes nothing. A key that
    /// is put again keeps its age.
    fn put(&self, rows: &[HistoryRow], watermark: u64) -> Result<(), DiskError>;
    /// The revision up to which everything is durable here. Zero when new.
    fn watermark(&self) -> Result<u64, DiskError>;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError>;
    /// Up to `limit` rows whose key starts with `prefix`, in key order, after the key `after` if given.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<HistoryRow>, DiskError>;
    /// Removes the `count` rows that were put first. Returns how many there were to remove.
    fn delete_oldest(&self, count: usize) -> Result<usize, DiskError>;
    /// How many rows there are.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether there are none.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
}
