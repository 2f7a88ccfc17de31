//! One submission with all its tries.

use paceline_types::{JobUid, Revision};

use crate::history::{Answer, Call, CallId, Outcome, Refused, RequestId, text};

/// Tries under one request id are one submission; a call without an id is one by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Id(RequestId),
    Call(CallId),
}

impl Key {
    pub(super) fn of(call: &Call) -> Self {
        call.request.as_ref().map_or(Self::Call(call.id), |id| Self::Id(id.clone()))
    }
}

/// What its client knows of a submission.
#[derive(Clone, Debug)]
pub(super) struct Request {
    call: CallId,
    invoked: u64,
    /// Tries under way.
    open: u64,
    /// A try ended without an answer.
    unknown: bool,
    /// The definite outcome, and when it came.
    outcome: Option<(Outcome, u64)>,
    /// The last refusal that is about the try only.
    turned_away: Option<Refused>,
}

impl Request {
    pub(super) const fn new(call: &Call) -> Self {
        let (call, invoked) = (call.id, call.invoked);
        Self { call, invoked, open: 0, unknown: false, outcome: None, turned_away: None }
    }

    pub(super) const fn begin(&mut self) {
        self.open += 1;
    }

    /// A try ended. Returns the earlier answer in words where this one is another.
    pub(super) fn end(&mut self, call: &Call) -> Option<String> {
        self.open = self.open.saturating_sub(1);
        let returned = call.returned.unwrap_or(call.invoked);
        match &call.outcome {
            Outcome::Unknown => self.unknown = true,
            Outcome::Refused(why) if !why.is_about_the_job() => self.turned_away = Some(*why),
            outcome => match &self.outcome {
                None => {
                    self.outcome = Some((outcome.clone(), returned));
                    self.call = call.id;
                }
                Some((first, _)) if content(first) != content(outcome) => {
                    return Some(text::outcome_words(first));
                }
                Some(_) => {}
            },
        }
        None
    }

    /// Whether it may be the one that made a job: a found job was made by another.
    pub(super) const fn may_have_made_one(&self) -> bool {
        match &self.outcome {
            Some((Outcome::Answered { answer: Answer::Submitted { existing, .. }, .. }, _)) => !*existing,
            Some(_) => false,
            None => self.unknown || self.open > 0,
        }
    }

    /// The word of the refusal after which nothing can be done under this id any more, unless a try is open.
    pub(super) const fn refused(&self) -> Option<&'static str> {
        match (&self.outcome, &self.turned_away) {
            _ if self.unknown || self.open > 0 => None,
            (Some((Outcome::Refused(why), _)), _) | (None, Some(why)) => Some(why.as_str()),
            _ => None,
        }
    }

    /// The acknowledged job, the revision in the answer, and when it came.
    pub(super) const fn acknowledged(&self) -> Option<(JobUid, Revision, u64)> {
        match &self.outcome {
            Some((Outcome::Answered { revision, answer: Answer::Submitted { uid, .. } }, at)) => {
                Some((*uid, *revision, *at))
            }
            _ => None,
        }
    }

    pub(super) const fn call(&self) -> CallId {
        self.call
    }

    pub(super) const fn invoked(&self) -> u64 {
        self.invoked
    }
}

/// An answer without the revision, which is that of the entry that carried the try.
const fn content(outcome: &Outcome) -> Result<&Answer, Option<Refused>> {
    match outcome {
        Outcome::Answered { answer, .. } => Ok(answer),
        Outcome::Refused(why) => Err(Some(*why)),
        Outcome::Unknown => Err(None),
    }
}
