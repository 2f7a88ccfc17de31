//! Bugs to plant, so that tests can prove that they would be caught: one table for all crates, and one switch for the
//! process.
//!
//! The switch is there in builds with feature `testing` alone; in any other build nothing can be planted, the question
//! below is a constant, and what hangs on it is not compiled. Each bug stands where the real one would be, as a condition
//! of its own. Which seeds catch it is counted by the simulation, and by `cargo xtask powercut` for those of the disk.

/// What must catch a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaughtBy {
    /// Seeds of the whole cell.
    Cell,
    /// Seeds of consensus alone.
    Consensus,
    /// Seeds of either.
    Both,
    /// Masters on graphs of links: who may commit, and that they stay.
    Graphs,
    /// Power cuts of a recorded store.
    PowerCuts,
}

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// Entries are acknowledged and never synced; the next vote brings it.
    AcknowledgeBeforeSync,
    /// Entries are acknowledged, and synced right then.
    AcknowledgeThenSync,
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
    /// The snapshot before goes before the new one is there.
    SnapshotRemovedFirst,
    /// A snapshot becomes current while the history that it leaves out is not durable.
    HistoryNotRaised,
    /// What a snapshot says it covers is read before its state is frozen.
    AppliedReadEarly,
    /// A received snapshot is used before its bytes are synced.
    ReceivedNotSynced,
    /// A write or sync that failed is passed over.
    ErrorIgnored,
    /// A leader that comes back leads on in its old term.
    LeaderRestored,
    /// A vote goes to a candidate that lacks entries.
    VoteForShorterLog,
    /// A read is answered without asking whether there is another leader.
    ReadUnconfirmed,
    /// Everybody would vote for anybody: a master that cannot win drives the leader out.
    PreVoteGranted,
    /// A leader without a majority never looks for one, and keeps those who could lead quiet.
    QuorumLossUnseen,
    /// The table of request ids is not in snapshots.
    RequestsNotInSnapshot,
    /// A report of an earlier attempt is taken for the present one.
    StaleAttemptAccepted,
    /// A report that was applied is applied again.
    ReportAppliedTwice,
    /// An agent that connects again is taken for one that was started anew.
    EpochRaisedOnReconnect,
    /// Absence from a set of orders of the past ends an attempt.
    OldOrdersFollowed,
    /// A shard acknowledges reports that it has passed on.
    WatermarkMintedByShard,
    /// A new leader writes nodes off before it could hear them.
    NoReportRound,
    /// The hub acknowledges a report that it has only proposed.
    ReportAcknowledgedEarly,
    /// One event in many never reaches those who watch.
    WatchEventDropped,
    /// Finished jobs leave the history long before their time.
    HistoryTrimmedEarly,
    /// A call of unknown outcome is made again under another id.
    RetryUnderNewId,
    /// The high-water mark is not written when the log grows.
    MarkNotSynced,
    /// A commit index is written on its own, without a sync.
    HintAlone,
}

use Plant::*;

