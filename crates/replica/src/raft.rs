//! openraft's types as this crate fills them in: bytes in, bytes out, standard Raft terms.
//!
//! One leader per term (`leader_id_std`), because a term is part of every fence.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::machine::MachineStore;
use crate::member::Member;

/// A proposed command, opaque here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Payload(pub Bytes);

/// What the state machine answered, opaque here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Reply(pub Bytes);

macro_rules! opaque {
    ($name:ident) => {
        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes.into())
            }
        }
        impl From<$name> for Vec<u8> {
            fn from(value: $name) -> Self {
                value.0.to_vec()
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} bytes", self.0.len())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} bytes", self.0.len())
            }
        }
    };
}

opaque!(Payload);
opaque!(Reply);

openraft::declare_raft_types!(
    /// The types of a Paceline cell's Raft.
    pub TypeConfig:
        D = Payload,
        R = Reply,
        NodeId = u64,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

/// The running Raft.
pub type Raft = openraft::Raft<TypeConfig, MachineStore>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Term and index of an entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// What a member voted for.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// Voters and members.
pub type Membership = openraft::Membership<u64, Member>;
/// A membership and the entry that made it so.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot that can be read.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Arc<crate::snapshot::SnapshotFile>>;

/// A log id from its parts.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The term of a log id.
pub fn term(id: &LogId) -> u64 {
    id.committed_leader_id().term
}
