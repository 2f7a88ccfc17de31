//! Every task runs as often as it must and no more (A-7, A-8): attempts overlap nowhere where that is promised, none
//! is started twice or without an assignment, none that is wanted is killed, stale ones go, and a task ends once, in
//! attempt 1 unless something happened to it.
//!
//! ```text
//! committed(id, job, fact) … known_to      what the cell decided, from any replica, in order
//! started / ended(node, attempt, at)       what really ran, from the runtimes' journals
//! obeyed(node, token)                      whose orders an agent carried out
//! may_fail(job), disturbed, calmed(node)   what the harness did, and so excuses, and the end of it
//! ```
//!
//! Feed facts first, then journals, then [`Attempts::check`], after every tick or at the end: it takes for granted that
//! both are complete up to then. After healing, [`Attempts::check_gone`] says which stale attempts still live.
//!
//! Cost: O(log n) for each task that an observation names; a check looks only at tasks with news. Memory: an entry per
//! task and one per attempt until [`Attempts::forget`]; nothing else grows.

mod task;
#[cfg(test)]
mod tests;
mod violation;

pub use violation::Violation;

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{
    Attempt, AttemptId, EventId, FenceToken, IndexSet, JobUid, NodeName, Reason, Revision, TaskIndex,
    TaskState,
};

use task::{Decided, Life, Task};

/// What the cell decided about tasks of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The job gets no more work.
    JobStopping,
    /// Tasks were bound to a node.
    Assigned {
        /// The new attempt.
        attempt: Attempt,
        /// The node.
        node: NodeName,
        /// The tasks.
        tasks: IndexSet,
    },
    /// Their node is told to stop them.
    Stopping {
        /// The attempt.
        attempt: Attempt,
        /// The tasks.
        tasks: IndexSet,
    },
    /// The attempt is over, and they wait for the next one.
    Requeued {
        /// The attempt that is over.
        attempt: Attempt,
        /// Where it was.
        node: NodeName,
        /// The tasks.
        tasks: IndexSet,
        /// Why.
        reason: Reason,
    },
    /// They will never run again.
    Ended {
        /// The last attempt; zero where there was none.
        attempt: Attempt,
        /// Where it was.
        node: Option<NodeName>,
        /// The tasks.
        tasks: IndexSet,
        /// Their last state.
        state: TaskState,
        /// Why.
        reason: Reason,
    },
    /// The job left the cell: nothing of it is wanted any more.
    JobGone,
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By itself: it exited, failed, or ran into a limit of its own.
    Itself,
    /// Its agent carried out an order.
    Order(FenceToken),
    /// Its supervisor fenced it: the lease ran out.
    Lease,
    /// The machine, the supervisor or a fault of the harness took it.
    Fault,
}

/// What is known of one job besides its tasks.
#[derive(Clone, Debug, Default)]
struct Job {
    at_most_one: bool,
    may_fail: bool,
    stopping: bool,
    gone: Option<Revision>,
    tasks: BTreeMap<TaskIndex, Task>,
}

/// All attempts of a run.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    jobs: BTreeMap<JobUid, Job>,
    highest: BTreeMap<NodeName, FenceToken>,
    /// Nodes that something was done to; with the last revision at which that was so, where it is over.
    disturbed: BTreeMap<NodeName, Option<Revision>>,
    known: Option<EventId>,
    /// Facts are complete up to here.
    facts_to: Revision,
    /// Tasks with news since the last check.
    news: BTreeSet<(JobUid, TaskIndex)>,
}

impl Attempts {
    /// The job's specification says `at_most_one`.
    pub fn at_most_one(&mut self, job: JobUid) {
        self.jobs.entry(job).or_default().at_most_one = true;
    }

    /// Tasks of the job may fail by themselves.
    pub fn may_fail(&mut self, job: JobUid) {
        self.jobs.entry(job).or_default().may_fail = true;
    }

    /// The harness did something to the node, its agent or its supervisors, cut it off, drained or removed it: attempts
    /// there may be lost from now on.
    pub fn disturbed(&mut self, node: &NodeName) {
        self.disturbed.insert(node.clone(), None);
    }

