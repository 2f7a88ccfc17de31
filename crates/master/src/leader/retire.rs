//! When finished jobs leave the cell for the history, and which: a decision over the view and the loop's clock.
//!
//! They stay for a short while, because whoever waited for the end asks again right after it, and the view answers that
//! without a disk. They do not stay long, because they count against the limits on jobs and tasks.
//!
//! The age of an end is not stored anywhere that a clock could be compared with; the loop notes now and then how far the
//! view had come instead. A new leader begins without notes, so its jobs stay a little longer.

use std::collections::VecDeque;

use paceline_cell::{Cell, Job};
use paceline_types::{JobUid, Revision};

/// How long a finished job stays in the cell, unless it is needed sooner.
const GRACE_MS: u64 = 60_000;
/// How often the loop notes how far the view has come: the grace is exact to this.
const NOTE_EVERY_MS: u64 = 5_000;
/// More finished jobs than this do not wait for the grace. Below the number that the cell hands out at once.
const ENDED_JOBS_MAX: usize = 512;
/// Nor do more tasks of finished jobs than this: a tenth of what a cell of the usual limits holds.
const ENDED_TASKS_MAX: u64 = 400_000;
/// At three quarters of a limit of the cell nothing that has ended stays, nor when the largest job would have no room.
const PRESSURE: (u64, u64) = (3, 4);
/// Jobs of one entry: the history writes them in one batch.
const JOBS_PER_ENTRY: usize = 256;
/// What the jobs of one entry weigh in the history, at most, unless the first alone weighs more.
const BYTES_PER_ENTRY: u64 = 8 << 20;
/// What a finished task weighs, at most: node, attempt, status, reason, revision.
const TASK_BYTES: u64 = 24;
/// What a job weighs besides its tasks and texts.
const JOB_BYTES: u64 = 1_024;

/// Decides what retires.
#[derive(Debug, Default)]
pub(super) struct Retirement {
    /// When the view had reached which revision, oldest first; at most one more than the grace has intervals.
    notes: VecDeque<(u64, Revision)>,
    /// One entry is under way at a time: what it takes is still in the view.
    under_way: bool,
}

impl Retirement {
    /// What is to retire now, if anything; then an entry is under way.
    pub(super) fn next(&mut self, view: &Cell, now_ms: u64) -> Option<Vec<JobUid>> {
        self.note(view.revision(), now_ms);
        if self.under_way {
            return None;
        }
        let ended: Vec<&Job> = view.retirable().into_iter().filter_map(|uid| view.job(uid)).collect();
        let due = ended.len() - self.staying(view, &ended, now_ms);
        let jobs = first_entry(&ended[..due]);
        self.under_way = !jobs.is_empty();
        self.under_way.then_some(jobs)
    }

    /// The entry has its answer, or will have none.
    pub(super) fn settled(&mut self) {
        self.under_way = false;
    }

    fn note(&mut self, revision: Revision, now_ms: u64) {
        if self.notes.back().is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= NOTE_EVERY_MS) {
            self.notes.push_back((now_ms, revision));
        }
        // The newest note that is old enough says everything that older ones do.
        while self.notes.get(1).is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= GRACE_MS) {
            self.notes.pop_front();
        }
    }

    /// How many of the finished jobs, which come in the order of their ends, stay: always the last ones.
    fn staying(&self, view: &Cell, ended: &[&Job], now_ms: u64) -> usize {
        if is_pressed(view) {
            return 0;
        }
        let old = self.notes.front().filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= GRACE_MS);
        let old = old.map_or(Revision(0), |(_, revision)| *revision);
        let mut tasks = 0;
        let stays = |job: &&&Job| {
            tasks += u64::from(job.spec.tasks);
            tasks <= ENDED_TASKS_MAX && job.ended.is_some_and(|ended| ended > old)
        };
        ended.iter().rev().take(ENDED_JOBS_MAX).take_while(stays).count()
    }
}

/// Whether the cell nears a limit that finished jobs count against.
fn is_pressed(view: &Cell) -> bool {
    let near = |count: u64, limit: u64| count.saturating_mul(PRESSURE.1) >= limit.saturating_mul(PRESSURE.0);
    let config = view.config();
    let largest = u64::from(config.limits.tasks_per_job);
    near(view.job_count() as u64, u64::from(config.jobs_per_cell))
        || near(view.task_count(), config.tasks_per_cell)
        || view.task_count().saturating_add(largest) > config.tasks_per_cell
}

fn first_entry(due: &[&Job]) -> Vec<JobUid> {
    let mut bytes = 0;
    let fits = |(at, job): &(usize, &&Job)| {
        bytes += weight_bytes(job);
        *at == 0 || bytes <= BYTES_PER_ENTRY
    };
    due.iter().take(JOBS_PER_ENTRY).enumerate().take_while(fits).map(|(_, job)| job.uid).collect()
}

