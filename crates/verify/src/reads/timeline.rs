//! What is known of one job over the revisions: what reads showed, and what was committed.

use paceline_types::{JobState, Revision};

/// A sight that cannot be right beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) other: Revision,
    pub(super) state: JobState,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// First and last revision at which reads showed each state, by its code.
    seen: [Option<(Revision, Revision)>; JobState::ALL.len()],
    /// Committed states, rising by revision; a job has at most three.
    committed: Vec<(Revision, JobState)>,
    pub(super) deleted: Option<Revision>,
    pub(super) retired: Option<Revision>,
}

/// How far a job is: it goes forward only, and each end is the last.
const fn rank(state: JobState) -> u8 {
    match state {
        JobState::Active => 0,
        JobState::Stopping => 1,
        JobState::Succeeded | JobState::Failed | JobState::Killed => 2,
    }
}

impl Timeline {
    /// A read showed a state. Says with what it clashes; then nothing is noted.
    pub(super) fn saw(&mut self, revision: Revision, state: JobState) -> Option<Clash> {
        for other in JobState::ALL.iter().copied().filter(|other| *other != state) {
            let Some((first, last)) = self.seen[usize::from(other.code())] else { continue };
            let clash = match rank(other).cmp(&rank(state)) {
                std::cmp::Ordering::Less => (last >= revision).then_some(last),
                std::cmp::Ordering::Equal => Some(first),
                std::cmp::Ordering::Greater => (first <= revision).then_some(first),
            };
            if let Some(at) = clash {
                return Some(Clash { other: at, state: other });
            }
        }
        let seen = &mut self.seen[usize::from(state.code())];
        let (first, last) = seen.unwrap_or((revision, revision));
        *seen = Some((first.min(revision), last.max(revision)));
        None
    }

    /// A committed state.
    pub(super) fn became(&mut self, revision: Revision, state: JobState) {
        // An entry may stop and end a job: the last word counts. Replicas repeat each other.
        match self.committed.last_mut() {
            Some(last) if last.0 == revision => last.1 = state,
            Some(last) if last.0 > revision => {}
            _ => self.committed.push((revision, state)),
        }
    }

    pub(super) fn committed_at(&self, revision: Revision) -> Option<JobState> {
        self.committed.iter().rev().find(|(at, _)| *at <= revision).map(|(_, state)| *state)
    }

    /// Whether a view of this revision has the job, in the cell or, where those count, in the history.
    pub(super) fn is_there(&self, revision: Revision, with_retired: bool) -> bool {
        let by_then = |at: Option<Revision>| at.is_some_and(|at| at <= revision);
        self.committed_at(revision).is_some()
            && !by_then(self.deleted)
            && (with_retired || !by_then(self.retired))
    }
}