impl Plant {
    /// Every bug.
    pub const ALL: [Self; 30] = [
        AcknowledgeBeforeSync,
        AcknowledgeThenSync,
        VoteNotSynced,
        TailNotTruncated,
        MarkNotLowered,
        SnapshotNotSynced,
        FolderNotSynced,
        SnapshotRemovedFirst,
        HistoryNotRaised,
        AppliedReadEarly,
        ReceivedNotSynced,
        ErrorIgnored,
        LeaderRestored,
        VoteForShorterLog,
        ReadUnconfirmed,
        PreVoteGranted,
        QuorumLossUnseen,
        RequestsNotInSnapshot,
        StaleAttemptAccepted,
        ReportAppliedTwice,
        EpochRaisedOnReconnect,
        OldOrdersFollowed,
        WatermarkMintedByShard,
        NoReportRound,
        ReportAcknowledgedEarly,
        WatchEventDropped,
        HistoryTrimmedEarly,
        RetryUnderNewId,
        MarkNotSynced,
        HintAlone,
    ];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AcknowledgeBeforeSync => "acknowledge-before-sync",
            AcknowledgeThenSync => "acknowledge-then-sync",
            VoteNotSynced => "vote-not-synced",
            TailNotTruncated => "tail-not-truncated",
            MarkNotLowered => "mark-not-lowered",
            SnapshotNotSynced => "snapshot-not-synced",
            FolderNotSynced => "folder-not-synced",
            SnapshotRemovedFirst => "snapshot-removed-first",
            HistoryNotRaised => "history-not-raised",
            AppliedReadEarly => "applied-read-early",
            ReceivedNotSynced => "received-not-synced",
            ErrorIgnored => "error-ignored",
            LeaderRestored => "leader-restored",
            VoteForShorterLog => "vote-for-shorter-log",
            ReadUnconfirmed => "read-unconfirmed",
            PreVoteGranted => "pre-vote-granted",
            QuorumLossUnseen => "quorum-loss-unseen",
            RequestsNotInSnapshot => "requests-not-in-snapshot",
            StaleAttemptAccepted => "stale-attempt-accepted",
            ReportAppliedTwice => "report-applied-twice",
            EpochRaisedOnReconnect => "epoch-raised-on-reconnect",
            OldOrdersFollowed => "old-orders-followed",
            WatermarkMintedByShard => "watermark-minted-by-shard",
            NoReportRound => "no-report-round",
            ReportAcknowledgedEarly => "report-acknowledged-early",
            WatchEventDropped => "watch-event-dropped",
            HistoryTrimmedEarly => "history-trimmed-early",
            RetryUnderNewId => "retry-under-new-id",
            MarkNotSynced => "mark-not-synced",
            HintAlone => "hint-alone",
        }
    }

    /// What must catch it.
    #[must_use]
    pub const fn caught_by(self) -> CaughtBy {
        match self {
            AcknowledgeThenSync | MarkNotSynced | HintAlone => CaughtBy::PowerCuts,
            PreVoteGranted | QuorumLossUnseen => CaughtBy::Graphs,
            VoteNotSynced | TailNotTruncated | MarkNotLowered | SnapshotNotSynced | FolderNotSynced
            | SnapshotRemovedFirst | HistoryNotRaised | ReceivedNotSynced | ErrorIgnored
            | VoteForShorterLog | ReadUnconfirmed | AppliedReadEarly => CaughtBy::Consensus,
            AcknowledgeBeforeSync | LeaderRestored => CaughtBy::Both,
            RequestsNotInSnapshot
            | StaleAttemptAccepted
            | ReportAppliedTwice
            | EpochRaisedOnReconnect
            | OldOrdersFollowed
            | WatermarkMintedByShard
            | NoReportRound
            | ReportAcknowledgedEarly
            | WatchEventDropped
            | HistoryTrimmedEarly
            | RetryUnderNewId => CaughtBy::Cell,
        }
    }
}

#[cfg(feature = "testing")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Plant;

    /// The bug as a number, plus one.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a bug in this process, or none.
    pub fn plant(bug: Option<Plant>) {
        // ORDERING: Relaxed; set before anything is started, and read by whoever happens to ask.
        PLANTED.store(bug.map_or(0, |bug| bug as u8 + 1), Ordering::Relaxed);
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn is_planted(bug: Plant) -> bool {
        // ORDERING: Relaxed, see `plant`.
        PLANTED.load(Ordering::Relaxed) == bug as u8 + 1
    }
}

#[cfg(feature = "testing")]
pub use switch::{is_planted, plant};

/// Whether this bug is planted: in this build none can be.
#[cfg(not(feature = "testing"))]
#[must_use]
pub const fn is_planted(_bug: Plant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_is_in_the_table_once_and_in_order() {
        let names: BTreeSet<_> = Plant::ALL.into_iter().map(Plant::name).collect();
        assert_eq!(names.len(), Plant::ALL.len());
        assert!(Plant::ALL.into_iter().enumerate().all(|(at, bug)| bug as usize == at));
        assert_eq!(HintAlone as usize + 1, Plant::ALL.len(), "the last one");
    }

    #[test]
    fn nothing_is_planted_unless_somebody_does() {
        assert!(Plant::ALL.into_iter().all(|bug| !is_planted(bug)));
    }
}
