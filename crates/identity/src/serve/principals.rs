//! How many connections each peer has open, so that one certificate cannot take the places of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::Limits;
use crate::peer::PeerIdentity;
use crate::role::Role;

/// How many connections this peer may have.
pub(super) fn share(peer: &PeerIdentity, limits: &Limits) -> usize {
    match peer.role {
        Role::AgentGroup => limits.connections_at_once,
        _ => limits.connections_per_principal,
    }
}

/// Open connections by principal. It holds a name for as long as there is a connection, so it is bounded by
/// them.
#[derive(Default)]
pub(super) struct Principals(Mutex<BTreeMap<String, usize>>);

/// Held while a connection lives.
pub(super) struct Seat {
    principals: Arc<Principals>,
    principal: String,
}

impl Principals {
    /// Counts one more connection of the peer, unless it has `limit` of them.
    pub(super) fn sit(self: &Arc<Self>, peer: &PeerIdentity, limit: usize) -> Option<Seat> {
        let principal = peer.principal();
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.get(&principal).copied().unwrap_or(0);
        if taken >= limit {
            return None;
        }
        seats.insert(principal.clone(), taken + 1);
        Some(Seat { principals: Arc::clone(self), principal })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.principals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.principal) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.principal);
            }
        }
    }
}
