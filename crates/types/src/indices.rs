//! Ranges and sets of task indices: what is said about many tasks at once is said in ranges.

use std::fmt;
use std::str::FromStr;

use crate::ids::TaskIndex;

/// Task indices `first..=last`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexRange {
    first: u32,
    last: u32,
}

impl IndexRange {
    /// From the first to the last index, both inside; nothing when they are the wrong way round.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// One index.
    #[must_use]
    pub const fn one(index: TaskIndex) -> Self {
        Self { first: index.0, last: index.0 }
    }

    /// The first index inside.
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// The last index inside.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// How many indices: 1 to 2^32.
    #[must_use]
    pub const fn count(&self) -> u64 {
        (self.last - self.first) as u64 + 1
    }

    /// Whether an index is inside.
    #[must_use]
    pub const fn contains(&self, index: TaskIndex) -> bool {
        self.first <= index.0 && index.0 <= self.last
    }

    /// The indices, rising.
    pub fn iter(&self) -> impl Iterator<Item = TaskIndex> + use<> {
        (self.first..=self.last).map(TaskIndex)
    }
}

impl fmt::Display for IndexRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A set of indices as rising ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexSet(Vec<IndexRange>);

impl IndexSet {
    /// The ranges, rising.
    #[must_use]
    pub fn ranges(&self) -> &[IndexRange] {
        &self.0
    }

    /// How many indices.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(IndexRange::count).sum()
    }

    /// Whether nothing is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an index is inside: a binary search over the ranges.
    #[must_use]
    pub fn contains(&self, index: TaskIndex) -> bool {
        let after = self.0.partition_point(|range| range.first <= index.0);
        after > 0 && self.0[after - 1].contains(index)
    }

    /// The highest index.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|range| range.last)
    }

    /// The indices, rising.
    pub fn iter(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        self.0.iter().flat_map(IndexRange::iter)
    }
}

/// Any ranges, in any order, overlapping or not; they are merged.
impl FromIterator<IndexRange> for IndexSet {
    fn from_iter<I: IntoIterator<Item = IndexRange>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<IndexRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(end) if range.first <= end.last.saturating_add(1) => end.last = end.last.max(range.last),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl FromIterator<TaskIndex> for IndexSet {
    fn from_iter<I: IntoIterator<Item = TaskIndex>>(indices: I) -> Self {
        indices.into_iter().map(IndexRange::one).collect()
    }
}

impl fmt::Display for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

/// Why a text is not a set of indices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a set of task indices: expected numbers and ranges as in 0-9,12,20-29")]
pub struct ParseIndexError {
    /// The text.
    pub value: String,
}

impl FromStr for IndexSet {
    type Err = ParseIndexError;
    fn from_str(text: &str) -> Result<Self, ParseIndexError> {
        let wrong = || ParseIndexError { value: text.to_owned() };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            IndexRange::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
        };
        text.split(',').map(|part| range(part).ok_or_else(wrong)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_set_prints_and_reads_back_merged() {
        let set: IndexSet = "3,0-1,2,9-12,10-20".parse().expect("valid");
        assert_eq!(set.to_string(), "0-3,9-20");
        assert_eq!(set.count(), 16);
        for bad in ["", "a", "3-1", "1-", "-1", "1,,2"] {
            assert!(bad.parse::<IndexSet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_what_was_put_in(indices in proptest::collection::btree_set(0_u32..200, 0..100)) {
            let set: IndexSet = indices.iter().copied().map(TaskIndex).collect();
            prop_assert_eq!(set.iter().map(|i| i.0).collect::<Vec<_>>(), indices.iter().copied().collect::<Vec<_>>());
            for index in 0..200 {
                prop_assert_eq!(set.contains(TaskIndex(index)), indices.contains(&index));
            }
        }
    }
}
