//! When reports go out: a lone change soon, many changes together. What they say is the table's business.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timings;

/// The pace of one agent's reports.
#[derive(Debug)]
pub(crate) struct ReportPace {
    flush: Duration,
    every: Duration,
    /// When the next report goes out, if there is something to say.
    due: Option<Instant>,
    /// No report before this, unless it is full.
    not_before: Option<Instant>,
}

impl ReportPace {
    pub(crate) const fn new(timings: &Timings) -> Self {
        Self {
            flush: Duration::from_millis(timings.flush_ms),
            every: Duration::from_millis(timings.report_every_ms),
            due: None,
            not_before: None,
        }
    }

    /// When a report is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// So much waits to be told. The first of it fixes when.
    pub(crate) fn plan(&mut self, waiting: usize, now: Instant) {
        self.due = match waiting {
            0 => None,
            _ => self.due.or_else(|| Some((now + self.flush).max(self.not_before.unwrap_or(now)))),
        };
    }

    /// What was due is being sent, as far as there is room.
    pub(crate) const fn flushed(&mut self) {
        self.due = None;
    }

    /// A report went out.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.not_before = Some(now + self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> (ReportPace, Instant) {
        let timings = Timings { flush_ms: 5, report_every_ms: 100, ..Timings::default() };
        (ReportPace::new(&timings), Instant::now())
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_lone_change_is_told_after_a_moment_and_later_ones_do_not_put_it_off() {
        let (mut pace, start) = pace();
        pace.plan(0, start);
        assert_eq!(pace.due(), None);
        pace.plan(1, start);
        pace.plan(2, start + ms(3));
        assert_eq!(pace.due(), Some(start + ms(5)));
        pace.flushed();
        pace.sent(start + ms(5));
        pace.plan(1, start + ms(1_000));
        assert_eq!(pace.due(), Some(start + ms(1_005)), "the last report is long ago");
    }

    #[test]
    fn of_a_change_each_millisecond_ten_reports_a_second_tell() {
        let (mut pace, start) = pace();
        let mut reports = 0;
        for at in (0..1_000).map(|at| start + ms(at)) {
            pace.plan(1, at);
            if pace.due().is_some_and(|due| due <= at) {
                pace.flushed();
                pace.sent(at);
                reports += 1;
            }
        }
        assert_eq!(reports, 10);
    }
}
