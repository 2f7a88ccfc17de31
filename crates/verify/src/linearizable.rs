//! Whether the answers of a history have an order: one after the other, each somewhere between its question and its
//! answer, such that a single copy would have answered so.
//!
//! The method is that of Wing and Gong with Lowe's cache: the same state with the same calls behind it is looked at
//! once, and with more unanswered calls than needed not at all. Each object is judged for itself: a history is
//! linearizable exactly when it is so object by object (Herlihy and Wing), and the objects here are job names
//! ([`jobs`]). A call without an answer may take effect at any time after it began, or never. What a call does may be
//! uncertain (jobs end by themselves); the search then follows all states at once.
//!
//! ```text
//! history ─► partition (by name, tries of one request as one) ─► search ─┬─ an order: linearizable
//!                                                                        ├─ none ─► explain: the shortest window
//!                                                                        └─ bound reached: undecided, which fails
//! ```
//!
//! Cost: exponential in the calls of one name that overlap, at worst; linear in all others. Memory: the cache, which
//! is bounded by [`Bounds::configurations`]. Only whole histories are judged; checkers that look after every tick
//! are in the other modules.

mod bits;
mod explain;
pub mod jobs;
mod partition;
mod search;
#[cfg(test)]
mod tests;
mod timeline;

use std::fmt::Debug;

pub use explain::Counterexample;
pub use partition::{JobOperation, partition};

use crate::history::{CallId, ClientNumber, History};
use jobs::JobModel;
use search::{Found, Search};

/// What one object does with calls, one at a time.
pub trait Model {
    /// What the object is between two calls.
    type State: Clone + Ord + Debug;
    /// What is asked.
    type Input: Eq;
    /// What is answered.
    type Output;

    /// Before the first call.
    fn initial(&self) -> Self::State;

    /// Every state that the object can be in after this call, when it gave this answer; none where it cannot have
    /// given it. Without an answer: what it can have become, whatever it answered; none where it cannot have become
    /// anything else.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Vec<Self::State>;

    /// A call for people.
    fn show_call(&self, input: &Self::Input, output: Option<&Self::Output>) -> String;

    /// A state for people.
    fn show_state(&self, state: &Self::State) -> String;
}

/// A call on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// The call of the history.
    pub id: CallId,
    /// Who made it.
    pub client: ClientNumber,
    /// When it began.
    pub invoked: u64,
    /// What was asked.
    pub input: I,
    /// When which answer came; nothing where none did.
    pub answer: Option<(u64, O)>,
}

/// How much work one object may take, after which there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Calls tried at a place in the order. A step takes about a microsecond.
    pub steps: u64,
    /// Configurations kept in the cache. One takes some hundred bytes.
    pub configurations: usize,
}

/// Some ten seconds and a few hundred megabytes for one object. A harness that comes near it makes too many calls at
/// once on one name, and should make them on more names.
pub const BOUNDS: Bounds = Bounds { steps: 5_000_000, configurations: 400_000 };

/// What is known of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violated(Box<Counterexample>),
    /// The bound was reached before one was found. This fails: it shows nothing.
    Undecided {
        /// After so many steps.
        steps: u64,
    },
}

/// Judges the calls on one object, in any order.
#[must_use]
pub fn check<M: Model>(model: &M, operations: &[Operation<M::Input, M::Output>], bounds: Bounds) -> Verdict {
    let all: Vec<_> = operations.iter().map(search::Placed::whole).collect();
    let mut search = Search::new(model, &all, bounds);
    match search.any() {
        Found::Order => Verdict::Linearizable,
        Found::Nothing => Verdict::Violated(Box::new(explain::explain(model, operations, bounds))),
        Found::OutOfBounds => Verdict::Undecided { steps: search.steps() },
    }
}

/// What a history of calls on jobs breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No order explains the answers.
    #[error("job name `{name}`: {counterexample}")]
    NoOrder {
        /// The name.
        name: String,
        /// The shortest window of calls that has no order.
        counterexample: Box<Counterexample>,
    },
    /// The bound was reached.
    #[error(
        "job name `{name}`: not decided after {steps} steps over {calls} calls: make fewer calls at once on one name"
    )]
    Undecided {
        /// The name.
        name: String,
        /// Steps taken.
        steps: u64,
        /// Calls on the name.
        calls: usize,
    },
}

/// Judges all calls of a history, name by name. Stale reads are not looked at here; see [`crate::reads`].
///
/// The history must hold every call on the names that it mentions, and every name under the prefix of a listing.
#[must_use]
pub fn check_jobs(history: &History, model: &JobModel, bounds: Bounds) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, operations) in partition(history) {
        match check(model, &operations, bounds) {
            Verdict::Linearizable => {}
            Verdict::Violated(counterexample) => {
                violations.push(Violation::NoOrder { name, counterexample });
            }
            Verdict::Undecided { steps } => {
                violations.push(Violation::Undecided { name, steps, calls: operations.len() });
            }
        }
    }
    violations
}
