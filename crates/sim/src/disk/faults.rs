//! What may go wrong with a disk while it runs.

use std::time::Duration;

use crate::draw::Draw;

/// An operation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A batch of keys.
    WriteKeys,
    /// A sync of the key spaces.
    SyncKeys,
    /// Bytes of a file.
    WriteFile,
    /// A sync of a file.
    SyncFile,
    /// A creation, a rename or a removal.
    ChangeName,
    /// A sync of a folder.
    SyncFolder,
}

impl Operation {
    /// Whether it writes, so that it can find the disk full.
    pub fn is_write(self) -> bool {
        matches!(self, Self::WriteKeys | Self::WriteFile | Self::ChangeName)
    }

    /// As a verb, for errors.
    pub fn verb(self) -> &'static str {
        match self {
            Self::WriteKeys | Self::WriteFile => "write",
            Self::SyncKeys | Self::SyncFile | Self::SyncFolder => "sync",
            Self::ChangeName => "change a name in",
        }
    }
}

/// Syncs that take their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowSync {
    /// How many of a thousand.
    pub permille: u64,
    /// The longest.
    pub longest: Duration,
}

/// What a disk does to its user, besides what a crash does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes of a thousand that fail.
    pub write_errors_permille: u64,
    /// Syncs of a thousand that fail.
    pub sync_errors_permille: u64,
    /// Beyond these bytes writes fail.
    pub capacity_bytes: Option<u64>,
    /// Syncs that wait.
    pub slow_sync: Option<SlowSync>,
    /// Syncs succeed and save nothing. A disk that lies is outside of what Raft can survive: only for tests that prove
    /// that it is noticed.
    pub lying_sync: bool,
}

impl Faults {
    /// Whether an operation fails of itself.
    pub fn strikes(&self, operation: Operation, draw: &mut Draw) -> bool {
        draw.chance(if operation.is_write() { self.write_errors_permille } else { self.sync_errors_permille })
    }

    /// How long the next sync waits.
    pub fn stall(&self, draw: &mut Draw) -> Duration {
        let Some(slow) = self.slow_sync.filter(|slow| draw.chance(slow.permille)) else {
            return Duration::ZERO;
        };
        let longest_us = u64::try_from(slow.longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(draw.between(0, longest_us))
    }
}
