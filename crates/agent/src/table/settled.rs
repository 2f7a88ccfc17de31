//! Attempts that ended, were acknowledged and forgotten: none of them may ever start again on this boot.
//!
//! Kept as ranges per job and attempt number, and bounded: the oldest jobs go first. What is lost at the
//! bound is only a second line of defence; the first is that a leader does not order what it saw end.

use std::collections::BTreeMap;

use paceline_types::{Attempt, AttemptId, IndexRange, IndexSet, JobUid};

/// Ranges in all: about 3 MiB. Tasks of one job on one node are rarely neighbours, so this is near to
/// the number of attempts remembered.
const RANGES_MAX: usize = 65_536;

/// A set of attempts, in ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// First to last index of each range, by job and attempt number.
    sets: BTreeMap<(JobUid, Attempt), BTreeMap<u32, u32>>,
    ranges: usize,
}

impl Settled {
    /// Adds an attempt, and drops the oldest jobs above the bound.
    pub fn insert(&mut self, id: AttemptId) {
        if !self.contains(id) {
            self.insert_range(id.job, id.attempt, IndexRange::one(id.task));
        }
    }

    /// Adds attempts of the same number, whatever their count at the price of one range.
    pub fn insert_range(&mut self, job: JobUid, attempt: Attempt, range: IndexRange) {
        let set = self.sets.entry((job, attempt)).or_default();
        let before = set.len();
        let (mut first, mut last) = (range.first(), range.last());
        let left = set.range(..first).next_back().map(|(&first, &last)| (first, last));
        if let Some((left_first, left_last)) = left
            && left_last.saturating_add(1) >= first
        {
            (first, last) = (left_first, last.max(left_last));
        }
        // Ranges of a set are apart, so what touches this one begins within it or just behind.
        let touching: Vec<u32> = set.range(first..=last.saturating_add(1)).map(|(&first, _)| first).collect();
        for other in touching {
            last = last.max(set.remove(&other).expect("it was just found"));
        }
        set.insert(first, last);
        self.ranges = self.ranges + set.len() - before;
        while self.ranges > RANGES_MAX
            && let Some((_, dropped)) = self.sets.pop_first()
        {
            self.ranges -= dropped.len();
        }
    }

    /// Whether an attempt is in it.
    #[must_use]
    pub fn contains(&self, id: AttemptId) -> bool {
        let Some(set) = self.sets.get(&(id.job, id.attempt)) else { return false };
        set.range(..=id.task.0).next_back().is_some_and(|(_, &last)| id.task.0 <= last)
    }

    /// Everything in it, job by job.
    pub fn iter(&self) -> impl Iterator<Item = (JobUid, Attempt, IndexSet)> + '_ {
        self.sets.iter().map(|(&(job, attempt), set)| {
            let ranges = set.iter().filter_map(|(&first, &last)| IndexRange::new(first, last));
            (job, attempt, ranges.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Revision, TaskIndex};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(job: u64, task: u32) -> AttemptId {
        let job = JobUid { revision: Revision(job), ordinal: 0 };
        AttemptId { job, task: TaskIndex(task), attempt: Attempt(1) }
    }

    #[test]
    fn neighbours_grow_together() {
        let mut settled = Settled::default();
        for task in [3, 1, 2, u32::MAX, 0] {
            settled.insert(id(1, task));
        }
        let sets: Vec<_> = settled.iter().map(|(_, _, tasks)| tasks.to_string()).collect();
        assert_eq!(sets, ["0-3,4294967295"]);
        assert_eq!(settled.ranges, 2);
    }

    #[test]
    fn the_oldest_job_goes_first_at_the_bound() {
        let mut settled = Settled::default();
        settled.insert(id(1, 0));
        for at in 0..RANGES_MAX {
            settled.insert(id(2, u32::try_from(at * 2).unwrap()));
        }
        assert!(!settled.contains(id(1, 0)));
        assert!(settled.contains(id(2, 0)));
        assert_eq!(settled.ranges, RANGES_MAX);
    }

    proptest! {
        #[test]
        fn ranges_are_what_their_tasks_are(
            ranges in proptest::collection::vec((0_u32..40, 0_u32..12), 0..12), offset in 0_u32..2,
        ) {
            let offset = offset * (u32::MAX - 52);
            let (mut by_range, mut by_task) = (Settled::default(), Settled::default());
            for (first, more) in ranges {
                let range = IndexRange::new(offset + first, offset + first + more).unwrap();
                by_range.insert_range(id(1, 0).job, Attempt(1), range);
                range.iter().for_each(|task| by_task.insert(id(1, task.0)));
            }
            prop_assert_eq!(by_range, by_task);
        }

        #[test]
        fn it_holds_what_a_plain_set_holds(tasks in proptest::collection::vec(0_u32..40, 0..60)) {
            let mut settled = Settled::default();
            let mut plain = BTreeSet::new();
            for task in tasks {
                settled.insert(id(1, task));
                plain.insert(task);
            }
            for task in 0..41 {
                prop_assert_eq!(settled.contains(id(1, task)), plain.contains(&task));
            }
            prop_assert_eq!(settled.iter().map(|(_, _, set)| set.ranges().len()).sum::<usize>(), settled.ranges);
        }
    }
}
