//! Why there is no order, in as few calls as possible.
//!
//! A history that has an order has one at every instant before, with what is unanswered then left open. So the first
//! answer that cannot be is found by halving. And where nothing is under way, all that matters of what was before is
//! the states that the object can be in; so the window begins at the last such instant before that answer.

use std::fmt;

use super::search::{Found, Placed, Search};
use super::timeline::timeline;
use super::{Bounds, Model, Operation};
use crate::history::CallId;

/// States that are listed; that there are more is said.
const STATES_SHOWN_MAX: usize = 4;

/// The shortest window of calls that has no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The first call whose answer nothing explains.
    pub culprit: CallId,
    /// Calls that play a part in the window, by when they began. Those without an answer may be older.
    pub calls: Vec<CallId>,
    /// What the object can have been before the window; empty where that could not be found within the bounds.
    pub before: Vec<String>,
    /// The window for people.
    pub timeline: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order of these calls explains the answer to {}", self.culprit)?;
        match self.before.split_at_checked(STATES_SHOWN_MAX) {
            Some((shown, more)) if !more.is_empty() => {
                writeln!(f, "before: {}, or one of {} more", shown.join(", or "), more.len())?;
            }
            _ if self.before.is_empty() => writeln!(f, "before: not found within the bounds")?,
            _ => writeln!(f, "before: {}", self.before.join(", or "))?,
        }
        f.write_str(&self.timeline)
    }
}

/// Explains calls that have no order.
pub(super) fn explain<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    bounds: Bounds,
) -> Counterexample {
    let end = first_impossible(model, operations, bounds);
    let begin = last_quiet(operations, end);
    let mut window: Vec<_> = operations
        .iter()
        .filter(|call| call.invoked <= end && answered(call).is_none_or(|at| at >= begin))
        .map(|call| Placed::until(call, end))
        .collect();
    window.sort_by_key(|placed| (placed.operation.invoked, placed.operation.id));
    let culprit = window.iter().filter(|placed| placed.answer.is_some_and(|(at, _)| at == end));
    Counterexample {
        culprit: culprit.map(|placed| placed.operation.id).next_back().unwrap_or_default(),
        calls: window.iter().map(|placed| placed.operation.id).collect(),
        before: states_at(model, operations, begin, bounds),
        timeline: timeline(model, &window, begin, end),
    }
}

fn answered<I, O>(call: &Operation<I, O>) -> Option<u64> {
    call.answer.as_ref().map(|(at, _)| *at)
}

/// The first instant at which an answer came that no order explains. What cannot be decided counts as explained: the
/// window may then be longer than it had to be, but is never wrong.
fn first_impossible<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    bounds: Bounds,
) -> u64 {
    let mut instants: Vec<_> = operations.iter().filter_map(answered).collect();
    instants.sort_unstable();
    instants.dedup();
    let explained = |instant: &u64| {
        let known: Vec<_> = operations
            .iter()
            .filter(|call| call.invoked <= *instant)
            .map(|call| Placed::until(call, *instant))
            .collect();
        Search::new(model, &known, bounds).any() != Found::Nothing
    };
    let first = instants.partition_point(explained);
    instants.get(first).or(instants.last()).copied().unwrap_or(0)
}

/// The last instant before `end` across which no call reaches that has its answer by then.
fn last_quiet<I, O>(operations: &[Operation<I, O>], end: u64) -> u64 {
    let mut calls: Vec<_> = operations.iter().filter(|call| call.invoked <= end).collect();
    // What has no answer by then may take effect at any time, so it begins no window.
    calls.retain(|call| answered(call).is_some_and(|at| at <= end));
    calls.sort_by_key(|call| std::cmp::Reverse(answered(call)));
    // From the last answer backwards: the window grows while a call reaches across its beginning.
    let mut begin = end;
    for call in calls {
        if answered(call).is_some_and(|at| at < begin) {
            break;
        }
        begin = begin.min(call.invoked);
    }
    begin
}

fn states_at<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    begin: u64,
    bounds: Bounds,
) -> Vec<String> {
    let earlier: Vec<_> = operations
        .iter()
        .filter(|call| call.invoked < begin)
        .map(|call| Placed::until(call, begin))
        .collect();
    let states = Search::new(model, &earlier, bounds).all_finals();
    states.unwrap_or_default().iter().map(|state| model.show_state(state)).collect()
}
