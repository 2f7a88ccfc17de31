//! The invariants of the state, in words: run after every apply in tests and in simulation.

use std::collections::BTreeMap;

use paceline_types::{JobState, NodeId, Resources, TaskState};

use super::{Cell, Indexes};
use crate::job::{Columns, Job};
use crate::node::{AssignedRun, AssignedRuns, Node};

/// What the columns say of one node.
#[derive(Debug, Default)]
struct OnNode {
    assigned: AssignedRuns,
    used: Resources,
    overflow: bool,
}

impl Cell {
    /// Every broken invariant in words; empty when the state is sound.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut wrong = self.requests.check();
        let mut on_nodes: BTreeMap<NodeId, OnNode> = BTreeMap::new();
        for (uid, job) in &self.jobs {
            if *uid != job.uid {
                wrong.push(format!("job {} is kept as {uid}", job.uid));
            }
            check_job(job, &mut wrong);
            self.collect(job, &mut on_nodes, &mut wrong);
        }
        for (id, node) in &self.nodes {
            if *id != node.id || *id > self.last_node || id.0 == 0 {
                wrong.push(format!("node {} is kept as {id}, the last is {}", node.id, self.last_node));
            }
            check_node(node, &on_nodes.remove(id).unwrap_or_default(), &mut wrong);
        }
        for id in on_nodes.keys() {
            wrong.push(format!("tasks are on node {id}, which is not there"));
        }
        self.check_names(&mut wrong);
        wrong
    }

    fn check_names(&self, wrong: &mut Vec<String>) {
        if Indexes::of(self.jobs(), self.nodes()) != self.indexes {
            wrong.push("indexes differ from a recomputation".to_owned());
        }
        let mut live = BTreeMap::new();
        for job in self.jobs().filter(|job| !job.state.is_terminal()) {
            if let Some(other) = live.insert(&job.name, job.uid) {
                wrong.push(format!("jobs {other} and {} are live under the name {}", job.uid, job.name));
            }
        }
        if self.indexes.node_names.len() != self.nodes.len() {
            wrong.push("two nodes have one name".to_owned());
        }
        for (id, shard) in &self.shards {
            if *id != shard.id || *id > self.last_shard {
                wrong.push(format!("shard {} is kept as {id}, the last is {}", shard.id, self.last_shard));
            }
        }
        if self.shard_list_version > self.revision || self.requests.horizon() > self.revision {
            wrong.push("a revision lies in the future".to_owned());
        }
    }

    /// Adds a job's tasks to what is on nodes.
    fn collect(&self, job: &Job, on_nodes: &mut BTreeMap<NodeId, OnNode>, wrong: &mut Vec<String>) {
        for (tasks, task) in job.task_runs() {
            if task.assigned > self.revision {
                wrong.push(format!("job {} task {tasks} was assigned in the future", job.uid));
            }
            if task.state == TaskState::Pending && task.node.is_some() {
                wrong.push(format!("job {} task {tasks} waits and is on a node", job.uid));
            }
            if !task.state.is_on_node() {
                continue;
            }
            if task.attempt.0 == 0 {
                wrong.push(format!("job {} task {tasks} is on a node at attempt 0", job.uid));
            }
            let there = on_nodes.entry(task.node.unwrap_or_default()).or_default();
            there.assigned.insert(AssignedRun { job: job.uid, attempt: task.attempt, tasks });
            match job.needs.sum(tasks).and_then(|need| there.used.checked_add(&need)) {
                Some(used) => there.used = used,
                None => there.overflow = true,
            }
        }
    }
}

fn check_job(job: &Job, wrong: &mut Vec<String>) {
    let mut say = |what: &str| wrong.push(format!("job {}: {what}", job.uid));
    if job.columns.len() != job.spec.tasks || *job.name != *job.spec.name {
        say("columns or name differ from the specification");
    }
    if job.columns.counts() != job.counts {
        say("counts differ from a recount");
    }
    if !pending_chunks_agree(&job.columns) {
        say("pending counts of chunks differ from a recount");
    }
    let terminal = job.state.is_terminal();
    if terminal != (job.open() == 0) || terminal != job.ended.is_some() {
        say("state, open tasks and end disagree");
    }
    if terminal && job.state != job.end_state() {
        say("the end state does not follow from the tasks");
    }
    let moving = [TaskState::Pending, TaskState::Assigned, TaskState::Running];
    if job.state == JobState::Stopping && moving.iter().any(|&state| job.count(state) > 0) {
        say("stopping with tasks that are not");
    }
    if job.state == JobState::Active && job.count(TaskState::Stopping) > 0 {
        say("active with stopping tasks");
    }
    if job.spec.max_running.is_some_and(|most| job.on_nodes() > most) {
        say("more tasks on nodes than max_running admits");
    }
}

