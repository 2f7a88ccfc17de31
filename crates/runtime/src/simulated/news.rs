//! Which changes the agent was not told yet, and which it was told and has not looked at.

use std::collections::BTreeSet;

use paceline_types::AttemptId;

/// Between two tellings of the same news: as often as a real node looks by itself.
const TELL_AGAIN_MS: u64 = 1_000;

/// Bounded by the attempts of the machine: each stands in it at most twice.
#[derive(Debug, Default)]
pub(super) struct News {
    fresh: BTreeSet<AttemptId>,
    unseen: BTreeSet<AttemptId>,
    tell_again_ms: Option<u64>,
}

impl News {
    pub fn changed(&mut self, attempt: AttemptId) {
        self.fresh.insert(attempt);
    }

    pub fn seen(&mut self, attempt: &AttemptId) {
        self.fresh.remove(attempt);
        self.unseen.remove(attempt);
        if self.unseen.is_empty() {
            self.tell_again_ms = None;
        }
    }

    /// When something is to be told again, on the boot clock.
    pub const fn due_ms(&self) -> Option<u64> {
        self.tell_again_ms
    }

    /// What to tell now. Where nobody listens nothing is kept: an agent that comes asks for everything.
    pub fn take(&mut self, now_ms: u64, heard: bool) -> BTreeSet<AttemptId> {
        if !heard {
            *self = Self::default();
            return BTreeSet::new();
        }
        let mut told = std::mem::take(&mut self.fresh);
        if self.tell_again_ms.is_some_and(|at| now_ms >= at) {
            told.append(&mut self.unseen);
            self.tell_again_ms = None;
        }
        self.unseen.extend(&told);
        if self.tell_again_ms.is_none() && !self.unseen.is_empty() {
            self.tell_again_ms = Some(now_ms.saturating_add(TELL_AGAIN_MS));
        }
        told
    }
}
