//! Nothing acknowledged is ever lost, and nothing is done twice (A-10).
//!
//! Three answers, three promises: an acknowledged job is there under its uid until it is deleted; a refused submission
//! never makes one; one without an answer makes at most one. A request id is done once, however often it is sent, a
//! late retry included, and every answer to it is the same.
//!
//! ```text
//! invoked(call) ─► returned(call)          what clients know
//! effect(request, at)                      what committed entries did, from any replica
//! sight(revision, jobs)                    complete listings, whenever there is one
//! ```
//!
//! Each is judged as it comes. Cost: O(log n), and O(n log n) for a listing of n jobs. Memory: an entry per submission
//! and deletion for the length of the run; there is no bound but that of the run, because any may be lost at its end.

mod request;
#[cfg(test)]
mod tests;
mod violation;

pub use violation::Violation;

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{EventId, JobUid, Revision};

use crate::history::{Action, Answer, Call, Outcome, RequestId, SeenJob, Target};
use request::{Key, Request};

/// What is known of one name.
#[derive(Clone, Debug, Default)]
struct Name {
    submissions: BTreeMap<Key, Request>,
    /// Every job of the name that anybody was shown.
    uids: BTreeSet<JobUid>,
    /// Deleted for certain, and when.
    deleted: BTreeMap<JobUid, Revision>,
    /// Deletions under way or without an answer, each of which may have taken a job.
    deletions: BTreeMap<Key, Option<JobUid>>,
    /// Already reported.
    named: bool,
}

/// What every client was told.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    names: BTreeMap<String, Name>,
    effects: BTreeMap<RequestId, EventId>,
    /// Ids that were refused for good, by how.
    refused: BTreeMap<RequestId, &'static str>,
    lost: BTreeSet<JobUid>,
}

impl Acknowledged {
    /// A call begins.
    pub fn invoked(&mut self, call: &Call) {
        let key = Key::of(call);
        match &call.action {
            Action::Submit { name, .. } => {
                let submissions = &mut self.names.entry(name.clone()).or_default().submissions;
                submissions.entry(key).or_insert_with(|| Request::new(call)).begin();
            }
            Action::Delete { job: Target { name, uid } } => {
                self.names.entry(name.clone()).or_default().deletions.insert(key, *uid);
            }
            Action::Stop { .. } | Action::Get { .. } | Action::List { .. } => {}
        }
    }

    /// A call has its outcome. It must have been invoked here before.
    pub fn returned(&mut self, call: &Call) -> Vec<Violation> {
        match &call.action {
            Action::Submit { name, .. } => self.submitted(name, call),
            Action::Delete { job } => {
                self.deleted(&job.name, call);
                Vec::new()
            }
            Action::Stop { .. } | Action::Get { .. } | Action::List { .. } => Vec::new(),
        }
    }

    /// A committed entry did what a request asked for; answering it from the table of requests is no effect. Replicas
    /// may each say it.
    ///
    /// # Errors
    /// [`Violation::RequestDoneTwice`], [`Violation::DoneAfterRefusal`].
    pub fn effect(&mut self, request: &RequestId, at: EventId) -> Result<(), Violation> {
        let first = *self.effects.entry(request.clone()).or_insert(at);
        if first != at {
            return Err(Violation::RequestDoneTwice { request: request.clone(), first, second: at });
        }
        match self.refused.get(request) {
            Some(why) => Err(Violation::DoneAfterRefusal { request: request.clone(), at, why }),
            None => Ok(()),
        }
    }

