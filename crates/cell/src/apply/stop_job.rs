//! StopJob, and how a job is found by name or uid.

use paceline_types::{JobState, JobUid, Reason};

use super::{Outcome, Work};
use crate::command::JobSelector;
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    /// Stopping a job that is stopping or has ended changes nothing and is no error.
    pub(super) fn stop_job(&mut self, job: &JobSelector) -> Outcome {
        let uid = self.select(job)?;
        if self.job(uid).is_some_and(|job| job.state == JobState::Active) {
            self.stop_tasks(uid, Reason::JobStopped);
            self.end_when_done(uid);
        }
        let state = self.job(uid).map_or(JobState::Killed, |job| job.state);
        Ok(Reply::JobStopping { uid, state })
    }

    pub(super) fn select(&self, job: &JobSelector) -> Result<JobUid, Refusal> {
        let found = match job {
            JobSelector::Name(name) => self.cell.job_by_name(name),
            JobSelector::Uid(uid) => self.cell.job(*uid),
        };
        found.map(|job| job.uid).ok_or_else(|| match job {
            JobSelector::Name(name) => Refusal::not_found(Subject::Job, name),
            JobSelector::Uid(uid) => Refusal::not_found(Subject::Job, uid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use crate::event::Event;
    use paceline_types::TaskState;

    #[test]
    fn what_waits_is_killed_and_what_is_on_nodes_is_told_to_stop() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 4));
        bench.assign(job, 0, node, "0-1");
        bench.running(job, 1, node, "0");
        let reply = bench.one(CommandBody::StopJob { job: JobSelector::Name("j".into()) });
        assert_eq!(reply, Reply::JobStopping { uid: job, state: JobState::Stopping });
        assert_eq!(bench.states(job), "stopping 0-1, killed 2-3");
        assert!(bench.events.contains(&Event::JobStopping { job, reason: Reason::JobStopped }));
    }

    #[test]
    fn a_stop_is_complete_when_the_last_task_has_ended() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 2));
        bench.assign(job, 0, node, "0-1");
        bench.stop(job);
        bench.ended(job, 1, node, "0", 0);
        bench.ended(job, 1, node, "1", 143);
        assert_eq!(bench.states(job), "succeeded 0, killed 1");
        assert_eq!(bench.cell.job(job).expect("there").state, JobState::Killed);
        let killed =
            bench.cell.job(job).and_then(|job| job.task(paceline_types::TaskIndex(1))).expect("there");
        assert_eq!((killed.state, killed.reason), (TaskState::Killed, Reason::JobStopped));
    }

    #[test]
    fn stopping_twice_changes_nothing() {
        let mut bench = Bench::new();
        let job = bench.submit(batch("j", 2));
        bench.stop(job);
        bench.events.clear();
        let reply = bench.one(CommandBody::StopJob { job: JobSelector::Uid(job) });
        assert_eq!(reply, Reply::JobStopping { uid: job, state: JobState::Killed });
        assert!(bench.events.is_empty());
    }

    #[test]
    fn an_unknown_job_is_not_found() {
        let mut bench = Bench::new();
        let reply = bench.one(CommandBody::StopJob { job: JobSelector::Name("nobody".into()) });
        assert_eq!(reply, Reply::Refused(Refusal::not_found(Subject::Job, &"nobody")));
    }
}