fn pending_chunks_agree(columns: &Columns) -> bool {
    columns.chunks().iter().all(|chunk| chunk.pending() == chunk.pending_recounted())
}

fn check_node(node: &Node, there: &OnNode, wrong: &mut Vec<String>) {
    let mut say = |what: String| wrong.push(format!("node {}: {what}", node.id));
    if node.assigned != there.assigned {
        say("the index of its attempts differs from the columns".to_owned());
    }
    if there.overflow || node.used != there.used {
        say(format!("uses {}, counted {}", node.used, there.used));
    }
    if node.lost && !node.is_idle() {
        say("is lost and has tasks".to_owned());
    }
    if !node.used.fits_in(&node.ceiling) || !node.capacity.fits_in(&node.ceiling) {
        say(format!("uses {} of {} with a ceiling of {}", node.used, node.capacity, node.ceiling));
    }
}

/// Canaries: every kind of damage is said.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::job::Job;
    use crate::node::Node;
    use paceline_types::{JobUid, Reason, Revision};
    use std::sync::Arc;

    fn played() -> (Cell, JobUid, NodeId) {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 4));
        bench.assign(job, 0, node, "0-1");
        bench.running(job, 1, node, "0");
        (bench.cell, job, node)
    }

    fn said(damage: impl FnOnce(&mut Cell)) -> String {
        let (mut cell, _, _) = played();
        damage(&mut cell);
        cell.check().join("; ")
    }

    fn job_said(damage: impl FnOnce(&mut Job)) -> String {
        let (_, job, _) = played();
        said(|cell| damage(Arc::make_mut(cell.jobs.get_mut(&job).expect("there"))))
    }

    fn node_said(damage: impl FnOnce(&mut Node)) -> String {
        let (_, _, node) = played();
        said(|cell| damage(Arc::make_mut(cell.nodes.get_mut(&node).expect("there"))))
    }

    #[test]
    fn a_sound_cell_has_nothing_to_say() {
        assert_eq!(said(|_| ()), "");
    }

    #[test]
    fn damage_to_a_job_is_said() {
        assert!(job_said(|job| job.counts[0] += 1).contains("counts differ"));
        assert!(job_said(|job| job.state = JobState::Killed).contains("state, open tasks and end disagree"));
        assert!(job_said(|job| job.state = JobState::Stopping).contains("stopping with tasks that are not"));
        let lost = job_said(|job| {
            let tasks = "0".parse().expect("valid");
            job.change(&tasks, |row| {
                Some(crate::job::Row { state: TaskState::Lost, reason: Reason::None, ..row })
            });
        });
        assert!(lost.contains("the index of its attempts differs"), "{lost}");
        assert!(lost.contains("uses cpu 200m"), "{lost}");
        let moved = job_said(|job| {
            let tasks = "0".parse().expect("valid");
            job.change(&tasks, |row| Some(crate::job::Row { node: 9, ..row }));
        });
        assert!(moved.contains("tasks are on node 9, which is not there"), "{moved}");
    }

    #[test]
    fn damage_to_a_node_is_said() {
        assert!(node_said(|node| node.used = Resources::ZERO).contains("counted"));
        assert!(node_said(|node| node.assigned = AssignedRuns::default()).contains("index of its attempts"));
        assert!(node_said(|node| node.ceiling = Resources::new(1, 1)).contains("with a ceiling of"));
        assert!(node_said(|node| node.lost = true).contains("is lost and has tasks"));
        assert!(node_said(|node| node.id = NodeId(7)).contains("is kept as 1"));
    }

    #[test]
    fn damage_to_indexes_and_sums_is_said() {
        assert!(said(|cell| cell.indexes.tasks += 1).contains("indexes differ"));
        assert!(said(|cell| cell.indexes.pending_jobs.clear()).contains("indexes differ"));
        assert!(said(|cell| cell.shard_list_version = Revision(99)).contains("lies in the future"));
        let (_, job, _) = played();
        let twice = said(|cell| {
            let mut other = (**cell.jobs.get(&job).expect("there")).clone();
            other.uid.ordinal += 1;
            cell.jobs.insert(other.uid, Arc::new(other));
        });
        assert!(twice.contains("are live under the name j"), "{twice}");
    }
}
