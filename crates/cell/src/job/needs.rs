//! What each task of a job needs, ready for arithmetic over ranges: overrides are resolved once.

use std::collections::BTreeSet;

use paceline_rules::JobSpec;
use paceline_types::{IndexRange, IndexSet, ResourceKind, Resources, TaskIndex};

/// Needs by task index. Derived from the specification, so no part of the stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    template: Resources,
    /// Rising, apart; where they are silent the template holds.
    overridden: Vec<(IndexRange, Resources)>,
}

impl Needs {
    /// Where overrides of resources name the same index, the later one holds. One sweep over their ends.
    pub(crate) fn of(spec: &JobSpec) -> Self {
        let mut ends: Vec<(u64, usize, bool)> = Vec::new();
        for (at, over) in spec.overrides.iter().enumerate().filter(|(_, over)| over.resources.is_some()) {
            for range in over.tasks.ranges() {
                ends.push((u64::from(range.first()), at, true));
                ends.push((u64::from(range.last()) + 1, at, false));
            }
        }
        ends.sort_unstable();
        let mut open: BTreeSet<usize> = BTreeSet::new();
        let mut overridden = Vec::new();
        let mut from = 0_u64;
        for (place, at, opens) in ends {
            let holds = open.last().and_then(|&at| spec.overrides[at].resources);
            if let (Some(need), Some(range)) = (holds, half_open(from, place)) {
                overridden.push((range, need));
            }
            from = place;
            if opens {
                open.insert(at);
            } else {
                open.remove(&at);
            }
        }
        Self { template: spec.template.resources, overridden }
    }

    /// What one task needs.
    pub(crate) fn one(&self, index: TaskIndex) -> Resources {
        let after = self.overridden.partition_point(|(range, _)| range.first() <= index.0);
        match after.checked_sub(1).map(|at| self.overridden[at]) {
            Some((range, need)) if range.contains(index) => need,
            _ => self.template,
        }
    }

    /// A range as runs of equal needs.
    pub(crate) fn runs(&self, range: IndexRange) -> impl Iterator<Item = (IndexRange, Resources)> + '_ {
        let mut next = self.overridden.partition_point(|(over, _)| over.last() < range.first());
        let mut at = u64::from(range.first());
        let end = u64::from(range.last()) + 1;
        std::iter::from_fn(move || {
            let (stop, need) = match self.overridden.get(next) {
                Some((over, need)) if u64::from(over.first()) <= at => {
                    next += 1;
                    (u64::from(over.last()) + 1, *need)
                }
                Some((over, _)) => (u64::from(over.first()), self.template),
                None => (end, self.template),
            };
            let run = half_open(at, stop.min(end))?;
            at = u64::from(run.last()) + 1;
            Some((run, need))
        })
    }

    /// What a range needs in sum; nothing where the sum overflows.
    pub(crate) fn sum(&self, range: IndexRange) -> Option<Resources> {
        self.runs(range)
            .try_fold(Resources::ZERO, |sum, (run, need)| sum.checked_add(&times(&need, run.count())?))
    }

    /// What a set needs in sum; nothing where the sum overflows.
    pub(crate) fn sum_of(&self, tasks: &IndexSet) -> Option<Resources> {
        tasks.ranges().iter().try_fold(Resources::ZERO, |sum, range| sum.checked_add(&self.sum(*range)?))
    }
}

fn half_open(first: u64, end: u64) -> Option<IndexRange> {
    let last = u32::try_from(end.checked_sub(1)?).ok()?;
    IndexRange::new(u32::try_from(first).ok()?, last)
}

fn times(need: &Resources, count: u64) -> Option<Resources> {
    let of = |kind| need.of(kind).checked_mul(count);
    Some(Resources::new(of(ResourceKind::Cpu)?, of(ResourceKind::Memory)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_rules::Override;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn needs_agree_with_the_specification(
            overs in proptest::collection::vec((0_u32..60, 0_u32..30, proptest::option::of(1_u64..9)), 0..12),
            first in 0_u32..60,
            span in 0_u32..40,
        ) {
            let mut spec = JobSpec::batch("j", 100, &["/bin/true"], Resources::new(10, 100));
            spec.overrides = overs.into_iter().map(|(first, span, cpu)| Override {
                tasks: IndexRange::new(first, first + span).into_iter().collect(),
                resources: cpu.map(|cpu| Resources::new(cpu, 1)),
                ..Override::default()
            }).collect();
            let needs = Needs::of(&spec);
            let range = IndexRange::new(first, first + span).expect("in order");
            let mut sum = Resources::ZERO;
            for index in range.iter() {
                prop_assert_eq!(needs.one(index), spec.resources(index));
                sum = sum.checked_add(&spec.resources(index)).expect("small");
            }
            prop_assert_eq!(needs.sum(range), Some(sum));
        }
    }

    #[test]
    fn a_sum_that_overflows_is_nothing() {
        let spec = JobSpec::batch("j", 4, &["/bin/true"], Resources::new(u64::MAX / 2, 1));
        let needs = Needs::of(&spec);
        assert!(needs.sum(IndexRange::new(0, 1).expect("in order")).is_some());
        assert!(needs.sum(IndexRange::new(0, 2).expect("in order")).is_none());
    }
}
