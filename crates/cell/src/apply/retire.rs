//! Retire: jobs that have ended leave the state with everything that is known of them.

use paceline_types::JobUid;

use super::{Outcome, Work};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::retired::RetiredJob;

impl Work<'_> {
    /// Unknown jobs are passed over: they retired before. One that has not ended refuses the whole command.
    pub(super) fn retire(&mut self, jobs: &[JobUid]) -> Outcome {
        let live = jobs.iter().filter_map(|uid| self.job(*uid)).find(|job| !job.state.is_terminal());
        if let Some(job) = live {
            return Err(Refusal::JobNotTerminal { uid: job.uid, state: job.state });
        }
        let mut retired = 0_u32;
        for uid in jobs {
            let Some(job) = self.cell.jobs.remove(uid) else { continue };
            self.cell.indexes.remove_job(&job);
            self.events.push(Event::JobRetired { job: *uid });
            self.retired.push(RetiredJob::of(job, self.cell, self.revision));
            retired = retired.saturating_add(1);
        }
        Ok(Reply::Retired { jobs: retired })
    }
}

#[cfg(test)]
mod tests {
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use crate::refusal::Refusal;
    use crate::reply::Reply;
    use paceline_types::{JobState, TaskIndex, TaskState};

    #[test]
    fn a_retired_job_keeps_what_became_of_each_task() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 2));
        bench.assign(job, 0, node, "0-1");
        bench.ended(job, 1, node, "0", 0);
        assert!(bench.cell.retirable().is_empty());
        bench.ended(job, 1, node, "1", 7);
        assert_eq!(bench.cell.retirable(), [job]);
        let retired = bench.retire(job);
        assert_eq!(bench.cell.job(job), None);
        assert_eq!(retired.job().state, JobState::Failed);
        let task = retired.job().task(TaskIndex(1)).expect("there");
        assert_eq!((task.state, task.node), (TaskState::Failed, Some(node)));
        assert_eq!(retired.node_name(node).expect("known").as_str(), "n");
    }

    #[test]
    fn a_live_job_does_not_retire_and_an_unknown_one_did() {
        let mut bench = Bench::new();
        let live = bench.submit(batch("a", 1));
        let ended = bench.submit(batch("b", 1));
        bench.stop(ended);
        let reply = bench.one(CommandBody::Retire { jobs: vec![ended, live] });
        assert_eq!(reply, Reply::Refused(Refusal::JobNotTerminal { uid: live, state: JobState::Active }));
        assert_eq!(bench.one(CommandBody::Retire { jobs: vec![ended, ended] }), Reply::Retired { jobs: 1 });
        assert_eq!(bench.one(CommandBody::Retire { jobs: vec![ended] }), Reply::Retired { jobs: 0 });
    }
}
