//! The one way in which tasks move: columns, counts, the index of nodes, what nodes use, and the events change
//! together or not at all.

use std::sync::Arc;

use paceline_types::{Attempt, IndexSet, JobUid, NodeId, Reason, TaskState};

use super::Work;
use crate::event::Event;
use crate::job::{Change, Job, Row, StoredStatus};
use crate::node::AssignedRun;
use crate::ranges::Grouped;

/// What tasks of one event have in common, in the order of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    to: TaskState,
    attempt: Attempt,
    node: NodeId,
    reason: Reason,
    status: StoredStatus,
}

impl Work<'_> {
    /// Asks `decide` for each run of equal tasks within `tasks`, moves them, and returns how many moved.
    /// The caller settles the job when it is done with it.
    pub(super) fn change_tasks(
        &mut self,
        uid: JobUid,
        tasks: &IndexSet,
        decide: impl FnMut(Row) -> Option<Row>,
    ) -> u64 {
        let Some(job) = self.cell.jobs.get_mut(&uid) else { return 0 };
        let job = Arc::make_mut(job);
        let changes = job.change(tasks, decide);
        if changes.is_empty() {
            return 0;
        }
        self.cell.indexes.note_pending(job);
        let needs = Arc::clone(&job.needs);
        let mut grouped = Grouped::new();
        let mut moved = 0_u64;
        for change in &changes {
            self.change_nodes(uid, &needs, change);
            if change.old.state != change.new.state || change.old.attempt != change.new.attempt {
                grouped.add(same(change), change.tasks);
                moved = moved.saturating_add(change.tasks.count());
            }
        }
        self.count_transitions(&changes);
        self.events.extend(grouped.into_sets().map(|(same, tasks)| event(uid, same, tasks)));
        moved
    }

    /// The node that tasks leave, and the one they come to.
    fn change_nodes(&mut self, uid: JobUid, needs: &crate::job::Needs, change: &Change) {
        let (from, to) = (change.old.state.is_on_node(), change.new.state.is_on_node());
        if from == to {
            return;
        }
        let row = if from { change.old } else { change.new };
        let run = AssignedRun { job: uid, attempt: Attempt(row.attempt), tasks: change.tasks };
        let Some(node) = self.cell.nodes.get_mut(&NodeId(row.node)) else { return };
        let node = Arc::make_mut(node);
        // Assign refused what overflows, so the sum of what is on the node cannot.
        let need = needs.sum(change.tasks).unwrap_or_default();
        if from {
            node.assigned.remove(run);
            node.used = node.used.saturating_sub(&need);
        } else {
            node.assigned.insert(run);
            node.used = node.used.checked_add(&need).unwrap_or(node.used);
        }
    }

    /// Assigned, running and the end of an attempt count; waiting tasks that are killed and orders to stop do not.
    fn count_transitions(&mut self, changes: &[Change]) {
        for change in changes {
            let started = matches!(change.new.state, TaskState::Assigned | TaskState::Running);
            let ended = change.old.state.is_on_node() && !change.new.state.is_on_node();
            if started || ended {
                let total = &mut self.cell.task_transitions;
                *total = total.saturating_add(change.tasks.count());
            }
        }
    }

    /// Ends what is on a node: tasks wait again, stopping ones become `stopping`.
    pub(super) fn end_attempts_on(&mut self, id: NodeId, reason: Reason, stopping: TaskState) {
        let Some(node) = self.cell.node(id) else { return };
        let assigned: Vec<_> = node.assignments().collect();
        for (uid, attempt, tasks) in assigned {
            self.end_attempts(id, (uid, attempt, &tasks), reason, stopping);
        }
    }

    /// Ends one run of attempts on a node, and says how many.
    pub(super) fn end_attempts(
        &mut self,
        id: NodeId,
        (uid, attempt, tasks): (JobUid, Attempt, &IndexSet),
        reason: Reason,
        stopping: TaskState,
    ) -> u64 {
        let ended = self.change_tasks(uid, tasks, |row| {
            let there = row.state.is_on_node() && row.node == id.0 && row.attempt == attempt.0;
            let next = if row.state == TaskState::Stopping {
                Row { state: stopping, reason, ..row }
            } else {
                requeued(row, reason, StoredStatus::NONE)
            };
            if there { Some(next) } else { None }
        });
        self.settle(uid);
        ended
    }

    /// The job, where it is there.
    pub(super) fn job(&self, uid: JobUid) -> Option<&Job> {
        self.cell.job(uid)
    }
}

/// The row of a task whose attempt ended and that waits for the next.
pub(super) fn requeued(row: Row, reason: Reason, status: StoredStatus) -> Row {
    Row { state: TaskState::Pending, reason, status, node: 0, ..row }
}

fn same(change: &Change) -> Same {
    let on_node = change.old.state.is_on_node();
    let node = if on_node { change.old.node } else { change.new.node };
    Same {
        to: change.new.state,
        attempt: Attempt(change.new.attempt),
        node: NodeId(node),
        reason: change.new.reason,
        status: change.new.status,
    }
}

fn event(job: JobUid, same: Same, tasks: IndexSet) -> Event {
    let Same { to, attempt, node, reason, status } = same;
    let status = status.read();
    match to {
        TaskState::Pending => Event::TasksRequeued { job, attempt, node, tasks, reason, status },
        TaskState::Assigned => Event::TasksAssigned { job, attempt, node, tasks },
        TaskState::Running => Event::TasksRunning { job, attempt, node, tasks },
        TaskState::Stopping => Event::TasksStopping { job, attempt, node, tasks, reason },
        TaskState::Succeeded | TaskState::Failed | TaskState::Killed | TaskState::Lost => {
            let node = if node.0 == 0 { None } else { Some(node) };
            Event::TasksEnded { job, attempt, node, tasks, state: to, reason, status }
        }
    }
}
