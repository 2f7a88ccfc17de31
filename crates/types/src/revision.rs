//! Positions in the history of a cell: revision, term, generation, feature level, event ids.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The following value. A counter that would wrap has counted longer than any cell can live.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a counter of a cell does not wrap in its lifetime"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use counter;

counter!(
    /// The Raft log index at which something became true. Zero is before the first entry.
    Revision, u64
);
counter!(
    /// A Raft term.
    Term, u64
);
counter!(
    /// Raised only by a restore; part of every order, fencing token and revision token.
    Generation, u32
);
counter!(
    /// The committed level of behaviour; raised only when every voter advertises it.
    FeatureLevel, u32
);

/// Orders events: the revision of the entry and the position of the event within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The entry that caused the event.
    pub revision: Revision,
    /// Position within the entry, from 0.
    pub ordinal: u32,
}
