//! The tasks of a job: chunks that views share until one of them changes.

use std::sync::Arc;

use paceline_types::{Attempt, IndexRange, IndexSet, TaskIndex, TaskState};

use super::chunk::{CHUNK_TASKS, Chunk};
use super::row::Row;
use crate::ranges::{below, joined};

/// Rows by task index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    chunks: Vec<Arc<Chunk>>,
    len: u32,
}

/// Tasks that were equal before and are equal after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub tasks: IndexRange,
    pub old: Row,
    pub new: Row,
}

impl Change {
    /// The range of both where this change goes on with the one before.
    fn after(&self, before: &Self) -> Option<IndexRange> {
        let same = before.old == self.old && before.new == self.new;
        joined(before.tasks, self.tasks).filter(|_| same)
    }
}

impl Columns {
    /// New tasks. Full chunks are one chunk, shared: a job costs what its shape costs until it is worked on.
    pub(crate) fn fresh(len: u32) -> Self {
        let mut chunks = Vec::new();
        let full = len / CHUNK_TASKS;
        if full > 0 {
            let chunk = Arc::new(Chunk::filled(CHUNK_TASKS as usize, Row::NEW));
            chunks.resize(full as usize, chunk);
        }
        let rest = len % CHUNK_TASKS;
        if rest > 0 {
            chunks.push(Arc::new(Chunk::filled(rest as usize, Row::NEW)));
        }
        Self { chunks, len }
    }

    /// Puts a chunk behind the others; an equal one before it is shared.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.len = self.len.saturating_add(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        let shared = self.chunks.last().filter(|last| ***last == chunk).cloned();
        self.chunks.push(shared.unwrap_or_else(|| Arc::new(chunk)));
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    pub(crate) fn row(&self, index: TaskIndex) -> Option<Row> {
        let chunk = self.chunks.get((index.0 / CHUNK_TASKS) as usize)?;
        let at = (index.0 % CHUNK_TASKS) as usize;
        if at < chunk.len() { Some(chunk.row(at)) } else { None }
    }

