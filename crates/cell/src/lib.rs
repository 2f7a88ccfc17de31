//! The cell is a function: `apply(state, command) → (reply, events)`, synchronous and deterministic (A-1).
//!
//! No clock, randomness, I/O, async, floats or hash order: time, ids and choices arrive inside the command, and
//! replaying a log yields byte-identical state. Apply is total (A-15): whatever an entry holds, every replica
//! answers the same and nobody panics.
//!
//! ```text
//! Entry ── decode ──► Cell::apply ──► replies, events, jobs for history
//!                        │
//!                        └─ Cell::clone is the published view: it copies nothing that did not change
//! ```
//!
//! This crate owns the bytes of entries, replies, snapshots and finished jobs (`proto/cell.proto`). It leaves
//! to others: what is proposed (`schedule`, the master), durability and order (`replica`), what is feasible
//! (`rules`), liveness, heartbeats and everything else that is not a fact (the hub, A-2).

mod apply;
mod cell;
mod codec;
mod command;
mod config;
mod event;
mod job;
mod node;
mod ranges;
mod refusal;
mod reply;
mod requests;
mod retired;
mod snapshot;

pub use apply::{Applied, TICK_STEP_MS_MAX};
pub use cell::{Cell, NodeRun, Shard};
pub use codec::{DecodeError, ENTRY_BYTES_MAX, TooLarge};
pub use command::{Command, CommandBody, Entry, JobSelector, ReportedRun, ReportedState, RequestId};
pub use config::{CellConfig, ConfigChange, Setting, UnknownSetting};
pub use event::Event;
pub use job::{Job, TaskView};
pub use node::Node;
pub use refusal::{Bound, Counter, Refusal, Subject};
pub use reply::Reply;
pub use retired::RetiredJob;
pub use snapshot::{RestoreError, SNAPSHOT_CHUNK_BYTES_MAX, SnapshotChunks};

/// The level of behaviour of the first release.
pub const FEATURE_LEVEL_FIRST: paceline_types::FeatureLevel = paceline_types::FeatureLevel(1);
/// The highest level that this build knows: what a voter advertises (A-15).
pub const FEATURE_LEVEL_MAX: paceline_types::FeatureLevel = FEATURE_LEVEL_FIRST;
