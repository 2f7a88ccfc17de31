//! What follows for a job when tasks of it moved: too many failures stop it, the last end ends it.

use std::sync::Arc;

use paceline_types::{IndexRange, IndexSet, JobState, JobUid, Reason, TaskState};

use super::Work;
use crate::event::Event;
use crate::job::{Job, Row};

impl Work<'_> {
    /// Draws the conclusions for a job.
    pub(super) fn settle(&mut self, uid: JobUid) {
        let Some(job) = self.job(uid) else { return };
        let most = job.spec.max_failed_tasks;
        let too_many = most.is_some_and(|most| job.count(TaskState::Failed) > most);
        if job.state == JobState::Active && too_many && job.open() > 0 {
            self.stop_tasks(uid, Reason::TooManyFailedTasks);
        }
        self.end_when_done(uid);
    }

    /// Makes an active job a stopping one: what waits is killed, what is on nodes is told to stop.
    pub(super) fn stop_tasks(&mut self, uid: JobUid, reason: Reason) {
        let Some(job) = self.cell.jobs.get_mut(&uid) else { return };
        let job = Arc::make_mut(job);
        job.state = JobState::Stopping;
        job.stop_reason = reason;
        let all = every_task(job);
        self.events.push(Event::JobStopping { job: uid, reason });
        self.change_tasks(uid, &all, |row| match row.state {
            TaskState::Pending => Some(Row { state: TaskState::Killed, reason, ..row }),
            TaskState::Assigned | TaskState::Running => {
                Some(Row { state: TaskState::Stopping, reason, ..row })
            }
            _ => None,
        });
    }

    /// Ends a job whose tasks have all ended.
    pub(super) fn end_when_done(&mut self, uid: JobUid) {
        let (revision, unix_ms, clock_ms) = (self.revision, self.unix_ms, self.cell.clock_ms);
        // Looked at before it is taken for change: most reports end no job, and taking copies what views share.
        let done = self.job(uid).is_some_and(|job| !job.state.is_terminal() && job.open() == 0);
        let Some(job) = self.cell.jobs.get_mut(&uid).filter(|_| done) else { return };
        let job = Arc::make_mut(job);
        job.state = job.end_state();
        job.ended = Some(revision);
        job.ended_unix_ms = unix_ms.max(job.submitted_unix_ms);
        job.ended_clock_ms = clock_ms;
        self.events.push(Event::JobEnded { job: uid, state: job.state });
        self.cell.indexes.note_ended(job);
    }
}

fn every_task(job: &Job) -> IndexSet {
    let last = job.columns.len().checked_sub(1);
    last.and_then(|last| IndexRange::new(0, last)).into_iter().collect()
}