    /// Runs of equal rows within a range, cut where chunks meet.
    pub(crate) fn runs(&self, range: IndexRange) -> impl Iterator<Item = (IndexRange, Row)> + '_ {
        let mut at = range.first();
        let last = below(range, self.len).map(|range| range.last());
        std::iter::from_fn(move || {
            let last = last.filter(|last| at <= *last)?;
            let (number, from) = (at / CHUNK_TASKS, at % CHUNK_TASKS);
            let base = number * CHUNK_TASKS;
            let chunk = &self.chunks[number as usize];
            let end = (last - base + 1).min(CHUNK_TASKS) as usize;
            let (row, end) = chunk.run(from as usize, end);
            let end = base + u32::try_from(end).expect("a chunk has 4,096 rows at most");
            let run = IndexRange::new(at, end - 1)?;
            at = end;
            Some((run, row))
        })
    }

    /// All rows as runs that are as long as they can be.
    pub(crate) fn all_runs(&self) -> impl Iterator<Item = (IndexRange, Row)> + '_ {
        let all = self.len.checked_sub(1).and_then(|last| IndexRange::new(0, last));
        let mut runs = all.into_iter().flat_map(|all| self.runs(all)).peekable();
        std::iter::from_fn(move || {
            let (mut range, row) = runs.next()?;
            while let Some((more, _)) = runs.next_if(|(_, next)| *next == row) {
                range = joined(range, more).expect("runs follow each other without a gap");
            }
            Some((range, row))
        })
    }

    /// Pending tasks as ranges of one attempt each. Looks only into chunks that have some.
    pub(crate) fn pending_runs(&self) -> impl Iterator<Item = (Attempt, IndexRange)> + '_ {
        let waiting = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.pending() > 0);
        let mut parts = waiting
            .flat_map(|(number, chunk)| {
                let base = u32::try_from(number).unwrap_or(u32::MAX).saturating_mul(CHUNK_TASKS);
                let mut at = 0;
                std::iter::from_fn(move || {
                    let (attempt, first, end) = chunk.pending_run(at)?;
                    at = end;
                    let place = |at: usize| base.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
                    Some((Attempt(attempt), IndexRange::new(place(first), place(end - 1))?))
                })
            })
            .peekable();
        std::iter::from_fn(move || {
            let (attempt, mut range) = parts.next()?;
            while let Some((_, more)) =
                parts.next_if(|(next, more)| *next == attempt && joined(range, *more).is_some())
            {
                range = joined(range, more).expect("just looked");
            }
            Some((attempt, range))
        })
    }

    /// Asks `decide` once for each run of equal rows within the set, and puts what it says in their place.
    pub(crate) fn change(
        &mut self,
        tasks: &IndexSet,
        mut decide: impl FnMut(Row) -> Option<Row>,
    ) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for range in tasks.ranges() {
            let mut rest = below(*range, self.len);
            while let Some(range) = rest {
                let Some((tasks, old)) = self.runs(range).next() else { break };
                rest = tasks.last().checked_add(1).and_then(|next| IndexRange::new(next, range.last()));
                let Some(new) = decide(old).filter(|new| *new != old) else { continue };
                let change = Change { tasks, old, new };
                self.fill(&change);
                match changes.last_mut().and_then(|last| Some((change.after(last)?, last))) {
                    Some((both, last)) => last.tasks = both,
                    None => changes.push(change),
                }
            }
        }
        changes
    }

    /// Fills one run, which lies within one chunk.
    fn fill(&mut self, change: &Change) {
        let number = change.tasks.first() / CHUNK_TASKS;
        let base = number * CHUNK_TASKS;
        let first = (change.tasks.first() - base) as usize;
        let end = (change.tasks.last() - base) as usize + 1;
        let number = number as usize;
        if first > 0 || end < self.chunks[number].len() {
            Arc::make_mut(&mut self.chunks[number]).fill(first, end, change.old.state, change.new);
            return;
        }
        let chunk = Chunk::filled(end, change.new);
        let before = number.checked_sub(1).map(|before| &self.chunks[before]);
        let shared = before.filter(|before| ***before == chunk).cloned();
        self.chunks[number] = shared.unwrap_or_else(|| Arc::new(chunk));
    }

    /// Tasks by state, counted anew.
    pub(crate) fn counts(&self) -> [u32; TaskState::COUNT] {
        let mut counts = [0_u32; TaskState::COUNT];
        for (range, row) in self.all_runs() {
            let count = &mut counts[usize::from(row.state.code())];
            *count = count.saturating_add(u32::try_from(range.count()).unwrap_or(u32::MAX));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::Reason;
    use proptest::prelude::*;

    fn set(text: &str) -> IndexSet {
        text.parse().expect("valid")
    }

    fn at(attempt: u32) -> Row {
        Row { attempt, ..Row::NEW }
    }

    #[test]
    fn a_new_job_of_a_million_tasks_is_two_chunks() {
        let columns = Columns::fresh(1_000_000);
        let first = &columns.chunks()[0];
        assert!(columns.chunks()[..244].iter().all(|chunk| Arc::ptr_eq(chunk, first)));
        assert_eq!(columns.chunks().len(), 245);
        assert_eq!(
            columns.pending_runs().collect::<Vec<_>>(),
            [(Attempt(0), IndexRange::new(0, 999_999).expect("in order"))]
        );
    }

    #[test]
    fn a_change_copies_only_the_chunk_it_touches() {
        let mut columns = Columns::fresh(3 * CHUNK_TASKS);
        let view = columns.clone();
        columns.change(&set("5000"), |row| Some(Row { reason: Reason::MaxRunning, ..row }));
        let same: Vec<_> =
            columns.chunks().iter().zip(view.chunks()).map(|(new, old)| Arc::ptr_eq(new, old)).collect();
        assert_eq!(same, [true, false, true]);
        assert_eq!(view.row(TaskIndex(5000)), Some(Row::NEW));
    }

    #[test]
    fn changes_over_chunk_borders_come_out_joined() {
        let mut columns = Columns::fresh(10_000);
        let changes = columns.change(&set("4000-9000,9500"), |_| Some(at(1)));
        let ranges: Vec<_> = changes.iter().map(|change| change.tasks.to_string()).collect();
        assert_eq!(ranges, ["4000-9000", "9500"]);
        assert_eq!(columns.all_runs().count(), 5);
        let pending: Vec<_> =
            columns.pending_runs().map(|(follows, tasks)| (follows.0, tasks.to_string())).collect();
        let expected = [(0, "0-3999"), (1, "4000-9000"), (0, "9001-9499"), (1, "9500"), (0, "9501-9999")];
        assert_eq!(pending, expected.map(|(follows, tasks)| (follows, tasks.to_owned())));
    }

    #[test]
    fn indices_beyond_the_job_are_left_out() {
        let mut columns = Columns::fresh(10);
        assert_eq!(columns.change(&set("8-4294967295"), |_| Some(at(1))).len(), 1);
        assert!(columns.change(&set("10-12"), |_| Some(at(1))).is_empty());
        assert_eq!(columns.row(TaskIndex(10)), None);
    }

    proptest! {
        #[test]
        fn columns_hold_what_a_plain_list_holds(
            len in 1_u32..20_000,
            steps in proptest::collection::vec((0_u32..20_000, 0_u32..5_000, 0_u8..8, 0_u32..3), 1..20),
        ) {
            let mut columns = Columns::fresh(len);
            let mut plain = vec![Row::NEW; len as usize];
            for (first, span, state, attempt) in steps {
                let tasks: IndexSet = IndexRange::new(first, first + span).into_iter().collect();
                let state = TaskState::from_code(state).expect("a code");
                columns.change(&tasks, |row| Some(Row { state, attempt, ..row }));
                for index in tasks.iter().filter(|index| index.0 < len) {
                    plain[index.0 as usize] = Row { state, attempt, ..Row::NEW };
                }
            }
            for (index, row) in plain.iter().enumerate() {
                prop_assert_eq!(columns.row(TaskIndex(index as u32)), Some(*row));
            }
            let pending: Vec<_> =
                columns.pending_runs().flat_map(|(follows, tasks)| tasks.iter().map(move |i| (i.0, follows.0))).collect();
            let expected: Vec<_> = plain.iter().enumerate()
                .filter(|(_, row)| row.state == TaskState::Pending)
                .map(|(index, row)| (index as u32, row.attempt)).collect();
            prop_assert_eq!(pending, expected);
            prop_assert!(columns.chunks().iter().all(|chunk| chunk.pending() == chunk.pending_recounted()));
        }
    }
}
