//! The states that a job may be in, as far as is known.

use std::fmt;

use paceline_types::JobState;

/// A set of job states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phases(u8);

impl Phases {
    /// Ended, in any way.
    pub const ENDED: Self = Self::of(&[JobState::Succeeded, JobState::Failed, JobState::Killed]);
    /// Not ended.
    pub const LIVE: Self = Self::of(&[JobState::Active, JobState::Stopping]);

    /// These states.
    #[must_use]
    pub const fn of(states: &[JobState]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < states.len() {
            bits |= 1 << states[at].code();
            at += 1;
        }
        Self(bits)
    }

    /// One state.
    #[must_use]
    pub const fn one(state: JobState) -> Self {
        Self::of(&[state])
    }

    /// Those in both; nothing where there are none.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        Some(Self(self.0 & other.0)).filter(|both| both.0 != 0)
    }

    const fn holds(self, state: JobState) -> bool {
        self.0 & (1 << state.code()) != 0
    }

    /// With what may have become of the job since, without any call.
    #[must_use]
    pub const fn later(self, ends: bool) -> Self {
        // A job that fails too often stops by itself, so whatever ends may have been stopping.
        let mut later = self.0;
        if ends && self.holds(JobState::Active) {
            later |= Self::ENDED.0 | Self::LIVE.0;
        }
        if self.holds(JobState::Stopping) {
            later |= Self::ENDED.0;
        }
        Self(later)
    }

    /// Right after a stop: what was active is stopping or has ended with it.
    #[must_use]
    pub const fn stopped(self) -> Self {
        let rest = self.0 & !Self::one(JobState::Active).0;
        if self.holds(JobState::Active) {
            Self(rest | Self::one(JobState::Stopping).0 | Self::ENDED.0)
        } else {
            Self(rest)
        }
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = JobState::ALL.iter().filter(|state| self.holds(**state));
        let words: Vec<_> = states.map(|state| state.as_str()).collect();
        f.write_str(&words.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_goes_forward_only() {
        let one = Phases::one;
        assert_eq!(one(JobState::Active).later(false), one(JobState::Active));
        assert_eq!(one(JobState::Active).later(true).to_string(), "active/stopping/succeeded/failed/killed");
        assert_eq!(one(JobState::Stopping).later(false).to_string(), "stopping/succeeded/failed/killed");
        assert_eq!(one(JobState::Failed).later(true), one(JobState::Failed));
        assert_eq!(one(JobState::Active).stopped().to_string(), "stopping/succeeded/failed/killed");
        assert_eq!(one(JobState::Killed).stopped(), one(JobState::Killed));
        assert_eq!(one(JobState::Active).and(Phases::ENDED), None);
    }
}
