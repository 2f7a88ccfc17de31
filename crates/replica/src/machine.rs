//! The state machine as this crate sees it: a total function over bytes, with views that can be frozen and restored.
//!
//! It runs on its own thread, applies in order, and publishes once per batch; see `worker`. What the bytes mean is the
//! business of `cell`.

mod store;
mod worker;

use bytes::Bytes;

use crate::snapshot::SnapshotError;

pub use store::MachineStore;
pub use worker::{MachineHandle, MachineStopped};

/// Chunks of a snapshot are at most this large: one is in memory at a time on either side.
pub const SNAPSHOT_CHUNK_LIMIT_BYTES: usize = 1024 * 1024;

/// An entry that a majority holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Its log index: the revision at which it became true.
    pub revision: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
    /// What was proposed.
    pub payload: Bytes,
}

/// The replicated state.
pub trait StateMachine: Send + 'static {
    /// Applies one entry. Total: any bytes give a reply, the same on every replica. The reply goes to the proposer.
    fn apply(&mut self, entry: CommittedEntry) -> Bytes;
    /// Called after each batch, before its replies go out: publish the view here.
    fn applied_batch(&mut self) {}
    /// A consistent view, in time proportional to what changed. Called between two entries.
    fn freeze(&self) -> Box<dyn FrozenState>;
    /// Replaces the state by what `chunks` hold. An error leaves the process without a usable state, and it stops.
    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError>;
}

/// A view that later changes do not touch, written out on another thread.
pub trait FrozenState: Send {
    /// The next chunk, at most [`SNAPSHOT_CHUNK_LIMIT_BYTES`] and never empty; `None` at the end.
    fn chunks(&mut self) -> Option<Bytes>;
    /// Called before the snapshot becomes the one that a restart begins from: blocks until everything that retired up to
    /// this state is durable in the history. The caller then raises the history's watermark to where the snapshot ends.
    fn settle(&mut self) -> Result<(), SnapshotError> {
        Ok(())
    }
}
