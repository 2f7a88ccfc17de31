//! Reads show what was true: at their revision, and no earlier than they must.
//!
//! Every answer carries the revision of the view it came from, and that makes most of linearizability cheap to check,
//! without any search. Three promises:
//! - **recency**: a linearizable read, or a mutation, is at least at the revision of everything that was answered
//!   before it began, to anybody; a stale read at least at its `min_revision`;
//! - **sessions**: where the harness asks for it (one client that reads from one master, or passes on what it saw),
//!   revisions never go back;
//! - **consistency**: one revision has one state: two reads at one revision agree, states of a job go forward with
//!   the revision, and both agree with the committed facts where those are fed ([`Reads::fact`], [`Reads::known_to`]).
//!
//! Feed calls as they begin and return, in the order of time. Cost: O(log n) per read of a job, per listed job the
//! same. Memory: what was seen of each job at the revisions where it changed, and of each call under way; reads that
//! wait for facts, at most [`WAITING_MAX`].

#[cfg(test)]
mod tests;
mod timeline;
mod violation;

pub use violation::Violation;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use paceline_types::{JobState, JobUid, Revision};

use crate::history::{Action, Answer, Call, CallId, ClientNumber, Outcome, SeenJob, Target};
use timeline::{Clash, Timeline};

/// Reads that wait until the facts of their revision are known. At the bound the oldest goes unjudged, which is
/// [`Violation::Unjudged`]: feed facts more often.
pub const WAITING_MAX: usize = 65_536;

/// What was committed about a job, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is there.
    Submitted {
        /// Its name.
        name: String,
    },
    /// It is in this state now.
    Became(JobState),
    /// It is gone.
    Deleted,
    /// It left the cell for the history.
    Retired,
}

/// A sight that waits for the facts of its revision.
#[derive(Clone, Debug)]
struct Sight {
    call: CallId,
    revision: Revision,
    shown: Shown,
}

#[derive(Clone, Debug)]
enum Shown {
    One(SeenJob),
    All { prefix: String, retired: bool, jobs: Vec<SeenJob> },
}

/// All reads of a run.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    answered: Revision,
    /// What had been answered, to anybody and in the session, when each call under way began.
    floors: BTreeMap<CallId, (Revision, Revision)>,
    sessions: BTreeMap<ClientNumber, Revision>,
    jobs: BTreeMap<JobUid, Timeline>,
    /// By name, of those whose submission is a known fact.
    names: BTreeMap<String, BTreeSet<JobUid>>,
    known: Revision,
    waiting: VecDeque<Sight>,
}

impl Reads {
    /// This client's answers never go back: from now on it is a session.
    pub fn session(&mut self, client: ClientNumber) {
        self.sessions.entry(client).or_default();
    }

    /// A call begins.
    pub fn invoked(&mut self, call: &Call) {
        let session = self.sessions.get(&call.client).copied().unwrap_or_default();
        self.floors.insert(call.id, (self.answered, session));
    }

    /// A call has its outcome.
    pub fn returned(&mut self, call: &Call) -> Vec<Violation> {
        let (floor, session) = self.floors.remove(&call.id).unwrap_or_default();
        // A refusal carries no revision: that a job is not there is for the search.
        let Outcome::Answered { revision, answer } = &call.outcome else { return Vec::new() };
        let mut found = Vec::new();
        found.extend(recency(call, *revision, floor));
        if *revision < session {
            let (client, seen) = (call.client, session);
            found.push(Violation::SessionWentBack { call: call.id, client, revision: *revision, seen });
        }
        if let Some(seen) = self.sessions.get_mut(&call.client) {
            *seen = (*seen).max(*revision);
        }
        self.answered = self.answered.max(*revision);
        found.extend(self.shown(call, *revision, answer));
        found
    }

    /// A committed fact, from any replica, in the order of revisions; what is known already is passed over.
    pub fn fact(&mut self, revision: Revision, uid: JobUid, fact: &Fact) {
        if revision <= self.known {
            return;
        }
        let timeline = self.jobs.entry(uid).or_default();
        match fact {
            Fact::Submitted { name } => {
                self.names.entry(name.clone()).or_default().insert(uid);
                timeline.became(revision, JobState::Active);
            }
            Fact::Became(state) => timeline.became(revision, *state),
            Fact::Deleted => timeline.deleted = Some(revision),
            Fact::Retired => timeline.retired = Some(revision),
        }
    }