/// What a job weighs in the history, about.
fn weight_bytes(job: &Job) -> u64 {
    let spec = &job.spec;
    let words = |run: &[String]| run.iter().map(|word| word.len() as u64 + 4).sum::<u64>();
    let overrides = spec.overrides.iter().map(|over| {
        let run = words(over.run.as_deref().unwrap_or_default());
        let env: u64 = over.env.iter().map(|(name, value)| (name.len() + value.len() + 8) as u64).sum();
        16 + 10 * over.tasks.ranges().len() as u64 + run + env
    });
    let env: u64 = spec.template.env.iter().map(|(name, value)| (name.len() + value.len() + 8) as u64).sum();
    JOB_BYTES + TASK_BYTES * u64::from(spec.tasks) + words(&spec.template.run) + env + overrides.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use paceline_cell::{Command, CommandBody, ConfigChange, Entry, JobSelector, Setting};
    use paceline_rules::JobSpec;
    use paceline_types::Resources;

    use super::*;

    fn apply(cell: &mut Cell, commands: Vec<CommandBody>) {
        let entry = Entry { unix_ms: 0, commands: commands.into_iter().map(Command::from).collect() };
        let revision = Revision(cell.revision().0 + 1);
        cell.apply(revision, &entry);
    }

    /// A cell in which these jobs have ended, in this order.
    fn ended(cell: &mut Cell, jobs: impl IntoIterator<Item = (String, u32)>) {
        for (name, tasks) in jobs {
            let spec = JobSpec::batch(&name, tasks, &["/bin/true"], Resources::new(10, 1 << 20));
            let submit = CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 };
            apply(cell, vec![submit, CommandBody::StopJob { job: JobSelector::Name(name) }]);
        }
    }

    fn cell(jobs: impl IntoIterator<Item = (String, u32)>) -> Cell {
        let mut cell = Cell::genesis("test");
        ended(&mut cell, jobs);
        cell
    }

    fn jobs(count: usize, tasks: u32) -> impl Iterator<Item = (String, u32)> {
        (0..count).map(move |at| (format!("j{at}"), tasks))
    }

    fn set(cell: &mut Cell, setting: Setting, value: u64) {
        let settings = [(setting, value)].into();
        apply(cell, vec![CommandBody::SetConfig(ConfigChange { settings, failure_domains: None })]);
    }

    #[test]
    fn a_finished_job_stays_for_the_grace_and_then_retires_once() {
        let mut cell = cell(jobs(1, 1));
        let mut retirement = Retirement::default();
        assert_eq!(retirement.next(&cell, 1_000), None);
        ended(&mut cell, [("late".to_owned(), 1)]);
        for now_ms in (2_000..1_000 + GRACE_MS).step_by(500) {
            assert_eq!(retirement.next(&cell, now_ms), None, "at {now_ms}");
        }
        let first = retirement.next(&cell, 1_000 + GRACE_MS).expect("the grace is over");
        assert_eq!(first, [cell.retirable()[0]]);
        assert_eq!(retirement.next(&cell, 1_000 + GRACE_MS), None, "one entry at a time");
        apply(&mut cell, vec![CommandBody::Retire { jobs: first }]);
        retirement.settled();
        assert_eq!(retirement.next(&cell, 1_000 + GRACE_MS), None);
        assert_eq!(retirement.next(&cell, 10_000 + GRACE_MS), Some(cell.retirable()));
        assert!(retirement.notes.len() as u64 <= GRACE_MS / NOTE_EVERY_MS + 1);
    }

    #[test]
    fn too_many_finished_jobs_do_not_wait_and_the_oldest_go() {
        let cell = cell(jobs(ENDED_JOBS_MAX + 3, 1));
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()[..3].to_vec()));
    }

    #[test]
    fn too_many_finished_tasks_do_not_wait() {
        let cell = cell(jobs(5, 90_000));
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()[..1].to_vec()));
    }

    #[test]
    fn near_a_limit_nothing_that_has_ended_stays() {
        let mut cell = cell(jobs(3, 100));
        assert_eq!(Retirement::default().next(&cell, 0), None);
        let room = u64::from(cell.config().limits.tasks_per_job);
        set(&mut cell, Setting::TasksPerCell, 299 + room);
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()));
        set(&mut cell, Setting::TasksPerCell, 300 + room);
        assert_eq!(Retirement::default().next(&cell, 0), None);
        set(&mut cell, Setting::TasksPerJob, 1);
        set(&mut cell, Setting::TasksPerCell, 400);
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()));
        set(&mut cell, Setting::TasksPerCell, 401);
        assert_eq!(Retirement::default().next(&cell, 0), None);
        set(&mut cell, Setting::JobsPerCell, 4);
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()));
    }

    #[test]
    fn an_entry_is_bounded_by_what_its_jobs_weigh_and_holds_at_least_one() {
        let mut cell = cell(jobs(JOBS_PER_ENTRY + 1, 1));
        set(&mut cell, Setting::JobsPerCell, 1);
        let entry = Retirement::default().next(&cell, 0).expect("pressed");
        assert_eq!(entry.len(), JOBS_PER_ENTRY);
        let mut cell = self::cell(jobs(9, 100_000));
        set(&mut cell, Setting::JobsPerCell, 1);
        assert_eq!(Retirement::default().next(&cell, 0), Some(cell.retirable()[..3].to_vec()));
    }
}