    /// What was done to the node is over, and the cell knows it: attempts that are bound to it after this revision have
    /// no excuse. Those of before may still be found lost later.
    pub fn calmed(&mut self, node: &NodeName, at: Revision) {
        if let Some(calm) = self.disturbed.get_mut(node) {
            calm.get_or_insert(at);
        }
    }

    /// An agent carried out an order.
    ///
    /// # Errors
    /// [`Violation::StaleOrder`].
    pub fn obeyed(&mut self, node: &NodeName, token: FenceToken) -> Result<(), Violation> {
        let highest = self.highest.entry(node.clone()).or_default();
        // Within a term orders may overtake each other; each of them is judged by its own revision.
        if (token.generation, token.term) < (highest.generation, highest.term) {
            return Err(Violation::StaleOrder { node: node.clone(), token, highest: *highest });
        }
        *highest = (*highest).max(token);
        Ok(())
    }

    /// A process began to run.
    pub fn started(&mut self, node: &NodeName, attempt: AttemptId, at: u64) {
        let life = Life { node: node.clone(), attempt: attempt.attempt, start: at, end: None };
        self.task(attempt.job, attempt.task).lives.push(life);
        self.news.insert((attempt.job, attempt.task));
    }

    /// A process is gone, of which was said that it started.
    pub fn ended(&mut self, node: &NodeName, attempt: AttemptId, at: u64, cause: Cause) {
        let task = self.task(attempt.job, attempt.task);
        let mine =
            |life: &&mut Life| life.end.is_none() && life.node == *node && life.attempt == attempt.attempt;
        if let Some(life) = task.lives.iter_mut().rev().find(mine) {
            life.end = Some((at, cause));
        }
        self.news.insert((attempt.job, attempt.task));
    }

    /// What an entry decided. What is known from another replica is passed over.
    pub fn committed(&mut self, id: EventId, job: JobUid, fact: &Fact) -> Vec<Violation> {
        if self.known.is_some_and(|known| id <= known) {
            return Vec::new();
        }
        self.known = Some(id);
        let revision = id.revision;
        let known = self.jobs.entry(job).or_default();
        match fact {
            Fact::JobStopping => known.stopping = true,
            Fact::JobGone => {
                known.gone = Some(revision);
                let running = known.tasks.iter().filter(|(_, task)| task.lives());
                self.news.extend(running.map(|(index, _)| (job, *index)));
            }
            Fact::Assigned { attempt, node, tasks } => {
                return self.decide(job, tasks, |id, task| task.assigned(id, *attempt, node, revision));
            }
            Fact::Stopping { attempt, tasks } => {
                return self.decide(job, tasks, |_, task| {
                    task.unwanted(*attempt, revision, Decided::Stopping);
                    None
                });
            }
            Fact::Requeued { attempt, node, tasks, reason } => {
                let cause = self.without_cause(job, *reason);
                let excuse = self.disturbed.get(node).copied();
                return self.decide(job, tasks, |id, task| {
                    let excused = is_excused(*reason, excuse, task.assigned_at(*attempt));
                    task.unwanted(*attempt, revision, Decided::Over);
                    let attempt = AttemptId { attempt: *attempt, ..id };
                    cause.filter(|_| !excused).map(|expected| Violation::WithoutCause {
                        attempt,
                        revision,
                        reason: *reason,
                        expected,
                    })
                });
            }
            Fact::Ended { attempt, node, tasks, state, reason } => {
                let cause = self.ended_without_cause(job, *state, *reason);
                let is_loss = matches!(state, TaskState::Failed | TaskState::Lost);
                let excuse =
                    node.as_ref().filter(|_| is_loss).and_then(|node| self.disturbed.get(node).copied());
                return self.decide(job, tasks, |id, task| {
                    let excused = is_excused(*reason, excuse, task.assigned_at(*attempt));
                    let attempt = AttemptId { attempt: *attempt, ..id };
                    let twice = task.over(attempt, revision);
                    let without = cause.filter(|_| !excused).map(|expected| Violation::WithoutCause {
                        attempt,
                        revision,
                        reason: *reason,
                        expected,
                    });
                    twice.or(without)
                });
            }
        }
        Vec::new()
    }

