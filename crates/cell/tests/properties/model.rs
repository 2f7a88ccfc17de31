//! The cell against a naive one: plain maps, one task at a time, no ranges, chunks or indexes.

use std::collections::BTreeMap;

use paceline_cell::{Cell, Command, CommandBody, JobSelector, Refusal, Reply, ReportedRun, ReportedState};
use paceline_rules::{JobSpec, Labels, NodeTerms, SIMULATED, feasible};
use paceline_types::{
    Attempt, IndexSet, JobState, JobUid, NodeEpoch, NodeId, Reason, Resources, TaskIndex, TaskState,
};
use proptest::prelude::*;

use crate::world;

#[derive(Clone, Debug, PartialEq)]
struct Task {
    state: TaskState,
    attempt: u32,
    node: u32,
    failures: u32,
}

#[derive(Debug)]
struct Job {
    spec: JobSpec,
    stopping: bool,
    tasks: Vec<Task>,
}

#[derive(Debug)]
struct Node {
    id: u32,
    epoch: u32,
    instance: u8,
    boot: u8,
    replaceable: bool,
    draining: bool,
    lost: bool,
    tainted: bool,
    simulates: bool,
    capacity: Resources,
}

#[derive(Debug, Default)]
struct Model {
    jobs: BTreeMap<JobUid, Job>,
    nodes: BTreeMap<String, Node>,
    last_node: u32,
}

impl Job {
    fn count(&self, of: impl Fn(TaskState) -> bool) -> usize {
        self.tasks.iter().filter(|task| of(task.state)).count()
    }

