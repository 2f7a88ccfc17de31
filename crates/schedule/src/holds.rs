//! Tasks that must not be placed yet, because a lease for their last attempt may be out (`at_most_one`).
//!
//! Where the end of an attempt was seen, or its node was silent for longer than any lease lasts, nothing is held
//! (`Reason::leaves_lease_out`). Otherwise the task waits for [`LEASE_WAIT_MS`] on this leader's own monotonic clock, from
//! when this leader saw the entry that took the attempt from its node, or took office: every lease for the attempt was
//! asked for before that entry was committed, see `link`'s hub. What is held is soft: the next leader begins anew.

use std::collections::{BTreeMap, VecDeque};

use paceline_cell::{Cell, Event};
use paceline_types::{IndexSet, JobUid, LEASE_WAIT_MS, TaskState};

/// What is held, soonest free first. Bounded by the tasks that wait: one that is held is not assigned, and only what was
/// assigned is held again.
#[derive(Debug, Default)]
pub struct Holds {
    holds: VecDeque<Hold>,
}

#[derive(Debug)]
struct Hold {
    until_ms: u64,
    job: JobUid,
    tasks: IndexSet,
}

impl Holds {
    /// For a leader that takes office, or that missed what happened: every waiting task of which the view does not say
    /// that nothing of it runs.
    #[must_use]
    pub fn at_office(view: &Cell, now_ms: u64) -> Self {
        let mut holds = Self::default();
        for job in view.pending_jobs().filter(|job| job.spec.at_most_one) {
            let open = job.task_runs().filter(|(_, task)| {
                task.state == TaskState::Pending && task.attempt.0 > 0 && task.reason.leaves_lease_out()
            });
            holds.add(job.uid, open.map(|(range, _)| range).collect(), now_ms);
        }
        holds
    }

    /// Holds the tasks of which an event says that they wait while a lease is out; says whether there are any.
    pub fn note(&mut self, event: &Event, view: &Cell, now_ms: u64) -> bool {
        let Event::TasksRequeued { job, tasks, reason, .. } = event else { return false };
        let leased = reason.leaves_lease_out() && view.job(*job).is_some_and(|job| job.spec.at_most_one);
        leased && self.add(*job, tasks.clone(), now_ms)
    }

    fn add(&mut self, job: JobUid, tasks: IndexSet, now_ms: u64) -> bool {
        let any = !tasks.is_empty();
        if any {
            self.holds.push_back(Hold { until_ms: now_ms.saturating_add(LEASE_WAIT_MS), job, tasks });
        }
        any
    }

    /// When the next tasks are free.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.holds.front().map(|hold| hold.until_ms)
    }

    /// Frees what has waited long enough; says whether anything has.
    pub fn free(&mut self, now_ms: u64) -> bool {
        let before = self.holds.len();
        while self.holds.front().is_some_and(|hold| now_ms >= hold.until_ms) {
            self.holds.pop_front();
        }
        self.holds.len() < before
    }

    /// All that is held, for [`crate::Scheduler::hold_back`].
    #[must_use]
    pub fn tasks(&self) -> BTreeMap<JobUid, IndexSet> {
        let mut tasks: BTreeMap<JobUid, Vec<_>> = BTreeMap::new();
        for hold in &self.holds {
            tasks.entry(hold.job).or_default().extend_from_slice(hold.tasks.ranges());
        }
        tasks.into_iter().map(|(job, ranges)| (job, ranges.into_iter().collect())).collect()
    }
}
