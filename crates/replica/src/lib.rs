//! The replicated log of a cell: Raft over a narrow disk, bytes in and bytes out.
//!
//! It promises that what was acknowledged is durable on a majority and applied in order, and that a disk which cannot be
//! trusted is refused with words. It leaves the meaning of entries and snapshots to the state machine it is given, the
//! bytes on the disk to `store`, and who may connect to `identity`. It is the only crate that names openraft.
//!
//! ```text
//!   propose ─► raft ─► log (tail ► writer ► disk) ─► majority ─► machine (apply thread) ─► reply
//!                └──► peer (gRPC) ─► other masters      └─► snapshot (frozen view ► file) ─► purge
//! ```

#[cfg(feature = "testing")]
mod commit_path;
mod config;
#[cfg(feature = "testing")]
pub mod conformance;
mod disk;
mod fatal;
mod history;
mod joining;
mod log;
mod machine;
mod member;
mod peer;
mod raft;
mod replica;
mod snapshot;
mod wire;
mod worker;

#[cfg(feature = "testing")]
pub use commit_path::{Ballot, CommitPath, Pending, Position, read_mark};
pub use config::{ENTRY_LIMIT_BYTES, ReplicaConfig, Timings};
pub use disk::{Batch, Change, Disk, DiskError, DiskFile, Folder, Space, Visit};
#[cfg(feature = "testing")]
pub use disk::{DiskFault, MemoryDisk};
pub use fatal::FatalHandler;
pub use history::{History, HistoryAge, HistoryRow, Keep, ReadLimit};
#[cfg(feature = "testing")]
pub use history::{MemoryHistory, check_history};
pub use joining::{Joining, Newcomer};
pub use log::{DiskOwner, LogOpenError, MetaError, NO_RAFT_ID, REMOVED_FILE, leave};
pub use machine::{CommittedEntry, FrozenState, SNAPSHOT_CHUNK_LIMIT_BYTES, StateMachine};
pub use member::{DiskId, Member, format_disk_id, leads_to};
#[cfg(feature = "testing")]
pub use peer::LocalTransport;
pub use peer::{PeerClient, PeerError, PeerTransport};
pub use replica::{
    Dismissal, ErrorClass, FIRST_MINTED_RAFT_ID, InitializeError, Leaving, MEMBERS_MAX, MembershipError,
    NewMaster, OpenError, PeerDescription, ProbeError, ProposeError, Proposed, ReadError, Replica,
    ReplicaStatus, ServerRole, SnapshotNowError, TransferError,
};
pub use snapshot::SnapshotError;
pub use worker::Execution;

/// The peer protocol as compiled descriptors, so that its calls can be listed.
pub const PEER_FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("paceline.peer.v1");

/// Decoders are held to what they may allocate.
#[cfg(test)]
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
