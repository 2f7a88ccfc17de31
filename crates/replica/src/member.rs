//! A master as the others know it.

use serde::{Deserialize, Serialize};

/// A disk's identity: minted when the disk is first opened, never copied, so that a wiped or restored disk is noticed.
pub type DiskId = [u8; 16];

/// A master of the cell: its Raft id, its certificate name, its addresses and its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Never reused within a cell, not even after removal.
    pub raft_id: u64,
    /// The name in the master's certificate.
    pub name: String,
    /// Where the other masters reach it.
    pub peer_address: String,
    /// Where clients and shards reach it.
    pub api_address: String,
    /// Which disk carries its log.
    pub disk_id: DiskId,
    /// The master that goes when this one has the vote, by its Raft id: what was asked for is part of the membership, so
    /// whoever leads goes on with it. That id never comes back, so it means nothing once that master is gone.
    #[serde(default)]
    pub replaces: Option<u64>,
}

/// Prints a disk id as people see it in errors and `cell status`.
pub fn format_disk_id(id: &DiskId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
