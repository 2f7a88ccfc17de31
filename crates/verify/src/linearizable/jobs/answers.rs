//! What each call can have answered, and what the jobs are then.
//!
//! How many jobs have retired, and how many of those have left the history, is kept as low as answers allow: more may
//! have by the next call, so nothing is lost by it.

use paceline_types::{JobState, JobUid};

use super::{JobModel, Jobs, Output, Phases, Retirement, Selector};
use crate::history::Refused;

impl JobModel {
    pub(super) fn submit(&self, jobs: &Jobs, spec: u64, output: Option<&Output>) -> Vec<Jobs> {
        let newest = jobs.jobs.len().checked_sub(1);
        let narrowed = |phases: Phases| match newest {
            Some(at) => jobs.clone().narrowed(at, self.now(jobs, at).and(phases)),
            None => None,
        };
        // A name is free when there is no job, or the newest has ended.
        let free = || if newest.is_none() { Some(jobs.clone()) } else { narrowed(Phases::ENDED) };
        let same = newest.is_some_and(|at| jobs.jobs[at].spec == spec);
        let found = match output {
            None => free().and_then(|free| free.with_new(None, spec)),
            Some(Output::Submitted { uid, existing: false }) => {
                free().and_then(|free| free.with_new(Some(*uid), spec))
            }
            Some(Output::Submitted { uid, existing: true }) if same => {
                let active = narrowed(Phases::one(JobState::Active));
                active.and_then(|active| active.known_as(newest?, *uid))
            }
            Some(Output::Refused(Refused::NameInUse)) if same => narrowed(Phases::one(JobState::Stopping)),
            Some(Output::Refused(Refused::NameInUse)) => narrowed(Phases::LIVE),
            Some(_) => None,
        };
        found.into_iter().collect()
    }

    pub(super) fn stop(&self, jobs: &Jobs, which: Selector, output: Option<&Output>) -> Vec<Jobs> {
        match output {
            // A job that ends by itself may be anywhere a stop could have brought it.
            None if self.ends => Vec::new(),
            None => self.each(jobs, which, |jobs, at| {
                let stopped = self.now(&jobs, at).stopped();
                jobs.narrowed(at, Some(stopped))
            }),
            Some(Output::Stopping { uid, state }) => self.each(jobs, which, |jobs, at| {
                let stopped = self.now(&jobs, at).stopped().and(Phases::one(*state));
                jobs.known_as(at, *uid)?.narrowed(at, stopped)
            }),
            Some(Output::Refused(Refused::NotFound)) => self.missing(jobs, which),
            Some(_) => Vec::new(),
        }
    }

    pub(super) fn delete(&self, jobs: &Jobs, which: Selector, output: Option<&Output>) -> Vec<Jobs> {
        let deleted = |jobs: Jobs, at: usize| {
            let ended = self.now(&jobs, at).and(Phases::ENDED)?;
            // What has retired is not deleted.
            (at >= jobs.retired).then(|| jobs.narrowed(at, Some(ended)))?.map(|jobs| jobs.without(at))
        };
        match output {
            None => self.each(jobs, which, deleted),
            Some(Output::Deleted { uid }) => {
                self.each(jobs, which, |jobs, at| deleted(jobs.known_as(at, *uid)?, at))
            }
            Some(Output::Refused(Refused::NotFound)) => self.missing(jobs, which),
            Some(Output::Refused(Refused::Conflict)) => {
                let live = self.each(jobs, which, |jobs, at| {
                    let live = self.now(&jobs, at).and(Phases::LIVE);
                    jobs.narrowed(at, live)
                });
                let retired = self.each(jobs, which, |jobs, at| self.with_retired(jobs, at + 1));
                live.into_iter().chain(retired).collect()
            }
            Some(_) => Vec::new(),
        }
    }

    pub(super) fn get(&self, jobs: &Jobs, which: Selector, output: &Output) -> Vec<Jobs> {
        match output {
            Output::Seen { uid, state } => self.each(jobs, which, |jobs, at| {
                let seen = self.now(&jobs, at).and(Phases::one(*state));
                jobs.known_as(at, *uid)?.narrowed(at, seen)
            }),
            Output::Refused(Refused::NotFound) => self.missing(jobs, which),
            _ => Vec::new(),
        }
    }

    pub(super) fn list(&self, jobs: &Jobs, retired: bool, listed: &[(JobUid, JobState)]) -> Vec<Jobs> {
        let Some(left_out) = jobs.jobs.len().checked_sub(listed.len()) else { return Vec::new() };
        let view = match (retired, left_out) {
            (true, 0) => Some(jobs.clone()),
            (true, _) => self.with_forgotten(jobs, left_out),
            (false, _) if left_out < jobs.retired => None,
            (false, _) => self.with_retired(jobs.clone(), left_out),
        };
        let skipped = if retired { 0 } else { left_out };
        let shown = view.and_then(|view| {
            listed.iter().enumerate().try_fold(view, |view, (at, (uid, state))| {
                let at = at + skipped;
                let seen = self.now(&view, at).and(Phases::one(*state));
                view.known_as(at, *uid)?.narrowed(at, seen)
            })
        });
        shown.into_iter().collect()
    }

    /// Where a job may be by now.
    fn now(&self, jobs: &Jobs, at: usize) -> Phases {
        jobs.jobs[at].phases.later(self.ends)
    }

    fn each(&self, jobs: &Jobs, which: Selector, change: impl Fn(Jobs, usize) -> Option<Jobs>) -> Vec<Jobs> {
        jobs.selected(which).into_iter().filter_map(|(at, jobs)| change(jobs, at)).collect()
    }

    /// The first so many, at least, have retired.
    fn with_retired(&self, mut jobs: Jobs, count: usize) -> Option<Jobs> {
        if count > jobs.retired && self.retirement == Retirement::Never {
            return None;
        }
        for at in jobs.retired..count {
            let ended = self.now(&jobs, at).and(Phases::ENDED);
            jobs = jobs.narrowed(at, ended)?;
        }
        jobs.retired = jobs.retired.max(count);
        Some(jobs)
    }

    /// The first so many have left the history.
    fn with_forgotten(&self, jobs: &Jobs, count: usize) -> Option<Jobs> {
        if count > 0 && self.retirement != Retirement::Forget {
            return None;
        }
        let mut jobs = self.with_retired(jobs.clone(), count)?;
        jobs.jobs.drain(..count);
        jobs.retired -= count;
        Some(jobs)
    }

    /// Nothing that is selected is there.
    fn missing(&self, jobs: &Jobs, which: Selector) -> Vec<Jobs> {
        if jobs.lacks(which) {
            return vec![jobs.clone()];
        }
        let gone = match which {
            Selector::Newest => jobs.jobs.len(),
            Selector::Uid(uid) => {
                jobs.jobs.iter().position(|job| job.uid == Some(uid)).map_or(0, |at| at + 1)
            }
        };
        self.with_forgotten(jobs, gone).into_iter().collect()
    }
}
