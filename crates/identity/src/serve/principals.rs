//! How many connections each peer may have, and how many bytes of its requests, so that one certificate cannot take the
//! places of all.

use std::sync::Arc;

use super::limits::Limits;
use crate::peer::PeerIdentity;
use crate::role::Role;

/// `ROLE/NAME`, shared by everything that one connection counts.
pub(super) type Principal = Arc<str>;

/// How many connections this peer may have.
pub(super) fn connections(peer: &PeerIdentity, limits: &Limits) -> usize {
    match peer.role {
        Role::AgentGroup => limits.connections_at_once,
        _ => limits.connections_per_principal,
    }
}

/// How many bytes of requests it may have on their way. A group of agents speaks for thousands of nodes, and still
/// leaves half of the room to the others.
pub(super) fn request_bytes(peer: &PeerIdentity, limits: &Limits) -> usize {
    match peer.role {
        Role::AgentGroup => (limits.request_bytes_at_once / 2).max(limits.request_bytes_per_principal),
        _ => limits.request_bytes_per_principal,
    }
}
