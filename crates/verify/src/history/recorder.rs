//! Writes a history down while it happens.
//!
//! ```text
//! invoke ─► id ─► answer (or never) ─► history
//! ```

use std::collections::BTreeMap;

use super::History;
use super::call::{Action, Call, CallId, ClientNumber, RequestId};
use super::outcome::Outcome;

/// Calls that a recorder takes. At 300 bytes each this is 300 MB; a run that needs more is several runs.
pub const CALLS_MAX: usize = 1_000_000;

/// Why something cannot be written down. Each is a fault of the harness, not of the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record is full.
    #[error("the history has {CALLS_MAX} calls, which is its bound: end the run here")]
    Full,
    /// No such call is open.
    #[error("call {0} is not open: it was never invoked, or was answered before")]
    NotOpen(CallId),
    /// An answer before its question.
    #[error("call {call} was invoked at {invoked} and cannot return at {returned}")]
    Backwards {
        /// The call.
        call: CallId,
        /// When it began.
        invoked: u64,
        /// When it is said to have ended.
        returned: u64,
    },
}

/// A history in the making.
#[derive(Debug, Default)]
pub struct Recorder {
    next: u64,
    open: BTreeMap<CallId, Call>,
    closed: Vec<Call>,
}

impl Recorder {
    /// Notes that a call begins, before it is sent.
    ///
    /// # Errors
    /// [`RecordError::Full`].
    pub fn invoke(
        &mut self,
        client: ClientNumber,
        request: Option<RequestId>,
        at: u64,
        action: Action,
    ) -> Result<CallId, RecordError> {
        if self.open.len() + self.closed.len() >= CALLS_MAX {
            return Err(RecordError::Full);
        }
        let id = CallId(self.next);
        self.next += 1;
        let outcome = Outcome::Unknown;
        self.open.insert(id, Call { id, client, request, invoked: at, returned: None, action, outcome });
        Ok(id)
    }

    /// Notes what its caller learnt, after it was received. [`Outcome::Unknown`] says that the caller gave up.
    ///
    /// # Errors
    /// [`RecordError::NotOpen`], [`RecordError::Backwards`]; then nothing changed.
    pub fn answer(&mut self, id: CallId, at: u64, outcome: Outcome) -> Result<&Call, RecordError> {
        let invoked = self.open.get(&id).ok_or(RecordError::NotOpen(id))?.invoked;
        if at < invoked {
            return Err(RecordError::Backwards { call: id, invoked, returned: at });
        }
        let call = self.open.remove(&id).ok_or(RecordError::NotOpen(id))?;
        self.closed.push(Call { returned: Some(at), outcome, ..call });
        self.closed.last().ok_or(RecordError::NotOpen(id))
    }

    /// Calls without an outcome so far, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Call> {
        self.open.values()
    }

    /// The record as it is: what is open has no outcome.
    #[must_use]
    pub fn finish(self) -> History {
        self.closed.into_iter().chain(self.open.into_values()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Refused, Target};

    fn stop() -> Action {
        Action::Stop { job: Target::name("a") }
    }

    #[test]
    fn a_call_that_never_returns_stays_in_the_history_as_open() {
        let mut recorder = Recorder::default();
        let first = recorder.invoke(ClientNumber(1), None, 5, stop()).expect("room");
        let second = recorder.invoke(ClientNumber(2), None, 6, stop()).expect("room");
        recorder.answer(second, 9, Outcome::Refused(Refused::NotFound)).expect("open");
        assert_eq!(recorder.open().map(|call| call.id).collect::<Vec<_>>(), [first]);
        let history = recorder.finish();
        let returned: Vec<_> = history.calls().iter().map(|call| call.returned).collect();
        assert_eq!(returned, [None, Some(9)]);
        assert_eq!((history.len(), history.answered()), (2, 0));
    }

    #[test]
    fn an_answer_to_nothing_and_one_from_before_the_question_are_faults_of_the_harness() {
        let mut recorder = Recorder::default();
        let id = recorder.invoke(ClientNumber(1), None, 5, stop()).expect("room");
        let early = recorder.answer(id, 4, Outcome::Unknown).map(drop);
        assert_eq!(early, Err(RecordError::Backwards { call: id, invoked: 5, returned: 4 }));
        recorder.answer(id, 5, Outcome::Unknown).expect("still open");
        assert_eq!(recorder.answer(id, 6, Outcome::Unknown).map(drop), Err(RecordError::NotOpen(id)));
    }
}
