//! What can go wrong with each operation of a replica, in words for the person or client who asked.

use crate::disk::DiskError;
use crate::log::{LogOpenError, NO_RAFT_ID};
use crate::member::{DiskId, Member, format_disk_id};
use crate::peer::PeerError;
use crate::snapshot::SnapshotError;

/// A replica that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("the replica's configuration is invalid: {0}")]
    Config(String),
    /// The disk failed.
    #[error("the replica's disk cannot be used")]
    Disk(#[from] DiskError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// Log and snapshot do not fit together.
    #[error(
        "the log begins after entry {purged} and the newest snapshot ends at {snapshot}: the entries between are lost; do not start this master on this folder again, replace it with an empty folder under a new Raft id, or restore a backup"
    )]
    Uncovered {
        /// The last purged index.
        purged: u64,
        /// Where the snapshot ends, or that there is none.
        snapshot: String,
    },
    /// Replaying the log failed.
    #[error("the log cannot be replayed: {0}")]
    Replay(String),
    /// openraft refused to start.
    #[error("Raft cannot start: {0}")]
    Raft(String),
}

/// A cell that cannot be initialised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This replica is not among the members, or with another disk.
    #[error("master {name} (Raft id {raft_id}) is not among the members with its name and disk id")]
    NotAMember {
        /// This master.
        name: String,
        /// Its Raft id.
        raft_id: u64,
    },
    /// The cell exists, and this disk knows nothing of it.
    #[error(
        "the cell has begun without this folder: {by} is a master of it. A master that lost its folder is put back with an empty one: start it with --join, then paceline cell member replace {me}"
    )]
    HasBegun {
        /// Who knows the cell.
        by: String,
        /// This master.
        me: String,
    },
    /// The cell exists with other members.
    #[error("the cell is already initialised with other masters: {}", found.join(", "))]
    OtherMembers {
        /// Their names.
        found: Vec<String>,
    },
    /// openraft refused.
    #[error("the cell cannot be initialised: {0}")]
    Raft(String),
}

/// A master that does not say who it is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be asked.
    #[error(transparent)]
    Peer(PeerError),
    /// Another master answers there.
    #[error("master {expected} was expected and master {found} answers")]
    OtherMaster {
        /// Who was expected.
        expected: String,
        /// Who answers.
        found: String,
    },
    /// Its answer lacks a disk id.
    #[error("the master answers without a disk id")]
    NoDiskId,
}

/// How a caller may go on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same request may be sent again, elsewhere or later; nothing has happened.
    Retry,
    /// The request may have happened: retry only with the same request id.
    Unknown,
    /// It will be refused again.
    Refused,
    /// This process is ending.
    Shutdown,
}

/// A proposal that was not applied, or whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was appended; ask the leader.
    #[error("this master does not lead{}", leader_words(leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<Member>,
    },
    /// It may or may not become true: ask again with the same request id.
    #[error("the outcome of the proposal is unknown: {cause}")]
    Unknown {
        /// Why.
        cause: String,
    },
    /// Never proposed.
    #[error("the entry has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Never proposed: too much is in flight.
    #[error("too many proposals are in flight; try again in {retry_after_ms} ms")]
    Overloaded {
        /// When it is worth trying again.
        retry_after_ms: u64,
    },
    /// Raft has stopped in this process.
    #[error("this master is stopping")]
    Shutdown,
}

impl ProposeError {
    /// How a caller may go on.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotLeader { .. } | Self::Overloaded { .. } => ErrorClass::Retry,
            Self::Unknown { .. } => ErrorClass::Unknown,
            Self::TooLarge { .. } => ErrorClass::Refused,
            Self::Shutdown => ErrorClass::Shutdown,
        }
    }
}

/// A linearizable read that this replica cannot vouch for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Only the leader can; ask it.
    #[error("this master does not lead{}", leader_words(leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<Member>,
    },
    /// A majority did not confirm the leadership in time.
    #[error("no majority has confirmed that this master leads: {cause}")]
    NoQuorum {
        /// Why.
        cause: String,
    },
    /// Raft has stopped in this process.
    #[error("this master is stopping")]
    Shutdown,
}

impl ReadError {
    /// How a caller may go on.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotLeader { .. } | Self::NoQuorum { .. } => ErrorClass::Retry,
            Self::Shutdown => ErrorClass::Shutdown,
        }
    }
}

/// A leadership that did not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand over.
    #[error("this master does not lead{}", leader_words(leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<Member>,
    },
    /// The target is not a voter of the cell.
    #[error("{name} is not another voting master of this cell")]
    NoSuchVoter {
        /// The name that was given.
        name: String,
    },
    /// There is nobody to hand over to.
    #[error("this cell has no other voting master")]
    NoOtherVoter,
    /// Nobody has taken over.
    #[error("no other master has taken over within {deadline_ms} ms")]
    NotTaken {
        /// How long we waited.
        deadline_ms: u128,
    },
    /// openraft refused.
    #[error("leadership cannot be transferred: {0}")]
    Raft(String),
}

