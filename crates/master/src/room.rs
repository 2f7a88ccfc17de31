//! Whether the disk has room for more. A log that meets a full disk aborts the process, so a master whose disk is
//! nearly full takes no changes from clients, while reports, ticks and retiring go on in what is left.
//!
//! It leaves the looking to `run` and the refusing to `api`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Fewest free bytes with which changes by clients are taken. Below it there is still room for what goes on by itself
/// until somebody comes: the proposals in flight, a snapshot of a large cell beside the old one, and what RocksDB
/// writes anew while it compacts.
pub(crate) const FREE_BYTES_MIN: u64 = 256 << 20;
/// When a client that was refused should come again: somebody has to make room, or a snapshot is about to.
pub(crate) const RETRY_AFTER_MS: u64 = 10_000;

/// Why a change is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of this master is nearly full: {} MiB are free, and below {} MiB changes are refused before a write \
     fails. What runs goes on and can be read; make room on the filesystem of its data folder",
    free_bytes >> 20,
    free_bytes_min >> 20
)]
pub(crate) struct NearlyFull {
    pub free_bytes: u64,
    pub free_bytes_min: u64,
}

/// What is known of the room. Before the first look there is enough.
#[derive(Debug)]
pub(crate) struct Room {
    free_bytes_min: u64,
    free_bytes: AtomicU64,
    nearly_full: AtomicBool,
}

impl Room {
    pub(crate) fn new(free_bytes_min: u64) -> Self {
        Self { free_bytes_min, free_bytes: AtomicU64::new(u64::MAX), nearly_full: AtomicBool::new(false) }
    }

    /// Takes in a look at the disk. Changes are taken again only with a quarter more than the bound, so that a disk at
    /// the bound does not answer one way and then the other.
    pub(crate) fn observe(&self, free_bytes: u64) {
        // ORDERING: Relaxed here and in `check`: the two may be a look apart, and nothing else is read by them.
        let was_full = self.nearly_full.load(Ordering::Relaxed);
        let enough =
            if was_full { self.free_bytes_min + self.free_bytes_min / 4 } else { self.free_bytes_min };
        let is_full = free_bytes < enough;
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.nearly_full.store(is_full, Ordering::Relaxed);
        match (was_full, is_full) {
            (false, true) => {
                tracing::error!(free_bytes, "the disk is nearly full: changes by clients are refused")
            }
            (true, false) => {
                tracing::info!(free_bytes, "the disk has room again: changes by clients are taken")
            }
            _ => {}
        }
    }

    /// Whether a change by a client can be taken.
    pub(crate) fn check(&self) -> Result<(), NearlyFull> {
        // ORDERING: as in `observe`.
        if !self.nearly_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        Err(NearlyFull { free_bytes, free_bytes_min: self.free_bytes_min })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_refused_below_the_bound_and_taken_again_well_above_it() {
        let room = Room::new(1_000);
        assert_eq!(room.check(), Ok(()), "nothing is known yet");
        for (free_bytes, taken) in [
            (1_000, true),
            (999, false),
            (1_000, false),
            (1_249, false),
            (1_250, true),
            (1_000, true),
            (0, false),
        ] {
            room.observe(free_bytes);
            assert_eq!(room.check().is_ok(), taken, "{free_bytes}");
        }
        assert_eq!(room.check(), Err(NearlyFull { free_bytes: 0, free_bytes_min: 1_000 }));
    }

    #[test]
    fn the_reason_has_the_figures() {
        let text = NearlyFull { free_bytes: 100 << 20, free_bytes_min: FREE_BYTES_MIN }.to_string();
        assert!(text.contains("100 MiB are free") && text.contains("below 256 MiB"), "{text}");
    }
}