    /// All jobs whose names begin so, finished and retired ones too, in one view of this revision.
    pub fn sight(&mut self, revision: Revision, prefix: &str, jobs: &[SeenJob]) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut there: BTreeSet<JobUid> = BTreeSet::new();
        for SeenJob { name, uid, .. } in jobs {
            there.insert(*uid);
            match self.names.get_mut(name) {
                Some(known) => found.extend(known.shows(name, *uid, revision)),
                None => found.push(Violation::Phantom { name: name.clone(), uid: *uid }),
            }
        }
        let under = self.names.iter_mut().filter(|(name, _)| name.starts_with(prefix));
        for (name, known) in under {
            found.extend(known.counted(name));
            found.extend(known.lost(name, &there, revision, &mut self.lost));
        }
        found
    }

    /// A job left the history because of its age: it need not be there any more.
    pub fn forgotten(&mut self, name: &str, uid: JobUid, at: Revision) {
        self.names.entry(name.to_owned()).or_default().deleted.insert(uid, at);
    }

    fn submitted(&mut self, name: &str, call: &Call) -> Vec<Violation> {
        let mut found = Vec::new();
        let known = self.names.entry(name.to_owned()).or_default();
        let request = known.submissions.entry(Key::of(call)).or_insert_with(|| Request::new(call));
        if let Some(first) = request.end(call)
            && let Some(id) = &call.request
        {
            let second = crate::history::text::outcome_words(&call.outcome);
            found.push(Violation::AnswersDiffer { request: id.clone(), first, second });
        }
        let refused = request.refused();
        if let (Some(id), Some(why)) = (&call.request, refused) {
            self.refused.insert(id.clone(), why);
            if let Some(at) = self.effects.get(id) {
                found.push(Violation::DoneAfterRefusal { request: id.clone(), at: *at, why });
            }
        } else if let Some(id) = &call.request {
            self.refused.remove(id);
        }
        let Outcome::Answered { answer: Answer::Submitted { uid, existing }, .. } = &call.outcome else {
            return found;
        };
        known.uids.insert(*uid);
        let key = Key::of(call);
        let other =
            known.submissions.iter().any(|(other, request)| *other != key && request.may_have_made_one());
        if *existing && !other {
            let (name, uid, call) = (name.to_owned(), *uid, call.id);
            found.push(Violation::FoundWithoutSubmission { name, uid, call });
        }
        found.extend(known.counted(name));
        found
    }

    fn deleted(&mut self, name: &str, call: &Call) {
        let known = self.names.entry(name.to_owned()).or_default();
        match &call.outcome {
            Outcome::Answered { revision, answer: Answer::Deleted { uid } } => {
                known.deletions.remove(&Key::of(call));
                known.deleted.entry(*uid).or_insert(*revision);
            }
            // A refusal of one try says nothing of the others under the same id.
            Outcome::Refused(_) if call.request.is_none() => drop(known.deletions.remove(&Key::of(call))),
            _ => {}
        }
    }
}

impl Name {
    /// A listing shows a job of the name.
    fn shows(&mut self, name: &str, uid: JobUid, revision: Revision) -> Option<Violation> {
        self.uids.insert(uid);
        let deleted = self.deleted.get(&uid).copied().filter(|deleted| *deleted <= revision);
        if let Some(deleted) = deleted {
            return Some(Violation::Resurrected { name: name.to_owned(), uid, deleted, revision });
        }
        if self.submissions.is_empty() {
            return Some(Violation::Phantom { name: name.to_owned(), uid });
        }
        let refused = !self.submissions.values().any(Request::may_have_made_one);
        refused.then(|| Violation::Refused { name: name.to_owned(), uid })
    }

    /// Whether there are more jobs than can be.
    fn counted(&mut self, name: &str) -> Option<Violation> {
        let submissions = self.submissions.values().filter(|request| request.may_have_made_one()).count();
        // Those that were all refused are named one by one.
        if self.named || submissions == 0 || self.uids.len() <= submissions {
            return None;
        }
        self.named = true;
        let uids = self.uids.iter().copied().collect();
        Some(Violation::DoneTwice { name: name.to_owned(), uids, submissions })
    }

    /// Acknowledged jobs that a complete listing does not show.
    fn lost(
        &self,
        name: &str,
        there: &BTreeSet<JobUid>,
        revision: Revision,
        known: &mut BTreeSet<JobUid>,
    ) -> Vec<Violation> {
        let selected: BTreeSet<JobUid> = self.deletions.values().filter_map(|uid| *uid).collect();
        let mut by_name = self.deletions.values().filter(|uid| uid.is_none()).count();
        let mut found = Vec::new();
        for request in self.submissions.values() {
            let Some((uid, at, returned)) = request.acknowledged() else { continue };
            let excused = there.contains(&uid)
                || at > revision
                || self.deleted.contains_key(&uid)
                || selected.contains(&uid)
                || known.contains(&uid);
            if excused {
                continue;
            }
            if by_name > 0 {
                by_name -= 1;
                continue;
            }
            known.insert(uid);
            let (call, invoked) = (request.call(), request.invoked());
            found.push(Violation::Lost { name: name.to_owned(), uid, call, invoked, returned, revision });
        }
        found
    }
}
