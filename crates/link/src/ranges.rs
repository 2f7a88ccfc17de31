//! Arithmetic of index sets that comparing what was told with what should be needs.

use paceline_types::{IndexRange, IndexSet};

/// What is in either.
pub(crate) fn union(a: &IndexSet, b: &IndexSet) -> IndexSet {
    if a.is_empty() {
        return b.clone();
    }
    a.ranges().iter().chain(b.ranges()).copied().collect()
}

/// What is in `a` and not in `b`. Linear in the ranges of both.
pub(crate) fn minus(a: &IndexSet, b: &IndexSet) -> IndexSet {
    let mut holes = b.ranges().iter().peekable();
    let mut left = Vec::with_capacity(a.ranges().len());
    for range in a.ranges() {
        let mut first = u64::from(range.first());
        let last = u64::from(range.last());
        while let Some(hole) = holes.peek() {
            let (from, to) = (u64::from(hole.first()), u64::from(hole.last()));
            if from > last {
                break;
            }
            push(&mut left, first, from);
            first = first.max(to + 1);
            if to > last {
                break;
            }
            holes.next();
        }
        push(&mut left, first, last + 1);
    }
    left.into_iter().collect()
}

/// What is in both.
pub(crate) fn both(a: &IndexSet, b: &IndexSet) -> IndexSet {
    minus(a, &minus(a, b))
}

/// Adds `first..end` when it is not empty.
fn push(ranges: &mut Vec<IndexRange>, first: u64, end: u64) {
    let bound = |value: u64| u32::try_from(value).ok();
    let range = end.checked_sub(1).and_then(|last| IndexRange::new(bound(first)?, bound(last)?));
    ranges.extend(range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::TaskIndex;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(indices: &BTreeSet<u32>) -> IndexSet {
        indices.iter().copied().map(TaskIndex).collect()
    }

    fn indices() -> impl Strategy<Value = BTreeSet<u32>> {
        let edge = prop_oneof![0_u32..40, (u32::MAX - 10)..=u32::MAX];
        proptest::collection::btree_set(edge, 0..30)
    }

    proptest! {
        #[test]
        fn sets_behave_like_sets(a in indices(), b in indices()) {
            prop_assert_eq!(union(&set(&a), &set(&b)), set(&a.union(&b).copied().collect()));
            prop_assert_eq!(minus(&set(&a), &set(&b)), set(&a.difference(&b).copied().collect()));
            prop_assert_eq!(both(&set(&a), &set(&b)), set(&a.intersection(&b).copied().collect()));
        }
    }
}
