//! The state machine of the trace: a digest of everything applied, and a row of history for every third entry.
//!
//! What it holds follows from the index alone, so a state that was read back can be held against what must be there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use paceline_replica::{CommittedEntry, FrozenState, History, HistoryRow, Keep, SnapshotError, StateMachine};
use parking_lot::Mutex;

/// Every so many entries one retires.
const RETIRES_EVERY: u64 = 3;
/// Rows that stay.
const ROWS_KEPT: u64 = 40;
/// A snapshot is as large as a few pages, in several chunks.
const CHUNKS: u64 = 4;
/// Bytes of a chunk behind the digest.
const PADDING_BYTES: usize = 2500;

/// A hash that is the same in every process.
pub fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How many entries were applied, and a digest of them in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub digest: u64,
}

impl Tally {
    /// After one more entry.
    pub fn with(self, payload: &[u8]) -> Self {
        Self { count: self.count + 1, digest: hash_of((self.digest, payload)) }
    }
}

/// The machine; what it holds can be read from outside.
pub struct Machine {
    pub tally: Arc<Mutex<Tally>>,
    pub history: Arc<dyn History>,
    /// The first thing that went wrong with the history.
    pub failed: Arc<Mutex<Option<String>>>,
}

/// How history is trimmed.
pub fn keep() -> Keep {
    Keep { rows: ROWS_KEPT, ..Keep::ALL }
}

/// The row that retires in an entry, if one does.
pub fn row_of(index: u64) -> Option<HistoryRow> {
    let retires = index > 0 && index.is_multiple_of(RETIRES_EVERY);
    retires.then(|| HistoryRow {
        key: index.to_be_bytes().to_vec().into(),
        name: format!("job-{}", index % 5).into(),
        revision: index,
        clock_ms: index * 10,
        value: hash_of(index).to_le_bytes().repeat(5 + index as usize % 90).into(),
    })
}

/// The rows that stand below a watermark.
pub fn rows_at(watermark: u64) -> Vec<HistoryRow> {
    let mut rows: Vec<_> = (0..=watermark).rev().filter_map(row_of).take(ROWS_KEPT as usize).collect();
    rows.reverse();
    rows
}

/// The watermark that the rows of all entries up to one have raised.
pub fn watermark_of_rows(applied: u64) -> u64 {
    applied - applied % RETIRES_EVERY
}

impl StateMachine for Machine {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        let mut tally = self.tally.lock();
        *tally = tally.with(&entry.payload);
        if let Some(row) = row_of(entry.revision)
            && let Err(error) = self.history.put(&[row], entry.revision, &keep())
        {
            self.failed.lock().get_or_insert(error.to_string());
        }
        Bytes::new()
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        Box::new(Frozen { tally: *self.tally.lock(), next: 0 })
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        let refused = || SnapshotError::Refused("it is not what the machine wrote".into());
        let mut found = None;
        for at in 0..CHUNKS {
            let chunk = chunks.next().ok_or_else(refused)??;
            let number = |from: usize| {
                let bytes = chunk.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map(u64::from_le_bytes).ok_or_else(refused)
            };
            let tally = Tally { count: number(0)?, digest: number(8)? };
            if chunk != encode(tally, at) || found.is_some_and(|found| found != tally) {
                return Err(refused());
            }
            found = Some(tally);
        }
        *self.tally.lock() = found.ok_or_else(refused)?;
        Ok(())
    }
}

fn encode(tally: Tally, at: u64) -> Bytes {
    let mut chunk = [tally.count.to_le_bytes(), tally.digest.to_le_bytes()].concat();
    chunk.resize(16 + PADDING_BYTES, at as u8 + 1);
    chunk.into()
}

struct Frozen {
    tally: Tally,
    next: u64,
}

impl FrozenState for Frozen {
    fn chunks(&mut self) -> Option<Bytes> {
        let at = self.next;
        self.next += 1;
        (at < CHUNKS).then(|| encode(self.tally, at))
    }
}
