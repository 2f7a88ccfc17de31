//! How a watch can break its promises, in words that a person can act on.

use paceline_types::Revision;

/// A promise that a watch broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A revision at or below one that the watch had passed.
    #[error("watch {watch}: revision {revision} came after {passed} (out of order, or twice)")]
    OutOfOrder {
        /// Which.
        watch: u32,
        /// What came.
        revision: Revision,
        /// What it had passed.
        passed: Revision,
    },
    /// Ordinals of a message that do not rise.
    #[error("watch {watch}: revision {revision} has ordinal {ordinal} after {last}")]
    OrdinalsOutOfOrder {
        /// Which.
        watch: u32,
        /// Of which revision.
        revision: Revision,
        /// What came.
        ordinal: u32,
        /// What came before.
        last: u32,
    },
    /// A committed revision that the watch went past without its events.
    #[error(
        "watch {watch}: went on to {to} without revision {missed}, which has {events} for it, the first: {first}"
    )]
    Missed {
        /// Which.
        watch: u32,
        /// What was missed.
        missed: Revision,
        /// How many events of it.
        events: usize,
        /// The first of them.
        first: String,
        /// How far it had come by then.
        to: Revision,
    },
    /// The events of a message are not those that were committed.
    #[error("watch {watch}: revision {revision} came as [{got}], committed was [{committed}]")]
    Differs {
        /// Which.
        watch: u32,
        /// Of which revision.
        revision: Revision,
        /// What came.
        got: String,
        /// What was committed, as far as it is for this watch.
        committed: String,
    },
    /// Something that was never committed.
    #[error("watch {watch}: spoke of revision {revision}, but the cell has committed {committed}")]
    Phantom {
        /// Which.
        watch: u32,
        /// Of what.
        revision: Revision,
        /// How far the cell is.
        committed: Revision,
    },
    /// A RESYNC although everything after the watch's position was kept.
    #[error("watch {watch}: RESYNC after revision {after}, although everything after {oldest} is kept")]
    UndueResync {
        /// Which.
        watch: u32,
        /// Where it was.
        after: Revision,
        /// What the master keeps.
        oldest: Revision,
    },
    /// A RESYNC that names a revision that the master itself has not reached.
    #[error("watch {watch}: RESYNC to revision {oldest}, but the master is at {at}")]
    ResyncBeyond {
        /// Which.
        watch: u32,
        /// From where it should go on.
        oldest: Revision,
        /// Where the master is.
        at: Revision,
    },
    /// Something came when nothing may: before the watch was opened, or after its end.
    #[error("watch {watch}: a message came while it was not open")]
    NotOpen {
        /// Which.
        watch: u32,
    },
    /// It was opened again elsewhere than where it had been.
    #[error("watch {watch}: had passed {passed} and was opened again after {after}")]
    ResumedElsewhere {
        /// Which.
        watch: u32,
        /// Where it was.
        passed: Revision,
        /// Where it was opened.
        after: Revision,
    },
    /// A watch that is behind when it should not be.
    #[error("watch {watch}: stands at {passed}, and revision {missed} has been there for it for long")]
    Stalled {
        /// Which.
        watch: u32,
        /// Where it is.
        passed: Revision,
        /// The first that it did not get.
        missed: Revision,
    },
    /// Replicas do not agree on what was committed.
    #[error("revision {revision} was committed as [{first}], and as [{other}]")]
    Disagreement {
        /// Of which revision.
        revision: Revision,
        /// As said first.
        first: String,
        /// As said by another.
        other: String,
    },
    /// More was to be remembered than may be: this shows nothing, so it fails.
    #[error("watch {watch}: cannot be judged any more, {why}")]
    Unjudged {
        /// Which.
        watch: u32,
        /// What was full.
        why: &'static str,
    },
}
