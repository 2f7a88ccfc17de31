//! The attempts of one node, as ranges: the index from nodes back to the tasks in the columns.

use paceline_types::{Attempt, IndexRange, IndexSet, JobUid};

/// Tasks of one job at one attempt. The order of the fields is the order of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AssignedRun {
    pub job: JobUid,
    pub attempt: Attempt,
    pub tasks: IndexRange,
}

/// Runs in order; those of one job and attempt neither touch nor overlap.
///
/// A plain list, so that a node that was touched after a view was published is copied in one piece;
/// nodes hold tens of runs, and a splice of thousands is still a memmove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AssignedRuns(Vec<AssignedRun>);

impl AssignedRuns {
    pub(crate) fn runs(&self) -> &[AssignedRun] {
        &self.0
    }

    /// By job and attempt.
    pub(crate) fn grouped(&self) -> impl Iterator<Item = (JobUid, Attempt, IndexSet)> + '_ {
        self.0
            .chunk_by(|a, b| (a.job, a.attempt) == (b.job, b.attempt))
            .map(|runs| (runs[0].job, runs[0].attempt, runs.iter().map(|run| run.tasks).collect()))
    }

    /// Puts a range in that is not there yet.
    pub(crate) fn insert(&mut self, run: AssignedRun) {
        let at = self.0.partition_point(|other| *other < run);
        let touches = |a: &AssignedRun, b: &AssignedRun| {
            (a.job, a.attempt) == (b.job, b.attempt) && a.tasks.last().checked_add(1) == Some(b.tasks.first())
        };
        let from = if at > 0 && touches(&self.0[at - 1], &run) { at - 1 } else { at };
        let to = if self.0.get(at).is_some_and(|next| touches(&run, next)) { at + 1 } else { at };
        if from == to {
            self.0.insert(at, run);
            return;
        }
        let first = self.0[from].tasks.first().min(run.tasks.first());
        let last = self.0[to - 1].tasks.last().max(run.tasks.last());
        self.0[from].tasks = IndexRange::new(first, last).expect("a range only grew");
        self.0.drain(from + 1..to);
    }

    /// Takes a range out; what of it was not there is passed over.
    pub(crate) fn remove(&mut self, run: AssignedRun) {
        let same = |other: &AssignedRun| (other.job, other.attempt) == (run.job, run.attempt);
        let key = (run.job, run.attempt);
        let from = self.0.partition_point(|other| {
            (other.job, other.attempt) < key || same(other) && other.tasks.last() < run.tasks.first()
        });
        let hit =
            self.0[from..].iter().take_while(|other| same(other) && other.tasks.first() <= run.tasks.last());
        let to = from + hit.count();
        let mut rest = Vec::new();
        for other in &self.0[from..to] {
            let before = run.tasks.first().checked_sub(1);
            let after = run.tasks.last().checked_add(1);
            let left = before.and_then(|last| IndexRange::new(other.tasks.first(), last));
            let right = after.and_then(|first| IndexRange::new(first, other.tasks.last()));
            rest.extend(left.into_iter().chain(right).map(|tasks| AssignedRun { tasks, ..run }));
        }
        self.0.splice(from..to, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_index_holds_what_a_plain_set_holds(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..2, 1_u32..3, 0_u32..40, 0_u32..12), 0..60),
        ) {
            let mut runs = AssignedRuns::default();
            let mut plain = BTreeSet::new();
            for (insert, ordinal, attempt, first, span) in steps {
                let job = JobUid { ordinal, ..JobUid::default() };
                let all = IndexRange::new(first, first + span).expect("in order");
                let keys: Vec<_> = all.iter().map(|index| (ordinal, attempt, index.0)).collect();
                if insert && keys.iter().all(|key| !plain.contains(key)) {
                    runs.insert(AssignedRun { job, attempt: Attempt(attempt), tasks: all });
                    plain.extend(keys);
                } else if !insert {
                    runs.remove(AssignedRun { job, attempt: Attempt(attempt), tasks: all });
                    keys.iter().for_each(|key| { plain.remove(key); });
                }
                let flat: BTreeSet<_> = runs.grouped().flat_map(|(job, attempt, tasks)| {
                    tasks.iter().map(|index| (job.ordinal, attempt.0, index.0)).collect::<Vec<_>>()
                }).collect();
                prop_assert_eq!(&flat, &plain);
                prop_assert!(runs.runs().is_sorted());
                let ranges: usize = runs.grouped().map(|(_, _, tasks)| tasks.ranges().len()).sum();
                prop_assert_eq!(ranges, runs.runs().len(), "neighbours are joined");
            }
        }
    }
}
