//! Names of snapshot files: they sort like the log ids that they end at.

use crate::raft::{self, LogId};

const PREFIX: &str = "snapshot-";
const BUILDING: &str = ".building";
const INCOMING: &str = ".incoming";

/// The final name of the snapshot that ends at `last`. Two snapshots of one log id hold the same state.
pub fn complete(last: Option<LogId>) -> String {
    match last {
        Some(id) => format!("{PREFIX}{:020}-{:020}", raft::term(&id), id.index()),
        None => format!("{PREFIX}empty"),
    }
}

/// Where a snapshot is while it is built.
pub fn building(last: Option<LogId>) -> String {
    complete(last) + BUILDING
}

/// Where a snapshot is while it is received. The number keeps transfers of one snapshot apart: what was received waits
/// under its name to be installed, while the next offer of the same begins.
pub fn incoming(last: Option<LogId>, transfer: u64) -> String {
    format!("{}-{transfer}{INCOMING}", complete(last))
}

/// Whether this is a snapshot that is or was received.
pub fn is_incoming(name: &str) -> bool {
    name.ends_with(INCOMING)
}

/// Whether a crash may have left this file behind half-written.
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(BUILDING) || is_incoming(name)
}

/// Whether this is a finished snapshot.
pub fn is_complete(name: &str) -> bool {
    name.starts_with(PREFIX) && !is_unfinished(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_like_log_ids() {
        let ids = [None, Some(raft::log_id(1, 900)), Some(raft::log_id(2, 7)), Some(raft::log_id(10, 8))];
        let mut names: Vec<_> = ids.iter().skip(1).map(|id| complete(*id)).collect();
        names.sort();
        assert_eq!(names, ids.iter().skip(1).map(|id| complete(*id)).collect::<Vec<_>>());
        assert!(is_complete(&complete(ids[0])) && !is_complete(&building(ids[1])));
    }
}
