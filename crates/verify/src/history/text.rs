//! A history as text: one line per call, readable by people, equal for equal histories, and read back exactly.
//!
//! ```text
//! paceline-history 1
//! 0 c3 user/ann:000102030405060708090a0b0c0d0e0f:17 100 140 submit nightly 1f2e -> @5 submitted 5-0 new
//! 1 c1 - 150 160 get nightly - stale>=5 -> @7 seen nightly 5-0 active
//! 2 c1 - 150 170 list night all now -> @7 listed nightly=5-0=active
//! 3 c2 - 160 - stop nightly 5-0 -> ?
//! ```
//!
//! Fields: number, client, request id or `-`, invoked, returned or `-`, the call, `->`, the outcome. Names and
//! principals are escaped as `%` and two hexadecimal digits wherever they have other characters than letters, digits
//! and `. _ - /`; nothing at all is a single `%`. Lines that are empty or begin with `#` are passed over, so that
//! a person can write between them.

use std::fmt::Write as _;

use super::History;
use super::call::{Action, Call, Freshness, RequestId, Target};
use super::outcome::{Answer, Outcome, SeenJob};

pub use super::text_read::{ReadError, read};

/// The first line. The number rises with every change of the form.
pub(super) const HEADER: &str = "paceline-history 1";

/// Writes a history.
#[must_use]
pub fn write(history: &History) -> String {
    let mut text = format!("{HEADER}\n");
    for call in history.calls() {
        text.push_str(&line(call));
        text.push('\n');
    }
    text
}

/// One call as it stands in the text.
#[must_use]
pub fn line(call: &Call) -> String {
    let Call { id, client, request, invoked, returned, action, outcome } = call;
    let request = request.as_ref().map_or_else(|| "-".to_owned(), request_id);
    let returned = returned.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let (action, outcome) = (action_words(action), outcome_words(outcome));
    format!("{} {client} {request} {invoked} {returned} {action} -> {outcome}", id.0)
}

/// The call in words, as it stands in the text.
#[must_use]
pub fn action_words(action: &Action) -> String {
    match action {
        Action::Submit { name, spec } => format!("submit {} {spec:x}", escaped(name)),
        Action::Stop { job } => format!("stop {}", target(job)),
        Action::Delete { job } => format!("delete {}", target(job)),
        Action::Get { job, read } => format!("get {} {}", target(job), freshness(*read)),
        Action::List { prefix, retired, read } => {
            let which = if *retired { "all" } else { "live" };
            format!("list {} {which} {}", escaped(prefix), freshness(*read))
        }
    }
}

/// The outcome in words, as it stands in the text.
#[must_use]
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unknown => "?".to_owned(),
        Outcome::Refused(why) => format!("no {}", why.as_str()),
        Outcome::Answered { revision, answer } => format!("@{revision} {}", answer_words(answer)),
    }
}

fn answer_words(answer: &Answer) -> String {
    match answer {
        Answer::Submitted { uid, existing } => {
            format!("submitted {uid} {}", if *existing { "found" } else { "new" })
        }
        Answer::Stopping { uid, state } => format!("stopping {uid} {state}"),
        Answer::Deleted { uid } => format!("deleted {uid}"),
        Answer::Seen(SeenJob { name, uid, state }) => format!("seen {} {uid} {state}", escaped(name)),
        Answer::Listed(jobs) => jobs.iter().fold("listed".to_owned(), |mut text, job| {
            // Writing to a string does not fail.
            let _ = write!(text, " {}={}={}", escaped(&job.name), job.uid, job.state);
            text
        }),
    }
}

fn request_id(id: &RequestId) -> String {
    RequestId { principal: escaped(&id.principal), ..id.clone() }.to_string()
}

fn target(job: &Target) -> String {
    let uid = job.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string());
    format!("{} {uid}", escaped(&job.name))
}

fn freshness(read: Freshness) -> String {
    let Freshness { stale, min_revision } = read;
    let word = if stale { "stale" } else { "now" };
    if min_revision.0 == 0 { word.to_owned() } else { format!("{word}>={min_revision}") }
}

fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use paceline_types::{JobState, JobUid, Revision};
    use proptest::prelude::*;

    use super::*;
    use crate::history::{CallId, ClientNumber, Refused};

    const EXAMPLE: &str = "paceline-history 1