    fn state(&self) -> JobState {
        if self.count(|state| !state.is_terminal()) > 0 {
            return if self.stopping { JobState::Stopping } else { JobState::Active };
        }
        if self.count(|state| matches!(state, TaskState::Failed | TaskState::Lost)) > 0 {
            JobState::Failed
        } else if self.count(|state| state == TaskState::Killed) > 0 {
            JobState::Killed
        } else {
            JobState::Succeeded
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for task in &mut self.tasks {
            match task.state {
                TaskState::Pending => task.state = TaskState::Killed,
                TaskState::Assigned | TaskState::Running => task.state = TaskState::Stopping,
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        let failed = self.count(|state| state == TaskState::Failed);
        let too_many = self.spec.max_failed_tasks.is_some_and(|most| failed > most as usize);
        if self.state() == JobState::Active && too_many {
            self.stop();
        }
    }
}

impl Model {
    /// Does what an accepted command did; what was refused did nothing.
    fn follow(&mut self, body: &CommandBody, reply: &Reply) {
        if let Reply::Refused(_) = reply {
            return;
        }
        match (body, reply) {
            (CommandBody::SubmitJob { spec, .. }, Reply::JobSubmitted { uid, existing: false }) => {
                let task = Task { state: TaskState::Pending, attempt: 0, node: 0, failures: 0 };
                let tasks = vec![task; spec.tasks as usize];
                self.jobs.insert(*uid, Job { spec: (**spec).clone(), stopping: false, tasks });
            }
            (CommandBody::StopJob { job: JobSelector::Uid(uid) }, _) => {
                let job = self.jobs.get_mut(uid).expect("accepted");
                if job.state() == JobState::Active {
                    job.stop();
                }
            }
            (CommandBody::DeleteJob { .. }, Reply::JobDeleted { uid }) => drop(self.jobs.remove(uid)),
            (CommandBody::Retire { jobs }, _) => jobs.iter().for_each(|uid| drop(self.jobs.remove(uid))),
            (CommandBody::RegisterNode { name, instance, boot, capacity, capabilities, .. }, _) => {
                self.register(name.as_str(), instance.0[0], boot.0[0], *capacity);
                self.node(name.as_str()).simulates = capabilities.iter().any(|word| word == SIMULATED);
            }
            (CommandBody::DrainNode { node }, _) => self.node(node.as_str()).draining = true,
            (CommandBody::ResumeNode { node }, _) => {
                let node = self.node(node.as_str());
                (node.draining, node.replaceable) = (false, false);
            }
            (CommandBody::TaintNode { node, set, .. }, _) => {
                self.node(node.as_str()).tainted = !set.is_empty()
            }
            (CommandBody::RemoveNode { node }, _) => {
                let gone = self.nodes.remove(node.as_str()).expect("accepted");
                self.end_all_on(gone.id, TaskState::Lost);
            }
            (CommandBody::ReplaceNode { node }, _) => {
                let node = self.node(node.as_str());
                node.epoch += 1;
                node.replaceable = true;
                let id = node.id;
                self.end_all_on(id, TaskState::Lost);
            }
            (CommandBody::WriteOffNode { node, silent_ms, .. }, _) => self.write_off(*node, *silent_ms),
            (CommandBody::Assign { job, follows, node, tasks, .. }, _) => {
                let job = self.jobs.get_mut(job).expect("accepted");
                for index in tasks.iter() {
                    let task = &mut job.tasks[index.0 as usize];
                    *task =
                        Task { state: TaskState::Assigned, attempt: follows.0 + 1, node: node.0, ..*task };
                }
            }
            (CommandBody::Report { node, epoch, runs }, _) => self.report(*node, *epoch, runs),
            _ => {}
        }
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("accepted")
    }

    fn register(&mut self, name: &str, instance: u8, boot: u8, capacity: Resources) {
        let Some(node) = self.nodes.get_mut(name) else {
            self.last_node += 1;
            let id = self.last_node;
            let (replaceable, draining, lost, tainted, simulates) = (false, false, false, false, false);
            let node = Node {
                id,
                epoch: 1,
                instance,
                boot,
                replaceable,
                draining,
                lost,
                tainted,
                simulates,
                capacity,
            };
            self.nodes.insert(name.to_owned(), node);
            return;
        };
        assert!(node.replaceable || node.instance == instance, "another instance was accepted");
        let rebooted = !node.replaceable && node.boot != boot;
        node.epoch += u32::from(rebooted);
        let same = (node.instance, node.boot) == (instance, boot);
        node.replaceable &= same;
        node.lost = false;
        (node.instance, node.boot, node.capacity) = (instance, boot, capacity);
        let id = node.id;
        if rebooted {
            self.end_all_on(id, TaskState::Killed);
        }
    }

    /// The command named the node's epoch, or it would have been refused.
    fn write_off(&mut self, id: NodeId, silent_ms: u64) {
        let lease_ms = |job: &Job| if job.spec.at_most_one { 42_000 } else { 0 };
        let patience = |job: &Job| job.spec.replace_after_ms.unwrap_or(u64::MAX).max(lease_ms(job));
        self.end_on(id.0, TaskState::Lost, |job| patience(job) <= silent_ms);
        let is_there = |task: &Task| task.node == id.0 && task.state.is_on_node();
        let left = self.jobs.values().any(|job| job.tasks.iter().any(is_there));
        let node = self.nodes.values_mut().find(|node| node.id == id.0).expect("accepted");
        if !left && !node.lost {
            node.lost = true;
            node.epoch += 1;
        }
    }

    fn end_all_on(&mut self, node: u32, stopping: TaskState) {
        self.end_on(node, stopping, |_| true);
    }

    fn end_on(&mut self, node: u32, stopping: TaskState, of: impl Fn(&Job) -> bool) {
        for job in self.jobs.values_mut().filter(|job| of(job)) {
            for task in job.tasks.iter_mut().filter(|task| task.node == node && task.state.is_on_node()) {
                if task.state == TaskState::Stopping {
                    task.state = stopping;
                } else {
                    (task.state, task.node) = (TaskState::Pending, 0);
                }
            }
        }
    }

    fn report(&mut self, node: NodeId, epoch: NodeEpoch, runs: &[ReportedRun]) {
        if !self.nodes.values().any(|known| known.id == node.0 && known.epoch == epoch.0) {
            return;
        }
        for run in runs {
            let Some(job) = self.jobs.get_mut(&run.job) else { continue };
            let most = job.spec.max_attempts;
            for index in run.tasks.iter() {
                let Some(task) = job.tasks.get_mut(index.0 as usize) else { continue };
                if task.attempt == run.attempt.0 && task.node == node.0 && task.state.is_on_node() {
                    observe(task, run.observed, most);
                }
            }
        }
        runs.iter().for_each(|run| {
            if let Some(job) = self.jobs.get_mut(&run.job) {
                job.settle()
            }
        });
    }

    /// Whether the cell may accept this assignment.
    fn may_assign(
        &self,
        uid: JobUid,
        follows: Attempt,
        node: NodeId,
        epoch: NodeEpoch,
        tasks: &IndexSet,
    ) -> bool {
        let (Some(job), Some(node)) =
            (self.jobs.get(&uid), self.nodes.values().find(|known| known.id == node.0))
        else {
            return false;
        };
        let on_nodes = job.count(TaskState::is_on_node) as u64;
        let room = job.spec.max_running.is_none_or(|most| on_nodes + tasks.count() <= u64::from(most));
        let waiting = |index: TaskIndex| {
            let task = job.tasks.get(index.0 as usize);
            task.is_some_and(|task| task.state == TaskState::Pending && task.attempt == follows.0)
        };
        job.state() == JobState::Active
            && node.epoch == epoch.0
            && !tasks.is_empty()
            && tasks.iter().all(waiting)
            && room
            && self.fits_in_batch_order(job, node, tasks)
    }

    fn fits_in_batch_order(&self, job: &Job, node: &Node, tasks: &IndexSet) -> bool {
        let taint = paceline_rules::Taint { key: "gpu".to_owned(), value: String::new() };
        let taints = if node.tainted { vec![taint] } else { Vec::new() };
        let mut used = Resources::ZERO;
        for job in self.jobs.values() {
            for (index, task) in (0..).zip(&job.tasks) {
                if task.node == node.id && task.state.is_on_node() {
                    used = used.checked_add(&job.spec.resources(TaskIndex(index))).expect("small");
                }
            }
        }
        tasks.iter().all(|index| {
            let need = job.spec.resources(index);
            let free = node.capacity.saturating_sub(&used);
            let terms = NodeTerms {
                labels: &Labels::new(),
                taints: &taints,
                draining: node.draining || node.replaceable || node.lost,
                simulates: node.simulates,
                free,
            };
            used = used.checked_add(&need).expect("small");
            feasible(&job.spec, &need, &terms).is_ok()
        })
    }

    fn assert_equals(&self, cell: &Cell) {
        assert_eq!(
            cell.jobs().map(|job| job.uid).collect::<Vec<_>>(),
            self.jobs.keys().copied().collect::<Vec<_>>()
        );
        for job in cell.jobs() {
            let model = &self.jobs[&job.uid];
            assert_eq!(job.state, model.state(), "job {}", job.uid);
            for &state in TaskState::ALL {
                assert_eq!(job.count(state) as usize, model.count(|other| other == state), "{state}");
            }
            for (index, expected) in (0..).zip(&model.tasks) {
                let task = job.task(TaskIndex(index)).expect("there");
                let node = task.node.map_or(0, |node| node.0);
                let (state, attempt) = (task.state, task.attempt.0);
                let found = Task { state, attempt, node, failures: u32::from(task.failures) };
                assert_eq!(found, *expected, "task {index} of {}", job.uid);
            }
        }
        let nodes: BTreeMap<_, _> = cell.nodes().map(|node| (node.name.to_string(), node)).collect();
        assert_eq!(nodes.keys().collect::<Vec<_>>(), self.nodes.keys().collect::<Vec<_>>());
        for (name, node) in nodes {
            let expected = &self.nodes[&name];
            assert_eq!(
                (node.id.0, node.epoch.0, node.draining, node.lost),
                (expected.id, expected.epoch, expected.draining, expected.lost)
            );
        }
    }
}

fn observe(task: &mut Task, observed: ReportedState, most: u32) {
    let ReportedState::Ended { reason, .. } = observed else {
        if task.state == TaskState::Assigned {
            task.state = TaskState::Running;
        }
        return;
    };
    if reason == Reason::ExitedZero {
        task.state = TaskState::Succeeded;
    } else if task.state == TaskState::Stopping {
        task.state = TaskState::Killed;
    } else {
        task.failures += u32::from(reason.counts_as_failure());
        if reason.counts_as_failure() && task.failures >= most {
            task.state = TaskState::Failed;
        } else {
            (task.state, task.node) = (TaskState::Pending, 0);
        }
    }
}

/// Whether the reply to an assignment is what the model says.
fn assert_assign(model: &Model, body: &CommandBody, reply: &Reply) {
    if let CommandBody::Assign { job, follows, node, epoch, tasks } = body {
        let accepted = !matches!(reply, Reply::Refused(_));
        assert_eq!(accepted, model.may_assign(*job, *follows, *node, *epoch, tasks), "{body:?}: {reply:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_cell_does_what_the_naive_model_does(history in world::history(60)) {
        let mut cell = Cell::genesis("model");
        let mut model = Model::default();
        for asked in history {
            let mut entry = world::entry(&cell, &asked);
            // Recorded replies are the business of `restore` and of the table's own tests.
            entry.commands.iter_mut().for_each(|command| command.request = None);
            let applied = world::apply(&mut cell, &entry);
            for (Command { body, .. }, reply) in entry.commands.iter().zip(&applied.replies) {
                assert_assign(&model, body, reply);
                prop_assert!(!matches!(reply, Reply::Refused(Refusal::Undecodable)));
                model.follow(body, reply);
            }
            model.assert_equals(&cell);
        }
    }
}
