//! A master as the others know it.

use std::net::SocketAddr;

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

/// Whether an address leads to a master that says where it listens. Of one that listens on every address, and of an
/// address by name, only the port can be told.
pub fn leads_to(address: &str, listens: &str) -> bool {
    let port = |text: &str| text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    match (listens.parse::<SocketAddr>(), address.parse::<SocketAddr>()) {
        (Ok(listens), Ok(address)) => {
            address == listens || (listens.ip().is_unspecified() && address.port() == listens.port())
        }
        (Ok(listens), Err(_)) => port(address) == Some(listens.port()),
        (Err(_), _) => address == listens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_against_as_much_as_a_listener_can_say() {
        let cases = [
            ("10.0.0.4:7101", "10.0.0.4:7101", true),
            ("10.0.0.5:7101", "10.0.0.4:7101", false),
            ("10.0.0.4:7102", "10.0.0.4:7101", false),
            ("10.0.0.4:7101", "0.0.0.0:7101", true),
            ("10.0.0.4:7102", "0.0.0.0:7101", false),
            ("m4.cell.example:7101", "10.0.0.4:7101", true),
            ("m4.cell.example:7102", "[::]:7101", false),
            ("m4:7101", "m4:7101", true),
            ("m5:7101", "m4:7101", false),
        ];
        for (address, listens, expected) in cases {
            assert_eq!(leads_to(address, listens), expected, "{address} to {listens}");
        }
    }
}
