//! Cuts a history into the calls on each job name: what is about no job is left out, the tries of one request are one
//! call, and a listing says something about every name under its prefix.

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{JobState, JobUid};

use super::Operation;
use super::jobs::{Input, Output, Selector};
use crate::history::{Action, Answer, Call, History, Outcome, RequestId, SeenJob, Target};

/// A call on the jobs of one name.
pub type JobOperation = Operation<Input, Output>;

/// The calls on each name, by when they began.
///
/// Several calls under one request id with the same question are one call that began with the first of them: it is
/// done once, at the latest before the first definite answer. That later answers repeat the first is for
/// [`crate::acknowledged`].
#[must_use]
pub fn partition(history: &History) -> BTreeMap<String, Vec<JobOperation>> {
    let names = names(history);
    let mut by_name: BTreeMap<String, Vec<JobOperation>> = BTreeMap::new();
    let mut requests: BTreeMap<(&RequestId, &Action), Vec<&Call>> = BTreeMap::new();
    for call in history.calls().iter().filter(|call| !call.action.freshness().stale) {
        match &call.request {
            Some(id) if !call.action.is_read() => requests.entry((id, &call.action)).or_default().push(call),
            _ => {
                for (name, operation) in operations(&[call], &names) {
                    by_name.entry(name).or_default().push(operation);
                }
            }
        }
    }
    for tries in requests.values() {
        for (name, operation) in operations(tries, &names) {
            by_name.entry(name).or_default().push(operation);
        }
    }
    for operations in by_name.values_mut() {
        operations.sort_by_key(|operation| (operation.invoked, operation.id));
    }
    by_name
}

/// Every name that a call or a listing mentions.
fn names(history: &History) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for call in history.calls() {
        names.extend(name_of(&call.action).cloned());
        if let Outcome::Answered { answer: Answer::Listed(jobs), .. } = &call.outcome {
            names.extend(jobs.iter().map(|job| job.name.clone()));
        }
    }
    names
}

const fn name_of(action: &Action) -> Option<&String> {
    match action {
        Action::Submit { name, .. } => Some(name),
        Action::Stop { job } | Action::Delete { job } | Action::Get { job, .. } => Some(&job.name),
        Action::List { .. } => None,
    }
}

/// The tries of one request as one call; none where they say nothing about any job.
fn operations(tries: &[&Call], names: &BTreeSet<String>) -> Vec<(String, JobOperation)> {
    let Some(first) = tries.iter().min_by_key(|call| (call.invoked, call.id)) else { return Vec::new() };
    let definite = tries.iter().filter(|call| is_definite(&call.outcome) && call.returned.is_some());
    let answered = definite.min_by_key(|call| (call.returned, call.id));
    let maybe_done = tries.iter().any(|call| call.outcome == Outcome::Unknown || call.returned.is_none());
    if answered.is_none() && (!maybe_done || first.action.is_read()) {
        return Vec::new();
    }
    let shown = answered.unwrap_or(first);
    let operation = |input, answer| Operation {
        id: shown.id,
        client: shown.client,
        invoked: first.invoked,
        input,
        answer,
    };
    if let Action::List { prefix, retired, .. } = &first.action {
        let under = names.iter().filter(|name| name.starts_with(prefix.as_str()));
        let input = Input::List { retired: *retired };
        return under.map(|name| (name.clone(), operation(input, listed(shown, name)))).collect();
    }
    let (Some(name), Some(input)) = (name_of(&first.action), input(&first.action)) else { return Vec::new() };
    let answer = answered.and_then(|call| Some((call.returned?, output(&call.outcome, name)?)));
    vec![(name.clone(), operation(input, answer))]
}

/// Whether the outcome says what became of the request.
const fn is_definite(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered { .. } => true,
        Outcome::Refused(why) => why.is_about_the_job(),
        Outcome::Unknown => false,
    }
}

fn input(action: &Action) -> Option<Input> {
    let selector = |job: &Target| job.uid.map_or(Selector::Newest, Selector::Uid);
    match action {
        Action::Submit { spec, .. } => Some(Input::Submit { spec: *spec }),
        Action::Stop { job } => Some(Input::Stop(selector(job))),
        Action::Delete { job } => Some(Input::Delete(selector(job))),
        Action::Get { job, .. } => Some(Input::Get(selector(job))),
        Action::List { .. } => None,
    }
}

fn output(outcome: &Outcome, name: &str) -> Option<Output> {
    let answer = match outcome {
        Outcome::Answered { answer, .. } => answer,
        Outcome::Refused(why) => return Some(Output::Refused(*why)),
        Outcome::Unknown => return None,
    };
    Some(match answer {
        Answer::Submitted { uid, existing } => Output::Submitted { uid: *uid, existing: *existing },
        Answer::Stopping { uid, state } => Output::Stopping { uid: *uid, state: *state },
        Answer::Deleted { uid } => Output::Deleted { uid: *uid },
        Answer::Seen(SeenJob { uid, state, .. }) => Output::Seen { uid: *uid, state: *state },
        Answer::Listed(jobs) => Output::Listed(of_name(jobs, name)),
    })
}

fn listed(call: &Call, name: &str) -> Option<(u64, Output)> {
    Some((call.returned?, output(&call.outcome, name)?))
}

fn of_name(jobs: &[SeenJob], name: &str) -> Vec<(JobUid, JobState)> {
    let mut jobs: Vec<_> =
        jobs.iter().filter(|job| job.name == name).map(|job| (job.uid, job.state)).collect();
    jobs.sort_unstable_by_key(|(uid, _)| *uid);
    jobs
}
