//! DeleteJob: forgets a job that has ended. What history holds of it is the shell's to delete.

use super::{Outcome, Work};
use crate::command::JobSelector;
use crate::event::Event;
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn delete_job(&mut self, job: &JobSelector) -> Outcome {
        let uid = self.select(job)?;
        let state = self.job(uid).map(|job| job.state);
        match state {
            None => return Err(Refusal::not_found(Subject::Job, &uid)),
            Some(state) if !state.is_terminal() => return Err(Refusal::JobNotTerminal { uid, state }),
            Some(_) => {}
        }
        if let Some(job) = self.cell.jobs.remove(&uid) {
            self.cell.indexes.remove_job(&job);
            self.events.push(Event::JobDeleted { job: uid });
        }
        Ok(Reply::JobDeleted { uid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use paceline_types::JobState;

    #[test]
    fn only_a_job_that_has_ended_is_deleted() {
        let mut bench = Bench::new();
        let job = bench.submit(batch("j", 2));
        let delete = CommandBody::DeleteJob { job: JobSelector::Name("j".into()) };
        let live = Reply::Refused(Refusal::JobNotTerminal { uid: job, state: JobState::Active });
        assert_eq!(bench.one(delete.clone()), live);
        bench.stop(job);
        assert_eq!(bench.one(delete.clone()), Reply::JobDeleted { uid: job });
        assert_eq!(bench.cell.job(job), None);
        assert_eq!(bench.one(delete), Reply::Refused(Refusal::not_found(Subject::Job, &"j")));
    }
}