    /// All facts up to this revision have been said.
    pub fn known_to(&mut self, revision: Revision) -> Vec<Violation> {
        self.known = self.known.max(revision);
        let (now, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|sight| sight.revision <= self.known);
        self.waiting = later;
        now.iter().flat_map(|sight| self.judge(sight)).collect()
    }

    /// How many reads wait for facts. Without any facts all do, and only what reads say of each other is judged.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn shown(&mut self, call: &Call, revision: Revision, answer: &Answer) -> Vec<Violation> {
        let mut found = Vec::new();
        let shown = match (&call.action, answer) {
            (Action::Get { job, .. }, Answer::Seen(seen)) => {
                found.extend(another(call, job, seen));
                found.extend(self.compare(call.id, revision, seen));
                Shown::One(seen.clone())
            }
            (Action::List { prefix, retired, .. }, Answer::Listed(jobs)) => {
                found.extend(jobs.iter().filter_map(|seen| self.compare(call.id, revision, seen)));
                Shown::All { prefix: prefix.clone(), retired: *retired, jobs: jobs.clone() }
            }
            // The answer to a retry is that of the first try, and its revision that of the retry.
            _ => return found,
        };
        let sight = Sight { call: call.id, revision, shown };
        if revision <= self.known {
            found.extend(self.judge(&sight));
            return found;
        }
        self.waiting.push_back(sight);
        if self.waiting.len() > WAITING_MAX
            && let Some(Sight { call, revision, .. }) = self.waiting.pop_front()
        {
            found.push(Violation::Unjudged { call, revision });
        }
        found
    }

    /// Holds a sight against the others of the same job.
    fn compare(&mut self, call: CallId, revision: Revision, seen: &SeenJob) -> Option<Violation> {
        let SeenJob { uid, state, .. } = seen;
        if uid.revision > revision {
            return Some(Violation::BeforeSubmission { uid: *uid, revision, call });
        }
        let Clash { other, state: other_state } = self.jobs.entry(*uid).or_default().saw(revision, *state)?;
        Some(Violation::Contradiction { uid: *uid, state: *state, revision, call, other_state, other })
    }

    /// Holds a sight against the facts, which are known up to its revision.
    fn judge(&self, sight: &Sight) -> Vec<Violation> {
        let Sight { call, revision, shown } = sight;
        match shown {
            Shown::One(seen) => self.one(*call, *revision, seen).into_iter().collect(),
            Shown::All { prefix, retired, jobs } => {
                let mut found: Vec<_> =
                    jobs.iter().filter_map(|seen| self.one(*call, *revision, seen)).collect();
                let there: BTreeSet<JobUid> = jobs.iter().map(|seen| seen.uid).collect();
                let under =
                    self.names.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(prefix));
                for (name, uid) in under.flat_map(|(name, uids)| uids.iter().map(move |uid| (name, *uid))) {
                    let is_there = self.jobs.get(&uid).is_some_and(|job| job.is_there(*revision, *retired));
                    if is_there && !there.contains(&uid) {
                        let (call, revision, name) = (*call, *revision, name.clone());
                        found.push(Violation::LeftOut { call, revision, uid, name });
                    }
                }
                found
            }
        }
    }

    fn one(&self, call: CallId, revision: Revision, seen: &SeenJob) -> Option<Violation> {
        let SeenJob { uid, state, .. } = *seen;
        let job = self.jobs.get(&uid)?;
        if let Some(deleted) = job.deleted.filter(|deleted| *deleted <= revision) {
            return Some(Violation::AfterDeletion { uid, revision, call, deleted });
        }
        let committed = job.committed_at(revision);
        (committed != Some(state)).then(|| {
            let committed = committed.map_or("no such job", JobState::as_str);
            Violation::NotCommitted { uid, state, revision, call, committed }
        })
    }
}

fn recency(call: &Call, revision: Revision, floor: Revision) -> Option<Violation> {
    let read = call.action.freshness();
    let old = |needed, why| Violation::Old { call: call.id, revision, needed, why };
    if revision < read.min_revision {
        return Some(old(read.min_revision, "asked for"));
    }
    (!read.stale && revision < floor).then(|| old(floor, "answered"))
}

fn another(call: &Call, asked: &Target, seen: &SeenJob) -> Option<Violation> {
    let right = asked.name == seen.name && asked.uid.is_none_or(|uid| uid == seen.uid);
    let shown = || format!("{} ({})", seen.uid, seen.name);
    let uid = asked.uid.map_or_else(String::new, |uid| format!(" {uid}"));
    (!right).then(|| Violation::Another {
        call: call.id,
        asked: format!("{}{uid}", asked.name),
        shown: shown(),
    })
}
