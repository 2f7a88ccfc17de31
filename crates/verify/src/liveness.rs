//! After healing, every task that is due ends by itself, and every call is answered, within a bound.
//!
//! A simulation goes through two phases: faults as it likes, then none. [`Liveness::healed`] begins the second one;
//! a fault afterwards ends it. Cost: O(log jobs) per observation and a bit per task; a check walks what is open.
//! Memory: a bit per task of jobs that have not ended, an entry per open call.

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{IndexRange, IndexSet, JobUid, TaskIndex};

use crate::history::CallId;

/// Open tasks that a violation names.
const TASKS_SHOWN_MAX: usize = 10;

/// Something that should have come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Tasks that are due and did not end.
    #[error(
        "job {job}: {open} of {tasks} tasks have not ended {since} after healing, {bound} were allowed; the first: {first}"
    )]
    TasksOpen {
        /// The job.
        job: JobUid,
        /// How many.
        open: u64,
        /// Of how many.
        tasks: u32,
        /// The first of them.
        first: IndexSet,
        /// Since healing.
        since: u64,
        /// What was allowed.
        bound: u64,
    },
    /// A call without an outcome.
    #[error("call {call}, made at {invoked}, has no outcome {since} after healing, {bound} were allowed")]
    CallOpen {
        /// Which.
        call: CallId,
        /// When it was made.
        invoked: u64,
        /// Since healing, or since it was made where that was later.
        since: u64,
        /// What was allowed.
        bound: u64,
    },
    /// A task that ended, of a job that nobody submitted.
    #[error("job {job} has ends of tasks, but nobody said that it is there or that it has so many")]
    UnknownTasks {
        /// The job.
        job: JobUid,
    },
}

#[derive(Clone, Debug)]
struct Job {
    tasks: u32,
    /// A bit per task.
    ended: Vec<u64>,
    open: u64,
}

/// What is due, and what has come to its end.
#[derive(Clone, Debug)]
pub struct Liveness {
    bound: u64,
    jobs: BTreeMap<JobUid, Job>,
    calls: BTreeMap<CallId, u64>,
    healed: Option<u64>,
    named: BTreeSet<JobUid>,
    named_calls: BTreeSet<CallId>,
}

impl Liveness {
    /// With what is allowed from healing to the end, in the unit of the instants. It must cover the longest task.
    #[must_use]
    pub const fn within(bound: u64) -> Self {
        Self {
            bound,
            jobs: BTreeMap::new(),
            calls: BTreeMap::new(),
            healed: None,
            named: BTreeSet::new(),
            named_calls: BTreeSet::new(),
        }
    }

    /// A job is committed whose tasks all end by themselves, or that is being stopped. Jobs that run until somebody
    /// stops them are not mentioned before that.
    pub fn due(&mut self, job: JobUid, tasks: u32) {
        let words = (tasks as usize).div_ceil(64);
        let all = Job { tasks, ended: vec![0; words], open: u64::from(tasks) };
        self.jobs.entry(job).or_insert(all);
    }

    /// Tasks ended for good, as committed.
    ///
    /// # Errors
    /// [`Violation::UnknownTasks`] where the job is not there or has fewer tasks.
    pub fn ended(&mut self, job: JobUid, tasks: &IndexSet) -> Result<(), Violation> {
        let known =
            self.jobs.get_mut(&job).filter(|known| tasks.last().is_none_or(|last| last < known.tasks));
        let Some(known) = known else { return Err(Violation::UnknownTasks { job }) };
        if known.open == 0 {
            return Ok(());
        }
        for TaskIndex(task) in tasks.iter() {
            let (word, bit) = (task as usize / 64, 1 << (task % 64));
            known.open -= u64::from(known.ended[word] & bit == 0);
            known.ended[word] |= bit;
        }
        if known.open == 0 {
            known.ended = Vec::new();
        }
        Ok(())
    }

    /// The job is gone from the cell, so nothing of it is due any more.
    pub fn gone(&mut self, job: JobUid) {
        self.jobs.remove(&job);
    }

    /// A call was made.
    pub fn invoked(&mut self, call: CallId, at: u64) {
        self.calls.insert(call, at);
    }

    /// A call has an outcome, be it that its caller gave up.
    pub fn returned(&mut self, call: CallId) {
        self.calls.remove(&call);
    }

    /// From now on nothing is broken.
    pub fn healed(&mut self, at: u64) {
        self.healed = Some(at);
    }

