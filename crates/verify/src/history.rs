//! What clients did and what they saw: the record that the checkers judge.
//!
//! A [`Call`] has two instants of one clock that never goes back (virtual time, or a monotonic clock), in whatever
//! unit its recorder chose, and an outcome: answered, refused, or open. Open means that it may have been done, may
//! still be done, or never. Writing and reading a history as text is in [`text`]; what is right is for the checkers.

mod call;
mod outcome;
mod recorder;
pub mod text;
mod text_read;

pub use call::{Action, Call, CallId, ClientNumber, Freshness, RequestId, Target};
pub use outcome::{Answer, Outcome, Refused, SeenJob};
pub use recorder::{CALLS_MAX, RecordError, Recorder};

/// Calls in the order in which they were invoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    calls: Vec<Call>,
}

impl History {
    /// The calls, ordered by (invoked, id).
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How many calls there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many calls have an answer: a run with few of them says little.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.calls.iter().filter(|call| matches!(call.outcome, Outcome::Answered { .. })).count()
    }
}

/// Calls in any order.
impl FromIterator<Call> for History {
    fn from_iter<I: IntoIterator<Item = Call>>(calls: I) -> Self {
        let mut calls: Vec<_> = calls.into_iter().collect();
        calls.sort_by_key(|call| (call.invoked, call.id));
        Self { calls }
    }
}
