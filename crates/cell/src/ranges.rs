//! Runs of ranges under a key: how facts about single tasks become facts about ranges.

use std::collections::BTreeMap;

use paceline_types::{IndexRange, IndexSet};

/// Ranges collected by key; keys come out in their order.
#[derive(Debug)]
pub(crate) struct Grouped<K> {
    groups: BTreeMap<K, Vec<IndexRange>>,
}

impl<K: Ord> Grouped<K> {
    pub(crate) const fn new() -> Self {
        Self { groups: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, key: K, tasks: IndexRange) {
        let ranges = self.groups.entry(key).or_default();
        match ranges.last_mut().and_then(|last| joined(*last, tasks).map(|both| (last, both))) {
            Some((last, both)) => *last = both,
            None => ranges.push(tasks),
        }
    }

    pub(crate) fn into_sets(self) -> impl Iterator<Item = (K, IndexSet)> {
        self.groups.into_iter().map(|(key, ranges)| (key, ranges.into_iter().collect()))
    }
}

/// The range of both where the second begins right after the first.
pub(crate) fn joined(first: IndexRange, second: IndexRange) -> Option<IndexRange> {
    if first.last().checked_add(1) == Some(second.first()) {
        IndexRange::new(first.first(), second.last())
    } else {
        None
    }
}

/// The part of a range that is below `end`.
pub(crate) fn below(range: IndexRange, end: u32) -> Option<IndexRange> {
    IndexRange::new(range.first(), range.last().min(end.checked_sub(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> IndexRange {
        IndexRange::new(first, last).expect("in order")
    }

    #[test]
    fn neighbours_of_one_key_become_one_range() {
        let mut grouped = Grouped::new();
        for (key, first, last) in [(2, 0, 0), (1, 1, 1), (2, 2, 3), (2, 4, 9), (1, 5, 5)] {
            grouped.add(key, range(first, last));
        }
        let sets: Vec<_> = grouped.into_sets().map(|(key, set)| (key, set.to_string())).collect();
        assert_eq!(sets, [(1, "1,5".to_owned()), (2, "0,2-9".to_owned())]);
    }

    #[test]
    fn a_range_is_cut_at_the_end_of_the_job() {
        assert_eq!(below(range(3, u32::MAX), 5), Some(range(3, 4)));
        assert_eq!(below(range(5, 9), 5), None);
        assert_eq!(below(range(0, 0), 0), None);
        assert_eq!(joined(range(0, u32::MAX), range(0, 1)), None);
    }
}
