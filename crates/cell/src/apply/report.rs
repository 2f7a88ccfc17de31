//! Report: what an agent observed moves attempts forward, never back (A-5).
//!
//! ```text
//! assigned ─ running ─► running ─┐
//!     │                          ├─ ended ─► succeeded
//!     └──────────────────────────┤           pending, with an attempt left or nothing held against it
//! stopping ──────────────────────┤           failed, without one left
//!                                └─────────► killed, from stopping
//! ```
//!
//! A run that names another attempt, node or epoch is stale and changes nothing; one that says what is so already
//! is a double. Both are counted in the reply and are no errors: agents repeat themselves until they are heard.

use std::collections::BTreeSet;

use paceline_types::plant::{Plant, is_planted};
use paceline_types::{ExitStatus, NodeEpoch, NodeId, Reason, TaskState};

use super::Work;
use super::change::requeued;
use crate::command::{ReportedRun, ReportedState};
use crate::job::{Row, StoredStatus};
use crate::ranges::below;
use crate::reply::Reply;

/// What became of the tasks of a report.
#[derive(Debug, Default)]
struct Tally {
    applied: u64,
    doubles: u64,
    stale: u64,
}

impl Work<'_> {
    pub(super) fn report(&mut self, node: NodeId, epoch: NodeEpoch, runs: &[ReportedRun]) -> Reply {
        let current = self.cell.node(node).is_some_and(|known| known.epoch == epoch);
        let mut tally = Tally::default();
        let mut touched = BTreeSet::new();
        for run in runs {
            if current {
                self.report_run(node, run, &mut tally);
                touched.insert(run.job);
            } else {
                tally.stale = tally.stale.saturating_add(run.tasks.count());
            }
        }
        for job in touched {
            self.settle(job);
        }
        Reply::Reported { applied: tally.applied, doubles: tally.doubles, stale: tally.stale }
    }

    fn report_run(&mut self, node: NodeId, run: &ReportedRun, tally: &mut Tally) {
        let named = run.tasks.count();
        let Some(job) = self.job(run.job) else {
            tally.stale = tally.stale.saturating_add(named);
            return;
        };
        let max_attempts = job.spec.max_attempts;
        let ours = |row: &Row| {
            let same = row.attempt == run.attempt.0 || is_planted(Plant::StaleAttemptAccepted);
            same && (row.node == node.0 || row.state == TaskState::Pending)
        };
        let again = |row: &Row| row.state == TaskState::Pending && is_planted(Plant::ReportAppliedTwice);
        let known: u64 = run
            .tasks
            .ranges()
            .iter()
            .filter_map(|range| below(*range, job.columns.len()))
            .flat_map(|range| job.columns.runs(range))
            .filter(|(_, row)| ours(row))
            .map(|(range, _)| range.count())
            .sum();
        let applied = self.change_tasks(run.job, &run.tasks, |row| {
            if ours(&row) && (row.state.is_on_node() || again(&row)) {
                observed(row, run.observed, max_attempts)
            } else {
                None
            }
        });
        tally.applied = tally.applied.saturating_add(applied);
        tally.doubles = tally.doubles.saturating_add(known.saturating_sub(applied));
        tally.stale = tally.stale.saturating_add(named.saturating_sub(known));
    }
}

/// Where a task on a node goes after what was observed.
fn observed(row: Row, observed: ReportedState, max_attempts: u32) -> Option<Row> {
    match observed {
        ReportedState::Running if row.state == TaskState::Assigned => {
            Some(Row { state: TaskState::Running, ..row })
        }
        ReportedState::Running => None,
        ReportedState::Ended { status, reason } => Some(ended(row, status, reason, max_attempts)),
    }
}

