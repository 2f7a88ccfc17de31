//! Snapshots and digests: the whole state as a stream of records in one canonical order, cut into chunks.
//!
//! ```text
//! header │ job, its tasks │ job, its tasks │ … │ nodes │ shards │ clients │ end with the SHA-256 of all before
//! └──────────────── chunk ≤ 1 MiB ─────────────────┘└──────────── chunk ≤ 1 MiB ─────────────┘
//! ```
//!
//! Indexes and sums are not stored; they follow from the records. The digest is that of the records, so it is
//! comparable between replicas at equal revisions, whatever way each came to its state.

mod read;
mod write;

pub use read::RestoreError;
pub use write::SnapshotChunks;

/// Largest chunk, in bytes: one message of a snapshot transfer.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1 << 20;

/// The only version so far.
const VERSION: u32 = 1;
