//! SubmitJob: one command whatever the task count.

use std::sync::Arc;

use paceline_rules::{JobSpec, validate_job};
use paceline_types::{JobState, JobUid};

use super::{Outcome, Work};
use crate::event::Event;
use crate::job::Job;
use crate::refusal::{Bound, Refusal};
use crate::reply::Reply;

/// When a submission that met a full cell should come again: what has ended retires within a second of such pressure.
const RETRY_AFTER_MS: u64 = 1_000;

impl Work<'_> {
    pub(super) fn submit_job(&mut self, spec: &Arc<JobSpec>, submitted_unix_ms: u64) -> Outcome {
        if let Some(live) = self.cell.live_job_by_name(&spec.name) {
            let uid = live.uid;
            // What is stopping runs nothing any more: to call it the submitted job would be an empty promise.
            return if live.state == JobState::Active && *live.spec == **spec {
                Ok(Reply::JobSubmitted { uid, existing: true })
            } else {
                Err(Refusal::NameInUse { uid })
            };
        }
        validate_job(spec, &self.cell.config.limits)
            .map_err(|found| Refusal::InvalidSpec(Refusal::violations(found)))?;
        self.room_for(spec.tasks)?;
        let uid = JobUid { revision: self.revision, ordinal: self.ordinal };
        let job = Job::new(uid, Arc::clone(spec), submitted_unix_ms, self.cell.clock_ms);
        self.events.push(Event::JobSubmitted { job: uid, name: Arc::clone(&job.name), tasks: spec.tasks });
        self.cell.indexes.add_job(&job);
        self.cell.jobs.insert(uid, Arc::new(job));
        Ok(Reply::JobSubmitted { uid, existing: false })
    }

    fn room_for(&self, tasks: u32) -> Result<(), Refusal> {
        let config = &self.cell.config;
        // A time is promised only where something is about to leave; nobody knows when a job that runs will end.
        let retry_after_ms = if self.cell.indexes.ended.is_empty() { 0 } else { RETRY_AFTER_MS };
        let full = |bound, limit| Err(Refusal::Overloaded { bound, limit, retry_after_ms });
        if self.cell.jobs.len() >= config.jobs_per_cell as usize {
            return full(Bound::Jobs, u64::from(config.jobs_per_cell));
        }
        if self.cell.task_count().saturating_add(u64::from(tasks)) > config.tasks_per_cell {
            return full(Bound::Tasks, config.tasks_per_cell);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use crate::command::JobSelector;
    use crate::config::{ConfigChange, Setting};
    use paceline_types::TaskState;

    #[test]
    fn the_same_specification_under_a_live_name_finds_the_job() {
        let mut bench = Bench::new();
        let first = bench.submit(batch("j", 3));
        let again = bench.one(CommandBody::SubmitJob { spec: batch("j", 3).into(), submitted_unix_ms: 9 });
        assert_eq!(again, Reply::JobSubmitted { uid: first, existing: true });
        let other = bench.one(CommandBody::SubmitJob { spec: batch("j", 4).into(), submitted_unix_ms: 9 });
        assert_eq!(other, Reply::Refused(Refusal::NameInUse { uid: first }));
    }

    #[test]
    fn a_job_that_is_stopping_is_not_the_submitted_one() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let first = bench.submit(batch("j", 1));
        bench.assign(first, 0, node, "0");
        bench.one(CommandBody::StopJob { job: JobSelector::Uid(first) });
        let again = bench.one(CommandBody::SubmitJob { spec: batch("j", 1).into(), submitted_unix_ms: 9 });
        assert_eq!(again, Reply::Refused(Refusal::NameInUse { uid: first }));
    }

    #[test]
    fn a_name_is_free_again_when_its_job_has_ended() {
        let mut bench = Bench::new();
        let first = bench.submit(batch("j", 3));
        bench.stop(first);
        let second = bench.submit(batch("j", 3));
        assert_ne!(first, second);
        assert_eq!(bench.cell.live_job_by_name("j").map(|job| job.uid), Some(second));
        assert_eq!(bench.cell.job(first).expect("not retired").state, JobState::Killed);
    }

    #[test]
    fn jobs_of_one_entry_differ_by_ordinal() {
        let mut bench = Bench::new();
        let submit = |name| CommandBody::SubmitJob { spec: batch(name, 1).into(), submitted_unix_ms: 0 };
        let replies = bench.all(vec![submit("a"), submit("b")]);
        let revision = bench.cell.revision();
        let uid = |ordinal| JobUid { revision, ordinal };
        let expected = [0, 1].map(|ordinal| Reply::JobSubmitted { uid: uid(ordinal), existing: false });
        assert_eq!(replies, expected);
        assert_eq!(bench.cell.job(uid(1)).expect("submitted").count(TaskState::Pending), 1);
    }

    #[test]
    fn every_fault_of_a_specification_is_in_the_refusal() {
        let mut bench = Bench::new();
        let mut spec = batch("J", 0);
        spec.pool = "/science".into();
        match bench.one(CommandBody::SubmitJob { spec: spec.into(), submitted_unix_ms: 0 }) {
            Reply::Refused(Refusal::InvalidSpec(found)) => {
                let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
                assert_eq!(fields, ["name", "pool", "tasks"]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_cell_refuses_with_the_limit() {
        let mut bench = Bench::new();
        let settings = [(Setting::TasksPerCell, 5)].into();
        bench.one(CommandBody::SetConfig(ConfigChange { settings, failure_domains: None }));
        let job = bench.submit(batch("a", 3));
        let again = |bench: &mut Bench| {
            bench.one(CommandBody::SubmitJob { spec: batch("b", 3).into(), submitted_unix_ms: 0 })
        };
        let full = |retry_after_ms| {
            Reply::Refused(Refusal::Overloaded { bound: Bound::Tasks, limit: 5, retry_after_ms })
        };
        assert_eq!(again(&mut bench), full(0), "nothing is about to leave");
        bench.stop(job);
        assert_eq!(again(&mut bench), full(RETRY_AFTER_MS));
        bench.retire(job);
        assert!(matches!(again(&mut bench), Reply::JobSubmitted { existing: false, .. }));
    }
}
