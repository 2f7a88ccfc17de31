//! WriteOffNode: what ran on a node that has been silent for so long ends here and may run elsewhere.
//!
//! Who proposes says how long the silence was, and each job's own patience decides: an attempt ends when its job's
//! `replace_after` is not above it, nor, where it must never run twice, the wait for its lease; a job that says never keeps its attempts whatever is proposed. With its last
//! attempt a node is lost: its epoch rises and it takes no work before its agent registers again. As long as anything
//! is left on it the epoch stays, because what it still has to say of that counts. It says nothing of attempts that
//! ended here: the write-off is their end, also where the process ended otherwise and nobody had heard of it.

use paceline_types::{NodeEpoch, NodeId, Reason, TaskState};

use super::register_node::next_epoch;
use super::{Outcome, Work};
use crate::event::Event;
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn write_off_node(&mut self, id: NodeId, epoch: NodeEpoch, silent_ms: u64) -> Outcome {
        let node = self.cell.node(id).ok_or_else(|| Refusal::not_found(Subject::Node, &id))?;
        if node.epoch != epoch {
            return Err(Refusal::StaleEpoch { node: id, committed: node.epoch });
        }
        let next = next_epoch(epoch)?;
        let tasks = self.end_impatient(id, silent_ms);
        let lost = self.cell.node(id).is_some_and(|node| node.is_idle() && !node.lost);
        if lost {
            self.change_node(id, |node| {
                node.epoch = next;
                node.lost = true;
            });
            self.events.push(Event::NodeLost { node: id, epoch: next });
        }
        Ok(Reply::WrittenOff { tasks, lost })
    }

    /// Ends the attempts whose jobs do not wait any longer; says how many.
    fn end_impatient(&mut self, id: NodeId, silent_ms: u64) -> u64 {
        let Some(node) = self.cell.node(id) else { return 0 };
        let ends = |after: Option<u64>| after.is_some_and(|after_ms| after_ms <= silent_ms);
        let job = |uid| self.cell.job(uid).is_some_and(|job| ends(job.spec.patience_ms()));
        let due: Vec<_> = node.assignments().filter(|(uid, _, _)| job(*uid)).collect();
        let mut ended = 0_u64;
        for (uid, attempt, tasks) in due {
            let run = (uid, attempt, &tasks);
            ended = ended.saturating_add(self.end_attempts(id, run, Reason::NodeLost, TaskState::Lost));
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::{CommandBody, ReportedState};
    use paceline_types::{Attempt, ExitStatus, JobState, JobUid, LEASE_WAIT_MS, TaskIndex};

    fn write_off(bench: &mut Bench, node: NodeId, epoch: u32, silent_ms: u64) -> Reply {
        bench.one(CommandBody::WriteOffNode { node, epoch: NodeEpoch(epoch), silent_ms })
    }

    fn patient(bench: &mut Bench, name: &str, replace_after_ms: Option<u64>) -> JobUid {
        let mut spec = batch(name, 2);
        spec.replace_after_ms = replace_after_ms;
        bench.submit(spec)
    }

    fn exited(code: i32) -> ReportedState {
        let reason = if code == 0 { Reason::ExitedZero } else { Reason::ExitedNonZero };
        ReportedState::Ended { status: Some(ExitStatus::Code(code)), reason }
    }

    #[test]
    fn each_job_waits_as_long_as_it_says_and_one_that_says_never_stays() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let soon = patient(&mut bench, "soon", Some(2_000));
        let late = patient(&mut bench, "late", Some(60_000));
        let never = patient(&mut bench, "never", None);
        for job in [soon, late, never] {
            bench.assign(job, 0, node, "0-1");
        }
        assert_eq!(write_off(&mut bench, node, 1, 1_999), Reply::WrittenOff { tasks: 0, lost: false });
        assert_eq!(write_off(&mut bench, node, 1, 2_000), Reply::WrittenOff { tasks: 2, lost: false });
        assert_eq!(bench.states(soon), "pending 0-1");
        assert_eq!(write_off(&mut bench, node, 1, u64::MAX), Reply::WrittenOff { tasks: 2, lost: false });
        assert_eq!(
            (bench.states(late).as_str(), bench.states(never).as_str()),
            ("pending 0-1", "assigned 0-1")
        );
        let node = bench.cell.node(node).expect("there");
        assert_eq!((node.epoch, node.lost), (NodeEpoch(1), false), "what is left there still counts");
    }

    #[test]
    fn with_its_last_attempt_a_node_is_lost_and_takes_no_work_before_it_registers() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = patient(&mut bench, "j", Some(60_000));
        bench.assign(job, 0, node, "0-1");
        assert_eq!(write_off(&mut bench, node, 1, 60_000), Reply::WrittenOff { tasks: 2, lost: true });
        assert_eq!(bench.events.last(), Some(&Event::NodeLost { node, epoch: NodeEpoch(2) }));
        let draining = Reply::Refused(Refusal::Infeasible(Reason::NodeDraining));
        assert_eq!(bench.assign_at(job, 1, node, 2, "0"), draining);
        assert_eq!(bench.register("n", 1, 1), Reply::NodeRegistered { node, epoch: NodeEpoch(2) });
        assert!(!bench.cell.node(node).expect("there").lost);
        assert_eq!(bench.assign_at(job, 1, node, 2, "0"), Reply::Assigned { attempt: Attempt(2) });
    }

    #[test]
    fn where_two_must_never_run_at_once_the_lease_is_waited_for_whatever_the_job_says() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let mut leased = |name: &str, replace_after_ms| {
            let mut spec = batch(name, 1);
            (spec.at_most_one, spec.replace_after_ms) = (true, replace_after_ms);
            let job = bench.submit(spec);
            bench.assign(job, 0, node, "0");
            job
        };
        let (soon, late, never) =
            (leased("soon", Some(1)), leased("late", Some(LEASE_WAIT_MS + 1)), leased("never", None));
        assert_eq!(bench.cell.patience_ms(node), Some(LEASE_WAIT_MS));
        assert_eq!(
            write_off(&mut bench, node, 1, LEASE_WAIT_MS - 1),
            Reply::WrittenOff { tasks: 0, lost: false }
        );
        assert_eq!(
            write_off(&mut bench, node, 1, LEASE_WAIT_MS),
            Reply::WrittenOff { tasks: 1, lost: false }
        );
        let states = [soon, late, never].map(|job| bench.states(job));
        assert_eq!(states, ["pending 0", "assigned 0", "assigned 0"]);
    }

    #[test]
    fn an_idle_node_is_lost_too_and_only_once() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        assert_eq!(write_off(&mut bench, node, 1, 60_000), Reply::WrittenOff { tasks: 0, lost: true });
        let stale = Reply::Refused(Refusal::StaleEpoch { node, committed: NodeEpoch(2) });
        assert_eq!(
            write_off(&mut bench, node, 1, 60_000),
            stale,
            "said again by the same leader or the next"
        );
        assert_eq!(write_off(&mut bench, node, 2, 60_000), Reply::WrittenOff { tasks: 0, lost: false });
        assert_eq!(bench.cell.node(node).expect("there").epoch, NodeEpoch(2));
        let nobody = Reply::Refused(Refusal::not_found(Subject::Node, &9));
        assert_eq!(write_off(&mut bench, NodeId(9), 1, 60_000), nobody);
    }

    #[test]
    fn a_lost_attempt_is_no_failure_and_the_next_one_has_the_next_number() {
        let mut bench = Bench::new();
        let (node, other) = (bench.node("n"), bench.node("m"));
        let job = patient(&mut bench, "j", Some(1));
        bench.assign(job, 0, node, "0");
        write_off(&mut bench, node, 1, 1);
        assert_eq!(bench.assign(job, 1, other, "0"), Reply::Assigned { attempt: Attempt(2) });
        let task = bench.cell.job(job).and_then(|job| job.task(TaskIndex(0))).expect("there");
        assert_eq!((task.failures, task.attempt, task.node), (0, Attempt(2), Some(other)));
    }

    #[test]
    fn the_write_off_wins_over_an_end_that_nobody_had_heard_of() {
        let mut bench = Bench::new();
        let (node, other) = (bench.node("n"), bench.node("m"));
        let job = patient(&mut bench, "j", Some(1));
        let never = patient(&mut bench, "never", None);
        bench.assign(job, 0, node, "0-1");
        bench.assign(never, 0, node, "0");
        write_off(&mut bench, node, 1, 1);
        // The node is back at the same epoch, because something is left on it.
        let late = bench.report_at(job, 1, node, 1, "0", exited(0));
        assert_eq!(
            late,
            Reply::Reported { applied: 0, doubles: 1, stale: 0 },
            "it waits for its second attempt"
        );
        bench.assign(job, 1, other, "0");
        let later = bench.report_at(job, 1, node, 1, "0-1", exited(0));
        assert_eq!(later, Reply::Reported { applied: 0, doubles: 1, stale: 1 });
        assert_eq!(bench.states(job), "assigned 0, pending 1");
        let kept = bench.report_at(never, 1, node, 1, "0", exited(0));
        assert_eq!(kept, Reply::Reported { applied: 1, doubles: 0, stale: 0 }, "what was left there counts");
    }

    #[test]
    fn what_was_being_stopped_is_lost_and_its_job_ends() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = patient(&mut bench, "j", Some(1));
        bench.assign(job, 0, node, "0-1");
        bench.stop(job);
        assert_eq!(write_off(&mut bench, node, 1, 1), Reply::WrittenOff { tasks: 2, lost: true });
        assert_eq!(bench.states(job), "lost 0-1");
        assert_eq!(bench.cell.job(job).expect("there").state, JobState::Failed);
    }

    #[test]
    fn a_lost_node_that_was_booted_anew_or_replaced_comes_back_as_such() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        write_off(&mut bench, node, 1, 1);
        assert_eq!(bench.register("n", 1, 2), Reply::NodeRegistered { node, epoch: NodeEpoch(3) });
        write_off(&mut bench, node, 3, 1);
        assert!(matches!(bench.register("n", 2, 2), Reply::Refused(Refusal::InstanceMismatch { .. })));
        bench.one(CommandBody::ReplaceNode { node: "n".parse().expect("a name") });
        bench.register("n", 2, 2);
        let node = bench.cell.node(node).expect("there");
        assert_eq!((node.lost, node.replaceable), (false, false));
    }
}