0 c3 user/ann:000102030405060708090a0b0c0d0e0f:17 100 140 submit nightly 1f2e -> @5 submitted 5-0 new
1 c1 - 150 160 get nightly - stale>=5 -> @7 seen nightly 5-0 active
2 c1 - 150 170 list night all now -> @7 listed nightly=5-0=active
3 c2 - 160 - stop nightly 5-0 -> ?
4 c2 - 161 200 delete nightly - -> no conflict
5 c2 - 170 200 list % live now>=3 -> @8 listed
";

    #[test]
    fn the_form_is_stable() {
        let history = read(EXAMPLE).expect("valid");
        assert_eq!(history.len(), 6);
        assert_eq!(history.calls()[3].returned, None);
        assert_eq!(write(&history), EXAMPLE);
    }

    fn uids() -> impl Strategy<Value = JobUid> {
        (any::<u64>(), any::<u32>())
            .prop_map(|(revision, ordinal)| JobUid { revision: Revision(revision), ordinal })
    }

    fn names() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9 %=:äß>\n-]{0,6}"
    }

    fn states() -> impl Strategy<Value = JobState> {
        proptest::sample::select(JobState::ALL)
    }

    fn reads() -> impl Strategy<Value = Freshness> {
        (any::<bool>(), 0..9_u64)
            .prop_map(|(stale, revision)| Freshness { stale, min_revision: Revision(revision) })
    }

    fn actions() -> impl Strategy<Value = Action> {
        let target = || (names(), proptest::option::of(uids())).prop_map(|(name, uid)| Target { name, uid });
        prop_oneof![
            (names(), any::<u64>()).prop_map(|(name, spec)| Action::Submit { name, spec }),
            target().prop_map(|job| Action::Stop { job }),
            target().prop_map(|job| Action::Delete { job }),
            (target(), reads()).prop_map(|(job, read)| Action::Get { job, read }),
            (names(), any::<bool>(), reads()).prop_map(|(prefix, retired, read)| Action::List {
                prefix,
                retired,
                read
            }),
        ]
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let seen = || (names(), uids(), states()).prop_map(|(name, uid, state)| SeenJob { name, uid, state });
        let answers = prop_oneof![
            (uids(), any::<bool>()).prop_map(|(uid, existing)| Answer::Submitted { uid, existing }),
            (uids(), states()).prop_map(|(uid, state)| Answer::Stopping { uid, state }),
            uids().prop_map(|uid| Answer::Deleted { uid }),
            seen().prop_map(Answer::Seen),
            proptest::collection::vec(seen(), 0..4).prop_map(Answer::Listed),
        ];
        prop_oneof![
            Just(Outcome::Unknown),
            proptest::sample::select(&Refused::ALL[..]).prop_map(Outcome::Refused),
            (any::<u64>(), answers)
                .prop_map(|(revision, answer)| Outcome::Answered { revision: Revision(revision), answer }),
        ]
    }

    prop_compose! {
        fn calls()(
            client in any::<u32>(),
            request in proptest::option::of((names(), any::<[u8; 16]>(), any::<u64>())),
            invoked in 0..1_000_u64,
            took in proptest::option::of(0..1_000_u64),
            action in actions(),
            outcome in outcomes(),
        ) -> Call {
            let request = request.map(|(principal, client, sequence)| RequestId { principal, client, sequence });
            let (id, returned) = (CallId(0), took.map(|took| invoked + took));
            let outcome = if returned.is_none() { Outcome::Unknown } else { outcome };
            Call { id, client: ClientNumber(client), request, invoked, returned, action, outcome }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(calls in proptest::collection::vec(calls(), 0..12)) {
            let numbered = (0..).zip(calls).map(|(id, call)| Call { id: CallId(id), ..call });
            let history: History = numbered.collect();
            prop_assert_eq!(read(&write(&history)), Ok(history));
        }

        #[test]
        fn whatever_is_read_is_a_history_or_an_error(noise in ".{0,200}", at in 0..400_usize, with in ".{0,3}") {
            let _ = read(&noise);
            let mut damaged = EXAMPLE.to_owned();
            if damaged.is_char_boundary(at) {
                damaged.insert_str(at.min(damaged.len()), &with);
            }
            // What can be read after the damage can be written and read again.
            if let Ok(history) = read(&damaged) {
                prop_assert_eq!(read(&write(&history)), Ok(history));
            }
        }
    }
}