    /// All facts up to this revision have been said.
    pub fn known_to(&mut self, revision: Revision) {
        self.facts_to = self.facts_to.max(revision);
    }

    /// What the news since the last check break. Facts are fed as far as there are any, and journals are complete up to `now`. A kill by
    /// an order of a later view than [`Attempts::known_to`] is judged when that has caught up.
    pub fn check(&mut self, now: u64) -> Vec<Violation> {
        let facts_to = self.facts_to;
        let mut found = Vec::new();
        for (uid, index) in std::mem::take(&mut self.news) {
            let Some(job) = self.jobs.get_mut(&uid) else { continue };
            let (promised, gone) = (job.at_most_one, job.gone);
            let Some(task) = job.tasks.get_mut(&index) else { continue };
            let id = AttemptId { job: uid, task: index, attempt: Attempt(0) };
            found.extend(task.twice(id));
            found.extend(task.unassigned(id));
            found.extend(task.killed(id, gone, facts_to));
            if promised {
                found.extend(task.overlap(id, now));
            }
            // An order ahead of the facts is judged when they have caught up.
            if task.ahead(facts_to) {
                self.news.insert((uid, index));
            }
        }
        found
    }

    /// Attempts that the cell is done with and that still run: there may be none a while after healing.
    #[must_use]
    pub fn check_gone(&self, now: u64) -> Vec<Violation> {
        let mut found = Vec::new();
        for (uid, job) in &self.jobs {
            for (index, task) in &job.tasks {
                let id = AttemptId { job: *uid, task: *index, attempt: Attempt(0) };
                found.extend(task.stale(id, job.gone, now));
            }
        }
        found
    }

    /// How many processes run at present.
    #[must_use]
    pub fn running(&self) -> usize {
        let tasks = self.jobs.values().flat_map(|job| job.tasks.values());
        tasks.flat_map(|task| &task.lives).filter(|life| life.end.is_none()).count()
    }

    /// Drops a job that is gone and of which nothing runs; whether it was.
    pub fn forget(&mut self, job: JobUid) -> bool {
        let done = self
            .jobs
            .get(&job)
            .is_some_and(|known| known.gone.is_some() && known.tasks.values().all(|task| !task.lives()));
        if done {
            self.jobs.remove(&job);
        }
        done
    }

    fn task(&mut self, job: JobUid, task: TaskIndex) -> &mut Task {
        self.jobs.entry(job).or_default().tasks.entry(task).or_default()
    }

    fn decide(
        &mut self,
        job: JobUid,
        tasks: &IndexSet,
        mut change: impl FnMut(AttemptId, &mut Task) -> Option<Violation>,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        for index in tasks.iter() {
            let id = AttemptId { job, task: index, attempt: Attempt(0) };
            found.extend(change(id, self.task(job, index)));
            self.news.insert((job, index));
        }
        found
    }

    /// What the harness knows against an end for this reason, where its node has no excuse; nothing where it is explained.
    fn without_cause(&self, job: JobUid, reason: Reason) -> Option<&'static str> {
        if reason.counts_as_failure() {
            let may_fail = self.jobs.get(&job).is_some_and(|job| job.may_fail);
            return (!may_fail).then_some("no task of the job can fail");
        }
        Some("nothing was done to its node")
    }

    fn ended_without_cause(&self, job: JobUid, state: TaskState, reason: Reason) -> Option<&'static str> {
        let stopping = self.jobs.get(&job).is_some_and(|job| job.stopping);
        match state {
            TaskState::Succeeded => None,
            TaskState::Failed | TaskState::Lost => self.without_cause(job, reason),
            TaskState::Killed => (!stopping).then_some("its job is not being stopped"),
            TaskState::Pending | TaskState::Assigned | TaskState::Running | TaskState::Stopping => {
                Some("that is no end")
            }
        }
    }
}

/// Whether what was done to its node explains the loss of an attempt. A failure of its own it does not explain.
fn is_excused(reason: Reason, excuse: Option<Option<Revision>>, assigned: Option<Revision>) -> bool {
    let covers = |calm: Option<Revision>| calm.is_none_or(|calm| assigned.is_some_and(|at| at <= calm));
    !reason.counts_as_failure() && excuse.is_some_and(covers)
}
