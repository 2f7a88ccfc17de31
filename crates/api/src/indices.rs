//! Sets of task indices as gaps and lengths.
//!
//! Two numbers per range: how many indices are left out since the previous range, and how many are inside
//! less one. Both are small whatever the indices, so a range takes two bytes in most sets.

use paceline_types::{IndexRange, IndexSet};

use crate::fault::DecodeError;
use crate::v1;

/// What a set looks like, for those who wrote a wrong one.
const FORM: &str = "pairs of (gap, count - 1) with gaps of 1 or more but the first, below 2^32 in all";

impl From<&IndexSet> for v1::IndexSet {
    fn from(set: &IndexSet) -> Self {
        let mut ranges = Vec::with_capacity(set.ranges().len() * 2);
        let mut next = 0;
        for range in set.ranges() {
            ranges.push(range.first() - next);
            ranges.push(range.last() - range.first());
            // The last index of all has nothing after it, and no range either.
            next = range.last().wrapping_add(1);
        }
        Self { ranges }
    }
}

impl From<IndexSet> for v1::IndexSet {
    fn from(set: IndexSet) -> Self {
        Self::from(&set)
    }
}

impl TryFrom<v1::IndexSet> for IndexSet {
    type Error = DecodeError;
    fn try_from(set: v1::IndexSet) -> Result<Self, DecodeError> {
        let (pairs, rest) = set.ranges.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(DecodeError::new("ranges", format!("{} numbers", set.ranges.len()), FORM));
        }
        let mut next = 0;
        let range = |(at, pair): (usize, &[u32; 2])| {
            let range = range(at, *pair, &mut next);
            range.ok_or_else(|| DecodeError::new(&format!("ranges[{}]", at * 2), format!("{pair:?}"), FORM))
        };
        pairs.iter().enumerate().map(range).collect()
    }
}

/// One range, and the index after it for the next one: 64 bits, because that may be 2^32.
fn range(at: usize, [gap, more]: [u32; 2], next: &mut u64) -> Option<IndexRange> {
    if at > 0 && gap == 0 {
        return None;
    }
    let first = u32::try_from(*next + u64::from(gap)).ok()?;
    let last = first.checked_add(more)?;
    *next = u64::from(last) + 1;
    IndexRange::new(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str) -> Vec<u32> {
        v1::IndexSet::from(text.parse::<IndexSet>().expect("valid")).ranges
    }

    #[test]
    fn ranges_are_gaps_and_lengths() {
        assert_eq!(encoded("0-3,9"), [0, 3, 5, 0]);
        assert_eq!(encoded("7"), [7, 0]);
        assert_eq!(encoded("0-4294967295"), [0, u32::MAX]);
        assert_eq!(encoded("4294967295"), [u32::MAX, 0]);
        assert_eq!(encoded("0-4,4294967295"), [0, 4, u32::MAX - 5, 0]);
    }

    #[test]
    fn ranges_that_touch_overflow_or_lack_a_number_are_refused() {
        for bad in [&[1][..], &[0, 3, 0, 0], &[1, u32::MAX], &[0, u32::MAX, 1, 0], &[u32::MAX, 0, 1, 0]] {
            let fault = IndexSet::try_from(v1::IndexSet { ranges: bad.to_vec() }).expect_err("refused");
            assert!(fault.field.starts_with("ranges"), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn a_set_reads_back(ranges in proptest::collection::vec((any::<u32>(), 0_u32..50), 0..40)) {
            let set: IndexSet =
                ranges.iter().filter_map(|(at, more)| IndexRange::new(*at, at.saturating_add(*more))).collect();
            prop_assert_eq!(IndexSet::try_from(v1::IndexSet::from(&set)), Ok(set));
        }

        #[test]
        fn any_numbers_are_a_canonical_set_or_refused(ranges in proptest::collection::vec(0_u32..9, 0..12)) {
            let wire = v1::IndexSet { ranges };
            if let Ok(set) = IndexSet::try_from(wire.clone()) {
                prop_assert_eq!(v1::IndexSet::from(set), wire);
            }
        }
    }
}
