//! Masters talking to masters: who may, what they say, and how long anyone waits.
//!
//! ```text
//!   openraft ──► network ──► PeerClient (gRPC, or in process in tests) ──► PeerHandler ──► openraft of the other
//! ```
//! The transport sits behind [`PeerTransport`], so that everything but `grpc` is tested without sockets.

mod check;
mod client;
mod grpc;
mod handler;
#[cfg(feature = "testing")]
mod local;
mod network;
mod transfer;

pub use check::Refusal;
pub use client::{PeerClient, PeerError, PeerTransport};
pub use grpc::{Door, GrpcTransport, routes};
pub use handler::{HandleError, PeerHandler};
#[cfg(feature = "testing")]
pub use local::LocalTransport;
pub use network::NetworkFactory;

use crate::member::DiskId;

/// Who this replica is to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Me {
    pub cell: String,
    pub name: String,
    pub raft_id: u64,
    pub disk_id: DiskId,
    pub peer_address: String,
    pub api_address: String,
}
