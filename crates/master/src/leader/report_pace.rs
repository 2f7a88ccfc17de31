//! When reports become an entry: a lone one at once, those of a moment together.
//!
//! Every entry is written, synced and applied by every master, and frees room that the next pass fills with another
//! entry, however little stands in it. What reports say is the hub's business.

/// Entries of reports are this long apart, which is as long as an agent waits between two of its own.
const EVERY_MS: u64 = 100;
/// So many reports do not wait for more: the entry would not become cheaper by the report.
const FULL: usize = 256;

/// The pace of one leadership's entries of reports.
#[derive(Debug, Default)]
pub(super) struct ReportPace {
    /// None before this, unless it is full.
    again_ms: u64,
}

impl ReportPace {
    /// When the next entry is due, if so many reports wait.
    pub(super) const fn due_ms(&self, waiting: usize) -> Option<u64> {
        match waiting {
            0 => None,
            FULL.. => Some(0),
            _ => Some(self.again_ms),
        }
    }

    /// Whether it is due now.
    pub(super) fn is_due(&self, waiting: usize, now_ms: u64) -> bool {
        self.due_ms(waiting).is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// One was proposed.
    pub(super) const fn proposed(&mut self, now_ms: u64) {
        self.again_ms = now_ms + EVERY_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_report_goes_at_once_and_those_behind_it_together() {
        let mut pace = ReportPace::default();
        assert_eq!(pace.due_ms(0), None);
        assert!(pace.is_due(1, 5));
        pace.proposed(5);
        assert_eq!(pace.due_ms(2), Some(5 + EVERY_MS));
        assert!(!pace.is_due(2, 4 + EVERY_MS) && pace.is_due(2, 5 + EVERY_MS));
        assert!(pace.is_due(1, 10_000), "the last one is long ago");
    }

    #[test]
    fn many_reports_wait_for_nothing() {
        let mut pace = ReportPace::default();
        pace.proposed(1_000);
        assert!(!pace.is_due(FULL - 1, 1_001) && pace.is_due(FULL, 1_001));
    }
}
