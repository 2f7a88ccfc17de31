//! Bugs to plant, so that tests can prove that they would be caught. One switch for the process, and only in builds with
//! feature `testing`; in any other build nothing can be planted and the questions below are constants.

/// A bug in the commit path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Entries are acknowledged before the sync; the next vote brings it.
    AcknowledgeBeforeSync,
    /// A vote is given before it is synced.
    VoteNotSynced,
    /// A truncated tail stays on the disk until it is overwritten.
    TailNotTruncated,
    /// The high-water mark is not lowered before a truncation.
    MarkNotLowered,
    /// A snapshot is renamed before its bytes are synced.
    SnapshotNotSynced,
    /// A renamed snapshot is believed before its folder is synced.
    FolderNotSynced,
    /// A write or sync that failed is passed over.
    ErrorIgnored,
    /// A leader that comes back leads on in its old term.
    LeaderRestored,
    /// The high-water mark is not written when the log grows.
    MarkNotSynced,
    /// Each group is acknowledged and synced right after.
    AcknowledgeThenSync,
    /// A commit index is written on its own, without a sync.
    HintAlone,
}

impl Plant {
    /// Every bug.
    pub const ALL: [Self; 11] = [
        Self::AcknowledgeBeforeSync,
        Self::VoteNotSynced,
        Self::TailNotTruncated,
        Self::MarkNotLowered,
        Self::SnapshotNotSynced,
        Self::FolderNotSynced,
        Self::ErrorIgnored,
        Self::LeaderRestored,
        Self::MarkNotSynced,
        Self::AcknowledgeThenSync,
        Self::HintAlone,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AcknowledgeBeforeSync => "acknowledge-before-sync",
            Self::VoteNotSynced => "vote-not-synced",
            Self::TailNotTruncated => "tail-not-truncated",
            Self::MarkNotLowered => "mark-not-lowered",
            Self::SnapshotNotSynced => "snapshot-not-synced",
            Self::FolderNotSynced => "folder-not-synced",
            Self::ErrorIgnored => "error-ignored",
            Self::LeaderRestored => "leader-restored",
            Self::MarkNotSynced => "mark-not-synced",
            Self::AcknowledgeThenSync => "acknowledge-then-sync",
            Self::HintAlone => "hint-alone",
        }
    }
}

#[cfg(feature = "testing")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Plant;

    /// Position in [`Plant::ALL`], plus one.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a bug in every replica of this process, or none.
    pub fn plant(bug: Option<Plant>) {
        let place = bug.and_then(|bug| Plant::ALL.iter().position(|known| *known == bug));
        // ORDERING: Relaxed; set before any replica is opened, and read by whoever happens to ask.
        PLANTED.store(place.map_or(0, |place| place as u8 + 1), Ordering::Relaxed);
    }

    pub(crate) fn is_planted(bug: Plant) -> bool {
        // ORDERING: Relaxed, see `plant`.
        let planted = PLANTED.load(Ordering::Relaxed);
        planted > 0 && Plant::ALL[usize::from(planted) - 1] == bug
    }
}

#[cfg(feature = "testing")]
pub(crate) use switch::is_planted;
#[cfg(feature = "testing")]
pub use switch::plant;

#[cfg(not(feature = "testing"))]
pub(crate) const fn is_planted(_bug: Plant) -> bool {
    false
}