    /// Something is broken again.
    pub fn broken(&mut self) {
        self.healed = None;
    }

    /// Whether everything that is due has ended and every call has an outcome.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.calls.is_empty() && self.jobs.values().all(|job| job.open == 0)
    }

    /// What should have come to its end by now. Each is named once.
    pub fn check(&mut self, now: u64) -> Vec<Violation> {
        let Some(healed) = self.healed else { return Vec::new() };
        let (since, bound) = (now.saturating_sub(healed), self.bound);
        if since <= bound {
            return Vec::new();
        }
        let mut violations = Vec::new();
        for (job, Job { tasks, ended, open }) in self.jobs.iter().filter(|(_, job)| job.open > 0) {
            if self.named.insert(*job) {
                let (job, tasks, open) = (*job, *tasks, *open);
                violations.push(Violation::TasksOpen {
                    job,
                    open,
                    tasks,
                    first: first_open(tasks, ended),
                    since,
                    bound,
                });
            }
        }
        for (call, invoked) in &self.calls {
            let since = now.saturating_sub(healed.max(*invoked));
            if since > bound && self.named_calls.insert(*call) {
                violations.push(Violation::CallOpen { call: *call, invoked: *invoked, since, bound });
            }
        }
        violations
    }
}

fn first_open(tasks: u32, ended: &[u64]) -> IndexSet {
    let is_open = |task: &u32| ended[*task as usize / 64] & (1 << (task % 64)) == 0;
    let open = (0..tasks).filter(is_open).take(TASKS_SHOWN_MAX);
    open.map(|task| IndexRange::one(TaskIndex(task))).collect()
}

#[cfg(test)]
mod tests {
    use paceline_types::Revision;

    use super::*;

    fn job(revision: u64) -> JobUid {
        JobUid { revision: Revision(revision), ordinal: 0 }
    }

    fn set(text: &str) -> IndexSet {
        text.parse().expect("valid")
    }

    #[test]
    fn what_ends_in_time_is_accepted() {
        let mut liveness = Liveness::within(100);
        liveness.due(job(1), 70);
        liveness.invoked(CallId(1), 5);
        assert!(liveness.check(10_000).is_empty(), "nothing is due while something is broken");
        liveness.healed(10_000);
        assert_eq!(liveness.ended(job(1), &set("0-68")), Ok(()));
        assert!(liveness.check(10_100).is_empty() && !liveness.is_settled());
        assert_eq!(liveness.ended(job(1), &set("60-69")), Ok(()), "told twice is no harm");
        assert_eq!(liveness.ended(job(1), &set("69")), Ok(()), "and so it is after the last");
        liveness.returned(CallId(1));
        assert!(liveness.check(20_000).is_empty() && liveness.is_settled());
    }

    #[test]
    fn a_task_that_never_ends_is_caught_once_and_named() {
        let mut liveness = Liveness::within(100);
        liveness.due(job(1), 70);
        assert_eq!(liveness.ended(job(1), &set("0-62,64-68")), Ok(()));
        liveness.healed(10);
        let found = liveness.check(111);
        let text =
            "job 1-0: 2 of 70 tasks have not ended 101 after healing, 100 were allowed; the first: 63,69";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        assert!(liveness.check(112).is_empty());
    }

    #[test]
    fn a_call_that_is_never_answered_is_caught() {
        let mut liveness = Liveness::within(100);
        liveness.healed(10);
        liveness.invoked(CallId(7), 50);
        assert!(liveness.check(150).is_empty());
        let late = Violation::CallOpen { call: CallId(7), invoked: 50, since: 101, bound: 100 };
        assert_eq!(liveness.check(151), [late]);
    }

    #[test]
    fn a_fault_after_healing_begins_anew_and_ends_of_nothing_are_caught() {
        let mut liveness = Liveness::within(100);
        liveness.due(job(1), 1);
        liveness.healed(10);
        liveness.broken();
        assert!(liveness.check(500).is_empty());
        liveness.healed(500);
        assert!(liveness.check(600).is_empty());
        assert_eq!(liveness.check(601).len(), 1);
        assert_eq!(liveness.ended(job(1), &set("1")), Err(Violation::UnknownTasks { job: job(1) }));
        assert_eq!(liveness.ended(job(2), &set("0")), Err(Violation::UnknownTasks { job: job(2) }));
    }
}
