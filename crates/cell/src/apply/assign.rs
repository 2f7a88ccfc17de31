//! Assign: binds pending tasks to a node, all of them or none.
//!
//! Who proposes says which attempt it follows and at which epoch it saw the node; anything else is refused, so a
//! proposal made from an old view does no harm.

use paceline_rules::feasible;
use paceline_types::{Attempt, IndexSet, JobState, JobUid, NodeEpoch, NodeId, Reason, TaskIndex, TaskState};

use super::{Outcome, Work};
use crate::job::{Job, Row, StoredStatus};
use crate::node::Node;
use crate::refusal::{Counter, Refusal, Subject};
use crate::reply::Reply;

/// The fields of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assignment<'a> {
    pub job: JobUid,
    pub follows: Attempt,
    pub node: NodeId,
    pub epoch: NodeEpoch,
    pub tasks: &'a IndexSet,
}

impl Work<'_> {
    pub(super) fn assign(&mut self, assignment: &Assignment<'_>) -> Outcome {
        let Assignment { job: uid, follows, node: id, epoch, tasks } = *assignment;
        let job = self.job(uid).ok_or_else(|| Refusal::not_found(Subject::Job, &uid))?;
        if job.state != JobState::Active {
            return Err(Refusal::JobNotActive { uid, state: job.state });
        }
        let node = self.cell.node(id).ok_or_else(|| Refusal::not_found(Subject::Node, &id))?;
        if node.epoch != epoch {
            return Err(Refusal::StaleEpoch { node: id, committed: node.epoch });
        }
        check_tasks(job, follows, tasks)?;
        check_rules(job, node, tasks)?;
        let next = follows.0.checked_add(1);
        let attempt = next.ok_or(Refusal::Exhausted { counter: Counter::Attempt })?;
        let assigned = self.revision.0;
        self.change_tasks(uid, tasks, |row| {
            Some(Row {
                state: TaskState::Assigned,
                reason: Reason::None,
                attempt,
                node: id.0,
                assigned,
                status: StoredStatus::NONE,
                ..row
            })
        });
        Ok(Reply::Assigned { attempt: Attempt(attempt) })
    }
}

/// Every task is there, waits, and is at the attempt that is followed.
fn check_tasks(job: &Job, follows: Attempt, tasks: &IndexSet) -> Result<(), Refusal> {
    let last = tasks.last().ok_or(Refusal::NoTasks)?;
    if last >= job.columns.len() {
        return Err(Refusal::NoSuchTask { task: TaskIndex(last), tasks: job.columns.len() });
    }
    let mut runs = tasks.ranges().iter().flat_map(|range| job.columns.runs(*range));
    match runs.find(|(_, row)| row.state != TaskState::Pending || row.attempt != follows.0) {
        None => Ok(()),
        Some((at, row)) => Err(Refusal::StaleAttempt {
            task: TaskIndex(at.first()),
            state: row.state,
            attempt: Attempt(row.attempt),
        }),
    }
}

