//! A job in the state: its specification, its tasks in columns, and the sums over them.
//!
//! Readers get tasks as views and ranges; only `apply/change` moves tasks, so that sums and indexes follow.

mod chunk;
mod columns;
mod needs;
mod row;

use std::sync::Arc;

use paceline_rules::JobSpec;
use paceline_types::{
    Attempt, IndexRange, IndexSet, JobState, JobUid, Reason, Resources, Revision, SpecVersion, TaskIndex,
    TaskState,
};

pub(crate) use chunk::{CHUNK_TASKS, Chunk};
pub(crate) use columns::{Change, Columns};
pub(crate) use needs::Needs;
pub use row::TaskView;
pub(crate) use row::{Row, StoredStatus};

/// N tasks from one specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// For ever.
    pub uid: JobUid,
    /// Unique among live jobs.
    pub name: Arc<str>,
    /// What to run.
    pub spec: Arc<JobSpec>,
    /// Its version.
    pub spec_version: SpecVersion,
    /// Where the job is.
    pub state: JobState,
    /// Why the job was stopped, where it was.
    pub stop_reason: Reason,
    /// Tasks by the code of their state.
    pub counts: [u32; TaskState::COUNT],
    /// Wall clock of the submission, for display.
    pub submitted_unix_ms: u64,
    /// Cell clock of the submission.
    pub submitted_clock_ms: u64,
    /// The revision at which the last task ended.
    pub ended: Option<Revision>,
    /// Wall clock of the entry in which the last task ended, for display; zero before.
    pub ended_unix_ms: u64,
    /// Cell clock when the last task ended; zero before.
    pub ended_clock_ms: u64,
    pub(crate) needs: Arc<Needs>,
    pub(crate) columns: Columns,
}

impl Job {
    /// A job whose tasks all wait.
    pub(crate) fn new(uid: JobUid, spec: Arc<JobSpec>, unix_ms: u64, clock_ms: u64) -> Self {
        let mut counts = [0; TaskState::COUNT];
        counts[usize::from(TaskState::Pending.code())] = spec.tasks;
        Self {
            uid,
            name: spec.name.as_str().into(),
            spec_version: SpecVersion(1),
            state: JobState::Active,
            stop_reason: Reason::None,
            counts,
            submitted_unix_ms: unix_ms,
            submitted_clock_ms: clock_ms,
            ended: None,
            ended_unix_ms: 0,
            ended_clock_ms: 0,
            needs: Arc::new(Needs::of(&spec)),
            columns: Columns::fresh(spec.tasks),
            spec,
        }
    }

    /// The revision at which the job was submitted.
    #[must_use]
    pub const fn submitted(&self) -> Revision {
        self.uid.revision
    }

    /// How many tasks are in a state.
    #[must_use]
    pub fn count(&self, state: TaskState) -> u32 {
        self.counts[usize::from(state.code())]
    }

    /// How many tasks hold resources on nodes.
    #[must_use]
    pub fn on_nodes(&self) -> u32 {
        let states = [TaskState::Assigned, TaskState::Running, TaskState::Stopping];
        states.iter().fold(0, |sum, &state| sum.saturating_add(self.count(state)))
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.on_nodes().saturating_add(self.count(TaskState::Pending))
    }

    /// How many more tasks `max_running` admits on nodes.
    #[must_use]
    pub fn room_to_run(&self) -> u32 {
        self.spec.max_running.map_or(u32::MAX, |most| most.saturating_sub(self.on_nodes()))
    }

    /// One task; nothing beyond the last.
    #[must_use]
    pub fn task(&self, index: TaskIndex) -> Option<TaskView> {
        self.columns.row(index).map(Row::view)
    }

    /// All tasks as runs of equal ones, rising.
    pub fn task_runs(&self) -> impl Iterator<Item = (IndexRange, TaskView)> + '_ {
        self.columns.all_runs().map(|(range, row)| (range, row.view()))
    }

    /// The tasks of a range as runs of equal ones, rising; indices beyond the last are left out.
    pub fn task_runs_in(&self, range: IndexRange) -> impl Iterator<Item = (IndexRange, TaskView)> + '_ {
        self.columns.runs(range).map(|(range, row)| (range, row.view()))
    }

    /// Tasks that wait, as ranges of one attempt each: cheap when few of many wait.
    pub fn pending_runs(&self) -> impl Iterator<Item = (Attempt, IndexRange)> + '_ {
        self.columns.pending_runs()
    }

    /// What one task needs.
    #[must_use]
    pub fn need(&self, index: TaskIndex) -> Resources {
        self.needs.one(index)
    }

    /// A range as runs of equal needs.
    pub fn need_runs(&self, range: IndexRange) -> impl Iterator<Item = (IndexRange, Resources)> + '_ {
        self.needs.runs(range)
    }

    /// What tasks need in sum; nothing where the sum overflows.
    #[must_use]
    pub fn need_of(&self, tasks: &IndexSet) -> Option<Resources> {
        self.needs.sum_of(tasks)
    }

    /// Puts tasks in the place of those that are there, and counts them.
    pub(crate) fn set_columns(&mut self, columns: Columns) {
        self.counts = columns.counts();
        self.columns = columns;
    }

    /// The state of a job all of whose tasks have ended.
    pub(crate) fn end_state(&self) -> JobState {
        if self.count(TaskState::Failed) > 0 || self.count(TaskState::Lost) > 0 {
            JobState::Failed
        } else if self.count(TaskState::Killed) > 0 {
            JobState::Killed
        } else {
            JobState::Succeeded
        }
    }

    /// Moves tasks and the counts with them.
    pub(crate) fn change(&mut self, tasks: &IndexSet, decide: impl FnMut(Row) -> Option<Row>) -> Vec<Change> {
        let changes = self.columns.change(tasks, decide);
        for change in &changes {
            let moved = u32::try_from(change.tasks.count()).unwrap_or(u32::MAX);
            let from = &mut self.counts[usize::from(change.old.state.code())];
            *from = from.saturating_sub(moved);
            let to = &mut self.counts[usize::from(change.new.state.code())];
            *to = to.saturating_add(moved);
        }
        changes
    }
}