/// A change of the masters that was not made, or not completely.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader can.
    #[error("this master does not lead{}", leader_words(leader))]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<Member>,
    },
    /// Its id, name or disk belongs to a member.
    #[error(
        "master {} already has that name, Raft id {} or disk, at {} and {}: a master that is to stand in its place is put there with `replace`",
        by.name, by.raft_id, by.peer_address, by.api_address
    )]
    Taken {
        /// The member.
        by: Member,
    },
    /// A member's name on a disk that is not the member's.
    #[error(
        "master {} (Raft id {}) stands on disk {}, and the one at {} on disk {}: a master that lost its disk is put in its own place with `replace`",
        known.name, known.raft_id, format_disk_id(&known.disk_id), known.peer_address, format_disk_id(found)
    )]
    OtherDisk {
        /// The member.
        known: Member,
        /// The disk of the one that answers.
        found: DiskId,
    },
    /// There are as many as there may be.
    #[error(
        "the cell has {members} masters, those without a vote included, and may have no more: remove one first"
    )]
    TooMany {
        /// How many there are.
        members: usize,
    },
    /// The cell could not go on.
    #[error(
        "without {name} there would be {voters} voting masters, of which {live} answer and keep up, and {majority} have to{}{}",
        listed("silent", silent),
        listed("behind", behind)
    )]
    TooFewLive {
        /// Who was to go.
        name: String,
        /// How many would vote.
        voters: usize,
        /// How many of them answer and keep up.
        live: usize,
        /// How many of them have to.
        majority: usize,
        /// Those that do not answer, and for how long.
        silent: Vec<String>,
        /// Those that answer and have to receive much first, and how much.
        behind: Vec<String>,
    },
    /// An address that is not the new master's.
    #[error("{field}: `{value}` is not {expected}")]
    Address {
        /// Which one.
        field: &'static str,
        /// What was said.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// Somebody is on the way to its place already.
    #[error(
        "{old} (Raft id {}) is being replaced by {} (Raft id {}) already: take that back first, with `remove {} --raft-id {}`",
        by.replaces.unwrap_or(NO_RAFT_ID), by.name, by.raft_id, by.name, by.raft_id
    )]
    Wished {
        /// Who is to go.
        old: String,
        /// Who is to stand in its place.
        by: Member,
    },
    /// More than one master has the name.
    #[error("{name} is the name of {} masters: say which one with --raft-id {}", raft_ids.len(), or(raft_ids))]
    Ambiguous {
        /// The name that was given.
        name: String,
        /// Theirs.
        raft_ids: Vec<u64>,
    },
    /// It does not take its Raft id.
    #[error("the new master does not take its Raft id")]
    Adopt(#[source] PeerError),
    /// The leader is to go, and nobody has taken over.
    #[error("the leader is to go, and could not hand over")]
    HandOver(#[source] TransferError),
    /// Another change is under way, or came in between. Nothing was done.
    #[error("the masters are being changed: {cause}")]
    Busy {
        /// What openraft says.
        cause: String,
    },
    /// Not minted since the membership last changed, so it may have been used before.
    #[error(
        "Raft id {raft_id} was not minted since the masters last changed, so it may have been used: start the new master on an empty folder with --join, and it is given another"
    )]
    StaleId {
        /// The id.
        raft_id: u64,
    },
    /// It cannot be asked who it is.
    #[error(transparent)]
    Probe(ProbeError),
    /// Its id or disk is not what was said.
    #[error("master {name} runs with another Raft id than {raft_id}, or on another disk than was said")]
    OtherMaster {
        /// Its name.
        name: String,
        /// The id that was said.
        raft_id: u64,
    },
    /// It did not receive the state in time.
    #[error(
        "the new master has not caught up in time; it is a member without a vote, repeat the call to go on"
    )]
    TooSlow,
    /// Not a master of this cell.
    #[error("{name} is not a master of this cell")]
    NoSuchMaster {
        /// The name that was given.
        name: String,
    },
    /// Nobody would be left.
    #[error("{name} is the last voting master of this cell")]
    LastVoter {
        /// Its name.
        name: String,
    },
    /// It may or may not be made.
    #[error("it is not known whether the masters were changed: {cause}")]
    Unknown {
        /// Why.
        cause: String,
    },
}

/// One part of a refusal, where there is something to list.
fn listed(what: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
}

fn or(raft_ids: &[u64]) -> String {
    raft_ids.iter().map(u64::to_string).collect::<Vec<_>>().join(" or ")
}

/// A requested snapshot that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotNowError {
    /// There is nothing to cover yet.
    #[error("nothing has been applied yet")]
    NothingApplied,
    /// It took too long.
    #[error("the snapshot was not complete within {deadline_ms} ms")]
    Timeout {
        /// How long we waited.
        deadline_ms: u128,
    },
    /// openraft refused.
    #[error("no snapshot can be taken: {0}")]
    Raft(String),
}

fn leader_words(leader: &Option<Member>) -> String {
    match leader {
        Some(leader) => format!("; master {} at {} does", leader.name, leader.api_address),
        None => "; nobody is known to".into(),
    }
}