/// The rules hold in batch order. Those of today depend on what is free and on nothing else that the batch
/// changes, so that they hold at every prefix when they hold for the sum.
fn check_rules(job: &Job, node: &Node, tasks: &IndexSet) -> Result<(), Refusal> {
    if tasks.count() > u64::from(job.room_to_run()) {
        return Err(Refusal::Infeasible(Reason::MaxRunning));
    }
    let need = job.needs.sum_of(tasks).ok_or(Refusal::Infeasible(Reason::NoFreeCapacity))?;
    feasible(&job.spec, &need, &node.terms()).map_err(Refusal::Infeasible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::event::Event;
    use paceline_rules::{JobSpec, Simulate};

    #[test]
    fn tasks_are_bound_at_the_attempt_after_the_one_followed() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 4));
        assert_eq!(bench.assign(job, 0, node, "1-2"), Reply::Assigned { attempt: Attempt(1) });
        assert_eq!(bench.states(job), "pending 0, assigned 1-2, pending 3");
        let tasks = "1-2".parse().expect("valid");
        assert_eq!(
            bench.events.last(),
            Some(&Event::TasksAssigned { job, attempt: Attempt(1), node, tasks })
        );
        let used = bench.cell.node(node).expect("there").used;
        assert_eq!(used.cpu_milli(), 200);
    }

    #[test]
    fn one_task_that_is_not_pending_refuses_them_all() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 4));
        bench.assign(job, 0, node, "2");
        let before = bench.cell.digest();
        let stale =
            Refusal::StaleAttempt { task: TaskIndex(2), state: TaskState::Assigned, attempt: Attempt(1) };
        assert_eq!(bench.assign(job, 0, node, "0-3"), Reply::Refused(stale));
        assert_eq!(bench.states(job), "pending 0-1, assigned 2, pending 3");
        assert_ne!(bench.cell.digest(), before, "the revision moved");
    }

    #[test]
    fn stale_attempt_is_refused() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let mut spec = batch("j", 1);
        spec.max_attempts = 3;
        let job = bench.submit(spec);
        bench.assign(job, 0, node, "0");
        bench.ended(job, 1, node, "0", 1);
        let stale =
            Refusal::StaleAttempt { task: TaskIndex(0), state: TaskState::Pending, attempt: Attempt(1) };
        assert_eq!(bench.assign(job, 0, node, "0"), Reply::Refused(stale));
        assert_eq!(bench.assign(job, 1, node, "0"), Reply::Assigned { attempt: Attempt(2) });
    }

    #[test]
    fn another_epoch_job_node_or_index_is_refused() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 2));
        let nobody = JobUid::default();
        for (job, node, epoch, tasks, refusal) in [
            (nobody, node, 1, "0", Refusal::not_found(Subject::Job, &nobody)),
            (job, NodeId(9), 1, "0", Refusal::not_found(Subject::Node, &9)),
            (job, node, 2, "0", Refusal::StaleEpoch { node, committed: NodeEpoch(1) }),
            (job, node, 1, "0-2", Refusal::NoSuchTask { task: TaskIndex(2), tasks: 2 }),
        ] {
            let reply = bench.assign_at(job, 0, node, epoch, tasks);
            assert_eq!(reply, Reply::Refused(refusal));
        }
        let none = crate::command::CommandBody::Assign {
            job,
            follows: Attempt(0),
            node,
            epoch: NodeEpoch(1),
            tasks: IndexSet::default(),
        };
        assert_eq!(bench.one(none), Reply::Refused(Refusal::NoTasks));
    }

    #[test]
    fn the_rule_that_says_no_is_in_the_refusal() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let mut spec = batch("j", 100);
        spec.max_running = Some(20);
        let job = bench.submit(spec);
        let refused = |reason| Reply::Refused(Refusal::Infeasible(reason));
        assert_eq!(bench.assign(job, 0, node, "0-10"), refused(Reason::CpuShort));
        assert_eq!(bench.assign(job, 0, node, "0-9"), Reply::Assigned { attempt: Attempt(1) });
        let second = bench.node("m");
        bench.assign(job, 0, second, "10-19");
        let third = bench.node("o");
        assert_eq!(bench.assign(job, 0, third, "20"), refused(Reason::MaxRunning));
    }

    #[test]
    fn what_only_pretends_to_run_goes_to_nodes_that_pretend_and_nothing_else_does() {
        let mut bench = Bench::new();
        let real_node = bench.node("n");
        let virtual_node = bench.virtual_node("v");
        let real = bench.submit(batch("real", 1));
        let block = Some(Simulate::lasting(5));
        let simulated = bench.submit(JobSpec { simulate: block, ..batch("simulated", 1) });
        let refused = |reason| Reply::Refused(Refusal::Infeasible(reason));
        assert_eq!(bench.assign(simulated, 0, real_node, "0"), refused(Reason::NodeIsReal));
        assert_eq!(bench.assign(real, 0, virtual_node, "0"), refused(Reason::NodeSimulates));
        for (job, node) in [(simulated, virtual_node), (real, real_node)] {
            assert_eq!(bench.assign(job, 0, node, "0"), Reply::Assigned { attempt: Attempt(1) });
        }
    }
}