fn ended(row: Row, status: Option<ExitStatus>, reason: Reason, max_attempts: u32) -> Row {
    let status = StoredStatus::new(status);
    if reason == Reason::ExitedZero {
        return Row { state: TaskState::Succeeded, reason, status, ..row };
    }
    if row.state == TaskState::Stopping {
        // The reason of the stop stays: it is why the process ended, whatever its status says.
        return Row { state: TaskState::Killed, status, ..row };
    }
    if !reason.counts_as_failure() {
        return requeued(row, reason, status);
    }
    let failures = row.failures.saturating_add(1);
    let row = Row { failures, ..row };
    if u32::from(failures) >= max_attempts {
        Row { state: TaskState::Failed, reason, status, ..row }
    } else {
        requeued(row, reason, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::event::Event;
    use paceline_types::{Attempt, JobState, TaskIndex};

    fn reported(applied: u64, doubles: u64, stale: u64) -> Reply {
        Reply::Reported { applied, doubles, stale }
    }

    #[test]
    fn a_job_ends_when_its_last_task_does() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 3));
        bench.assign(job, 0, node, "0-2");
        assert_eq!(bench.running(job, 1, node, "0-2"), reported(3, 0, 0));
        assert_eq!(bench.ended(job, 1, node, "0-1", 0), reported(2, 0, 0));
        assert_eq!(bench.cell.job(job).expect("there").state, JobState::Active);
        assert_eq!(bench.ended(job, 1, node, "2", 0), reported(1, 0, 0));
        assert_eq!(bench.events.last(), Some(&Event::JobEnded { job, state: JobState::Succeeded }));
        assert_eq!(bench.cell.task_transitions(), 9);
        assert!(bench.cell.node(node).expect("there").used.is_zero());
    }

    #[test]
    fn doubles_and_late_reports_change_nothing_and_are_counted() {
        let mut bench = Bench::new();
        let (node, other) = (bench.node("n"), bench.node("m"));
        let job = bench.submit(batch("j", 3));
        bench.assign(job, 0, node, "0-2");
        bench.ended(job, 1, node, "0", 0);
        assert_eq!(bench.running(job, 1, node, "0-1"), reported(1, 1, 0), "0 has ended already");
        assert_eq!(bench.ended(job, 1, node, "0", 0), reported(0, 1, 0));
        assert_eq!(bench.running(job, 2, node, "1"), reported(0, 0, 1), "no such attempt yet");
        assert_eq!(bench.running(job, 1, other, "1"), reported(0, 0, 1), "not its node");
        assert_eq!(bench.running(job, 1, node, "2-9"), reported(1, 0, 7), "beyond the job");
        let unknown = paceline_types::JobUid::default();
        assert_eq!(bench.running(unknown, 1, node, "0-4"), reported(0, 0, 5));
        assert_eq!(bench.states(job), "succeeded 0, running 1-2");
    }

    #[test]
    fn failures_count_until_no_attempt_is_left() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let mut spec = batch("j", 1);
        spec.max_attempts = 2;
        let job = bench.submit(spec);
        bench.assign(job, 0, node, "0");
        bench.ended(job, 1, node, "0", 3);
        let requeued = Event::TasksRequeued {
            job,
            attempt: Attempt(1),
            node,
            tasks: "0".parse().expect("valid"),
            reason: Reason::ExitedNonZero,
            status: Some(ExitStatus::Code(3)),
        };
        assert_eq!(bench.events.last(), Some(&requeued));
        assert_eq!(bench.ended(job, 1, node, "0", 3), reported(0, 1, 0), "counted once");
        bench.assign(job, 1, node, "0");
        bench.ended(job, 2, node, "0", 4);
        let task = bench.cell.job(job).and_then(|job| job.task(TaskIndex(0))).expect("there");
        assert_eq!((task.state, task.failures, task.attempt), (TaskState::Failed, 2, Attempt(2)));
        assert_eq!((task.reason, task.status), (Reason::ExitedNonZero, Some(ExitStatus::Code(4))));
        assert_eq!(bench.cell.job(job).expect("there").state, JobState::Failed);
    }

    #[test]
    fn what_the_machine_did_is_not_held_against_the_task() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 1));
        for attempt in 0..5 {
            bench.assign(job, attempt, node, "0");
            bench.ended_for(job, attempt + 1, node, "0", None, Reason::SupervisorDied);
        }
        let task = bench.cell.job(job).and_then(|job| job.task(TaskIndex(0))).expect("there");
        assert_eq!((task.state, task.failures, task.attempt), (TaskState::Pending, 0, Attempt(5)));
    }

    #[test]
    fn more_failed_tasks_than_allowed_stop_the_job() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let mut spec = batch("j", 6);
        spec.max_failed_tasks = Some(1);
        let job = bench.submit(spec);
        bench.assign(job, 0, node, "0-3");
        bench.ended(job, 1, node, "0", 1);
        assert_eq!(bench.cell.job(job).expect("there").state, JobState::Active);
        bench.ended(job, 1, node, "1", 1);
        assert_eq!(bench.states(job), "failed 0-1, stopping 2-3, killed 4-5");
        bench.ended(job, 1, node, "2-3", 143);
        let job = bench.cell.job(job).expect("there");
        assert_eq!((job.state, job.stop_reason), (JobState::Failed, Reason::TooManyFailedTasks));
    }

    #[test]
    fn an_old_epoch_is_stale_as_a_whole() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 2));
        bench.assign(job, 0, node, "0-1");
        bench.register("n", 1, 2);
        let run = ReportedRun {
            job,
            attempt: Attempt(1),
            tasks: "0-1".parse().expect("valid"),
            observed: ReportedState::Running,
        };
        let old = crate::command::CommandBody::Report { node, epoch: NodeEpoch(1), runs: vec![run] };
        assert_eq!(bench.one(old), reported(0, 0, 2));
        assert_eq!(bench.states(job), "pending 0-1");
    }
}
