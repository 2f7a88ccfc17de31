//! Columns of up to [`CHUNK_TASKS`] tasks: the unit of copy-on-write.

use paceline_types::{Reason, TaskState};

use super::row::{Row, StoredStatus};

/// Tasks per chunk. Small enough that changing one task after a view was published copies 88 KiB at most,
/// large enough that a job of a million tasks is 245 pointers.
pub(crate) const CHUNK_TASKS: u32 = 4_096;

/// Struct of arrays; all of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    state: Box<[TaskState]>,
    reason: Box<[Reason]>,
    failures: Box<[u16]>,
    attempt: Box<[u32]>,
    node: Box<[u32]>,
    assigned: Box<[u64]>,
    status: Box<[StoredStatus]>,
    pending: u32,
}

impl Chunk {
    /// Equal tasks.
    pub(crate) fn filled(len: usize, row: Row) -> Self {
        let pending = if row.state == TaskState::Pending { len } else { 0 };
        Self {
            state: vec![row.state; len].into(),
            reason: vec![row.reason; len].into(),
            failures: vec![row.failures; len].into(),
            attempt: vec![row.attempt; len].into(),
            node: vec![row.node; len].into(),
            assigned: vec![row.assigned; len].into(),
            status: vec![row.status; len].into(),
            pending: u32::try_from(pending).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.len()
    }

    /// How many tasks wait.
    pub(crate) const fn pending(&self) -> u32 {
        self.pending
    }

    pub(crate) fn row(&self, at: usize) -> Row {
        Row {
            state: self.state[at],
            reason: self.reason[at],
            failures: self.failures[at],
            attempt: self.attempt[at],
            node: self.node[at],
            assigned: self.assigned[at],
            status: self.status[at],
        }
    }

    /// The row at `at`, and where the run of equal rows that begins there ends, at most at `end`.
    pub(crate) fn run(&self, at: usize, end: usize) -> (Row, usize) {
        let row = self.row(at);
        let same = |next: &usize| {
            // The state first: where neighbours differ, they mostly differ there.
            self.state[*next] == row.state && self.row(*next) == row
        };
        let last = (at + 1..end).take_while(same).last().unwrap_or(at);
        (row, last + 1)
    }

    /// The next run of pending tasks of one attempt at or after `at`: attempt, first, end.
    pub(crate) fn pending_run(&self, at: usize) -> Option<(u32, usize, usize)> {
        let first = at + self.state.get(at..)?.iter().position(|state| *state == TaskState::Pending)?;
        let attempt = self.attempt[first];
        let same = |next: &usize| self.state[*next] == TaskState::Pending && self.attempt[*next] == attempt;
        let last = (first + 1..self.len()).take_while(same).last().unwrap_or(first);
        Some((attempt, first, last + 1))
    }

    /// Makes `first..end`, whose rows are all in state `old`, equal to `row`.
    pub(crate) fn fill(&mut self, first: usize, end: usize, old: TaskState, row: Row) {
        self.state[first..end].fill(row.state);
        self.reason[first..end].fill(row.reason);
        self.failures[first..end].fill(row.failures);
        self.attempt[first..end].fill(row.attempt);
        self.node[first..end].fill(row.node);
        self.assigned[first..end].fill(row.assigned);
        self.status[first..end].fill(row.status);
        let changed = u32::try_from(end - first).unwrap_or(u32::MAX);
        if old == TaskState::Pending {
            self.pending = self.pending.saturating_sub(changed);
        }
        if row.state == TaskState::Pending {
            self.pending = self.pending.saturating_add(changed);
        }
    }

    /// Pending tasks counted anew, for `check`.
    pub(crate) fn pending_recounted(&self) -> u32 {
        let count = self.state.iter().filter(|state| **state == TaskState::Pending).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
