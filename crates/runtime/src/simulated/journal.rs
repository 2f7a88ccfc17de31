//! Who lived when, for whoever checks that nothing lived twice at once.

use std::collections::VecDeque;

use paceline_types::{AttemptId, Reason};

/// Ends that wait for a checker. A checker that looks after every step needs a few; one that never looks costs a few
/// megabytes, and finds by [`Lives::dropped`] that it did not see all.
const ENDED_MAX: usize = 65_536;

/// One attempt's time on a machine. Both ends are the truth of the machine, not what was reported of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lived {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which boot of the machine, from 0: each has a boot clock of its own.
    pub boot: u32,
    /// Boot clock of its start.
    pub started_boot_ms: u64,
    /// Boot clock of its end; nothing while it lives. It does not live any more at this very millisecond.
    pub ended_boot_ms: Option<u64>,
    /// Why it ended; nothing while it lives.
    pub reason: Option<Reason>,
}

/// Lives on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// Those that have ended since the last look, in the order of their ends.
    pub ended: Vec<Lived>,
    /// Those that live, by attempt.
    pub alive: Vec<Lived>,
    /// Ends since the last look that are not among `ended`, because there were too many.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    ended: VecDeque<Lived>,
    dropped: u64,
}

impl Journal {
    pub fn note(&mut self, lived: Lived) {
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
            self.dropped += 1;
        }
        self.ended.push_back(lived);
    }

    pub fn take(&mut self, alive: Vec<Lived>) -> Lives {
        let dropped = std::mem::take(&mut self.dropped);
        Lives { ended: std::mem::take(&mut self.ended).into(), alive, dropped }
    }
}
