//! The jobs of one name, oldest first, and how a selector finds one.

use std::fmt;

use paceline_types::{JobState, JobUid};

use super::{Phases, Selector};

/// A job of the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneJob {
    /// Nothing while no answer has shown it.
    pub uid: Option<JobUid>,
    /// Its specification.
    pub spec: u64,
    /// Where it may have been when a call last had to do with it.
    pub phases: Phases,
}

/// All jobs of the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jobs {
    pub(super) jobs: Vec<OneJob>,
    /// How many of them, from the oldest on, have retired at least.
    pub(super) retired: usize,
    /// The highest uid seen so far: what comes is above it.
    pub(super) highest: Option<JobUid>,
}

impl Jobs {
    /// Those that the selector may mean, each with the state in which its uid is known; the newest first.
    pub(super) fn selected(&self, which: Selector) -> Vec<(usize, Self)> {
        match which {
            Selector::Newest => {
                self.jobs.len().checked_sub(1).map(|at| (at, self.clone())).into_iter().collect()
            }
            Selector::Uid(uid) => {
                (0..self.jobs.len()).rev().filter_map(|at| Some((at, self.known_as(at, uid)?))).collect()
            }
        }
    }

    /// With a job known by this uid; nothing where it cannot have it.
    pub(super) fn known_as(&self, at: usize, uid: JobUid) -> Option<Self> {
        match self.jobs.get(at)?.uid {
            Some(known) => (known == uid).then(|| self.clone()),
            None => {
                // Uids rise with age, and each is given once.
                let below = self.jobs[..at].iter().rev().find_map(|job| job.uid);
                let above = self.jobs[at + 1..].iter().find_map(|job| job.uid);
                let taken = above.is_none() && self.highest.is_some_and(|highest| highest >= uid);
                if below.is_some_and(|below| below >= uid) || above.is_some_and(|above| above <= uid) || taken
                {
                    return None;
                }
                let mut known = self.clone();
                known.jobs[at].uid = Some(uid);
                known.highest = known.highest.max(Some(uid));
                Some(known)
            }
        }
    }

    /// Whether no job is surely this one.
    pub(super) fn lacks(&self, which: Selector) -> bool {
        match which {
            Selector::Newest => self.jobs.is_empty(),
            Selector::Uid(uid) => self.jobs.iter().all(|job| job.uid != Some(uid)),
        }
    }

    /// With a new job.
    pub(super) fn with_new(mut self, uid: Option<JobUid>, spec: u64) -> Option<Self> {
        if let (Some(uid), Some(highest)) = (uid, self.highest)
            && uid <= highest
        {
            return None;
        }
        self.highest = self.highest.max(uid);
        self.jobs.push(OneJob { uid, spec, phases: Phases::one(JobState::Active) });
        Some(self)
    }

    /// With a job that may only be in one of these states.
    pub(super) fn narrowed(mut self, at: usize, phases: Option<Phases>) -> Option<Self> {
        self.jobs[at].phases = phases?;
        Some(self)
    }

    /// Without a job.
    pub(super) fn without(mut self, at: usize) -> Self {
        self.jobs.remove(at);
        self.retired = self.retired.min(self.jobs.len());
        self
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            return f.write_str("no job");
        }
        for (at, OneJob { uid, spec, phases }) in self.jobs.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let uid = uid.map_or_else(|| "job of unknown uid".to_owned(), |uid| uid.to_string());
            let retired = if at < self.retired { " (retired)" } else { "" };
            write!(f, "{comma}{uid} spec {spec:x} {phases}{retired}")?;
        }
        Ok(())
    }
}
