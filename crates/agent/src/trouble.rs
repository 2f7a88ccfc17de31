//! How long launches are held while the node cannot start anything: no space, no processes, no cgroups.
//!
//! The cell gives an attempt that ended by the node's fault to some node at once, and it may be this one
//! again. So the pace is kept here: each launch waits as long as the trouble has lasted, within bounds. A
//! hiccup costs a task half a second; a node that is broken for good passes on a task per place and
//! [`HOLD_MAX`], which is two entries of the log each.
//!
//! Pure: the time is handed in.

use std::ops::Sub;
use std::time::Duration;

/// A launch that failed is not tried again before this.
const HOLD_MIN: Duration = Duration::from_millis(500);
/// A task that could run elsewhere is not kept longer than this, nor is the stop of a job.
const HOLD_MAX: Duration = Duration::from_secs(16);

/// Whether the node is in trouble, and since when.
#[derive(Debug)]
pub(crate) struct Trouble<T> {
    since: Option<T>,
}

impl<T> Default for Trouble<T> {
    fn default() -> Self {
        Self { since: None }
    }
}

impl<T: Copy + Sub<Output = Duration>> Trouble<T> {
    /// A launch failed for a reason that lies with the node.
    pub(crate) fn failed(&mut self, now: T) {
        self.since.get_or_insert(now);
    }

    /// A task was started.
    pub(crate) fn started(&mut self) {
        self.since = None;
    }

    /// How long the next launch waits; nothing while all is well.
    pub(crate) fn hold(&self, now: T) -> Option<Duration> {
        self.since.map(|since| (now - since).clamp(HOLD_MIN, HOLD_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_node_that_starts_tasks_holds_nothing() {
        let mut trouble = Trouble::default();
        trouble.started();
        assert_eq!(trouble.hold(at(5)), None);
    }

    #[test]
    fn launches_wait_as_long_as_the_trouble_has_lasted() {
        let mut trouble = Trouble::default();
        trouble.failed(at(1_000));
        trouble.failed(at(2_000));
        for (now, hold) in [(1_000, 500), (1_400, 500), (3_000, 2_000), (9_000, 8_000), (90_000, 16_000)] {
            assert_eq!(trouble.hold(at(now)), Some(at(hold)), "at {now}");
        }
        trouble.started();
        assert_eq!(trouble.hold(at(90_001)), None);
    }

    #[test]
    fn a_broken_node_settles_at_one_launch_per_place_and_bound() {
        let mut trouble = Trouble::default();
        let mut now = at(0);
        trouble.failed(now);
        let mut launches = 0;
        while now < Duration::from_secs(3_600) {
            now += trouble.hold(now).unwrap();
            trouble.failed(now);
            launches += 1;
        }
        assert!((220..250).contains(&launches), "{launches} in an hour");
    }
}
