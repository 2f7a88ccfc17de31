//! The metadata beside the log: whose disk it is, vote, commit, purge point. Each value is versioned and checksummed.
//!
//! ```text
//!  byte  0       1..n-4            n-4..n
//!      version   prost message     CRC-32C of everything before
//! ```

use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::frame::Chain;
use crate::disk::{Disk, DiskError, Space};
use crate::member::DiskId;
use crate::raft::{LogId, Vote};
use crate::wire::{self, proto};

const VERSION: u8 = 1;

pub const IDENTITY: &str = "identity";
pub const VOTE: &str = "vote";
pub const COMMITTED: &str = "committed";
pub const PURGED: &str = "purged";

/// The master that a disk belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOwner {
    /// The cell's name.
    pub cell: String,
    /// The master's name.
    pub name: String,
    /// Its Raft id.
    pub raft_id: u64,
}

impl fmt::Display for DiskOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master {} (Raft id {}) of cell {}", self.name, self.raft_id, self.cell)
    }
}

/// What the disk says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub who: DiskOwner,
    pub disk_id: DiskId,
}

/// A value that cannot be read: the disk failed, or the value is damaged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetaError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The value is there and is wrong.
    #[error("{key} is damaged: {problem}")]
    Damaged {
        /// Which value.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

pub fn seal(message: &impl Message) -> Bytes {
    let mut sealed = BytesMut::with_capacity(message.encoded_len() + 5);
    sealed.extend_from_slice(&[VERSION]);
    message.encode(&mut sealed).expect("the buffer grows as needed");
    let checksum = crc32c::crc32c(&sealed);
    sealed.extend_from_slice(&checksum.to_le_bytes());
    sealed.freeze()
}

pub fn unseal<M: Message + Default>(key: &'static str, sealed: &Bytes) -> Result<M, MetaError> {
    let damaged = |problem: String| MetaError::Damaged { key, problem };
    if sealed.len() < 5 {
        return Err(damaged(format!("it is only {} bytes long", sealed.len())));
    }
    let (body, checksum) = sealed.split_at(sealed.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() != checksum {
        return Err(damaged("its checksum is wrong".into()));
    }
    if body[0] != VERSION {
        return Err(damaged(format!("its format version is {}, this build reads version 1", body[0])));
    }
    M::decode(&body[1..]).map_err(|e| damaged(e.to_string()))
}

fn read<M: Message + Default>(disk: &dyn Disk, key: &'static str) -> Result<Option<M>, MetaError> {
    let sealed = disk.read(Space::Meta, key.as_bytes())?;
    sealed.map(|sealed| unseal(key, &sealed)).transpose()
}

pub fn read_identity(disk: &dyn Disk) -> Result<Option<Identity>, MetaError> {
    let Some(stored) = read::<proto::DiskIdentity>(disk, IDENTITY)? else { return Ok(None) };
    let disk_id = stored.disk_id.as_ref().try_into();
    let disk_id = disk_id
        .map_err(|_| MetaError::Damaged { key: IDENTITY, problem: "the disk id is not 16 bytes".into() })?;
    let who = DiskOwner { cell: stored.cell, name: stored.name, raft_id: stored.raft_id };
    Ok(Some(Identity { who, disk_id }))
}

pub fn seal_identity(identity: &Identity) -> Bytes {
    seal(&proto::DiskIdentity {
        disk_id: identity.disk_id.to_vec().into(),
        cell: identity.who.cell.clone(),
        name: identity.who.name.clone(),
        raft_id: identity.who.raft_id,
    })
}

pub fn read_vote(disk: &dyn Disk) -> Result<Option<Vote>, MetaError> {
    let stored = read::<proto::Vote>(disk, VOTE)?;
    Ok(stored.map(|vote| wire::vote_from(Some(vote)).expect("a vote is present")))
}

pub fn seal_vote(vote: &Vote) -> Bytes {
    seal(&wire::vote(vote))
}

pub fn read_committed(disk: &dyn Disk) -> Result<Option<LogId>, MetaError> {
    Ok(read::<proto::LogId>(disk, COMMITTED)?.map(wire::log_id_from))
}

pub fn seal_committed(id: &LogId) -> Bytes {
    seal(&wire::log_id(id))
}

pub fn read_purged(disk: &dyn Disk) -> Result<Option<(LogId, Chain)>, MetaError> {
    let Some(stored) = read::<proto::PurgePoint>(disk, PURGED)? else { return Ok(None) };
    let id = stored
        .log_id
        .ok_or_else(|| MetaError::Damaged { key: PURGED, problem: "it names no entry".into() })?;
    Ok(Some((wire::log_id_from(id), stored.chain)))
}

pub fn seal_purged(id: &LogId, chain: Chain) -> Bytes {
    seal(&proto::PurgePoint { log_id: Some(wire::log_id(id)), chain })
}
