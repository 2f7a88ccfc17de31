//! The search for an order: depth first, each configuration once.
//!
//! The instants of all calls stand in one list, questions before answers where they are equal (what touches may
//! overlap). Walking it from the left, every question seen before the first answer is a candidate for the next place
//! in the order. An answer that is reached says that its call should have had a place by now: one step back.
//!
//! ```text
//!   ?a ?b !a ?c !b !c       candidates for the first place: a, b (c began after a was answered)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::{Bounds, Model, Operation};

/// A call with the part of its answer that is looked at: nothing of it where the search ends before.
pub(super) struct Placed<'a, I, O> {
    pub(super) operation: &'a Operation<I, O>,
    pub(super) answer: Option<(u64, &'a O)>,
}

impl<'a, I, O> Placed<'a, I, O> {
    /// With its answer.
    pub(super) fn whole(operation: &'a Operation<I, O>) -> Self {
        Self { operation, answer: operation.answer.as_ref().map(|(at, output)| (*at, output)) }
    }

    /// As it was known at an instant: an answer that came later is none yet.
    pub(super) fn until(operation: &'a Operation<I, O>, instant: u64) -> Self {
        let whole = Self::whole(operation);
        Self { answer: whole.answer.filter(|(at, _)| *at <= instant), ..whole }
    }
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    Nothing,
    OutOfBounds,
}

/// Sorted, without doubles, never empty.
type States<S> = Vec<S>;

/// Configurations that were looked at: the answered calls behind and the states, and with which others. The same with
/// fewer of those leads wherever the same with more of them does.
type Seen<S> = BTreeMap<(Bits, States<S>), Vec<Bits>>;

/// The calls that have a place.
struct Behind {
    answered: Bits,
    others: Bits,
}

impl Behind {
    fn of(&mut self, answered: bool) -> &mut Bits {
        if answered { &mut self.answered } else { &mut self.others }
    }
}

/// A question or an answer in the list of instants.
#[derive(Clone, Copy)]
struct Instant {
    call: usize,
    is_answer: bool,
}

/// Where the candidates for a place are looked for. Those with an answer come first: most histories need no others.
struct Cursor {
    answered: bool,
    at: Option<usize>,
}

/// A call that got a place, and what there was before.
struct Step<S> {
    call: usize,
    states: States<S>,
}

pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Placed<'a, M::Input, M::Output>],
    bounds: Bounds,
    steps: u64,
    /// For each call without an answer, the one before it that asks the same and has no answer either: they can be
    /// exchanged, so that one gets its place first.
    twin: Vec<Option<usize>>,
    instants: Vec<Instant>,
    list: List,
    question_at: Vec<usize>,
    answer_at: Vec<Option<usize>>,
    seen: Seen<M::State>,
    configurations: usize,
    finals: BTreeSet<M::State>,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(model: &'a M, calls: &'a [Placed<'a, M::Input, M::Output>], bounds: Bounds) -> Self {
        let instants = instants(calls);
        let mut question_at = vec![0; calls.len()];
        let mut answer_at = vec![None; calls.len()];
        for (at, instant) in instants.iter().enumerate() {
            if instant.is_answer {
                answer_at[instant.call] = Some(at);
            } else {
                question_at[instant.call] = at;
            }
        }
        Self {
            model,
            calls,
            bounds,
            steps: 0,
            twin: twins(calls),
            list: List::of(instants.len()),
            instants,
            question_at,
            answer_at,
            seen: Seen::new(),
            configurations: 0,
            finals: BTreeSet::new(),
        }
    }

    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether there is an order of all calls that have an answer, with any of the others.
    pub(super) fn any(&mut self) -> Found {
        self.run(false)
    }

    /// Every state that some order ends in; nothing where the bounds were reached. To be asked once.
    pub(super) fn all_finals(mut self) -> Option<BTreeSet<M::State>> {
        match self.run(true) {
            Found::OutOfBounds => None,
            Found::Order | Found::Nothing => Some(self.finals),
        }
    }

    fn run(&mut self, exhaustive: bool) -> Found {
        let mut states = vec![self.model.initial()];
        let empty = Bits::empty(self.calls.len());
        let mut behind = Behind { answered: empty.clone(), others: empty };
        let mut order: Vec<Step<M::State>> = Vec::new();
        let mut open = self.calls.iter().filter(|call| call.answer.is_some()).count();
        let mut cursor = Cursor { answered: true, at: self.list.first() };
        loop {
            if open == 0 {
                if !exhaustive {
                    return Found::Order;
                }
                self.finals.extend(states.iter().cloned());
            }
            let next = loop {
                let Some(call) = self.candidate(&mut cursor) else { break None };
                if self.steps >= self.bounds.steps || self.configurations >= self.bounds.configurations {
                    return Found::OutOfBounds;
                }
                if let Some(after) = self.place(call, &states, &mut behind) {
                    break Some((call, after));
                }
            };
            if let Some((call, after)) = next {
                self.lift(call);
                open -= usize::from(self.calls[call].answer.is_some());
                order.push(Step { call, states: std::mem::replace(&mut states, after) });
                cursor = Cursor { answered: true, at: self.list.first() };
            } else {
                let Some(Step { call, states: before }) = order.pop() else { return Found::Nothing };
                self.put_back(call);
                let answered = self.calls[call].answer.is_some();
                behind.of(answered).remove(call);
                open += usize::from(answered);
                states = before;
                cursor = Cursor { answered, at: self.list.after(self.question_at[call]) };
            }
        }
    }

    /// The next call that can have its place here, as far as instants say.
    fn candidate(&self, cursor: &mut Cursor) -> Option<usize> {
        loop {
            let question =
                cursor.at.map(|at| (at, self.instants[at])).filter(|(_, instant)| !instant.is_answer);
            match question {
                Some((at, Instant { call, .. })) => {
                    cursor.at = self.list.after(at);
                    if self.calls[call].answer.is_some() == cursor.answered {
                        return Some(call);
                    }
                }
                None if cursor.answered => *cursor = Cursor { answered: false, at: self.list.first() },
                None => return None,
            }
        }
    }

    /// The states after this call as the next, where it is possible and new; `behind` then holds the call.
    fn place(
        &mut self,
        call: usize,
        states: &States<M::State>,
        behind: &mut Behind,
    ) -> Option<States<M::State>> {
        if self.twin[call].is_some_and(|twin| !behind.others.contains(twin)) {
            return None;
        }
        self.steps += 1;
        let Placed { operation, answer } = &self.calls[call];
        let output = answer.map(|(_, output)| output);
        let step = |state| self.model.step(state, &operation.input, output);
        let mut after: States<M::State> = states.iter().flat_map(step).collect();
        after.sort_unstable();
        after.dedup();
        // Without an answer and without an effect it may as well be left out.
        if after.is_empty() || (output.is_none() && after == *states) {
            return None;
        }
        let answered = output.is_some();
        behind.of(answered).insert(call);
        if self.is_new(behind, &after) {
            return Some(after);
        }
        behind.of(answered).remove(call);
        None
    }

    fn is_new(&mut self, behind: &Behind, states: &States<M::State>) -> bool {
        let with = self.seen.entry((behind.answered.clone(), states.clone())).or_default();
        if with.iter().any(|fewer| fewer.is_within(&behind.others)) {
            return false;
        }
        let before = with.len();
        with.retain(|more| !behind.others.is_within(more));
        with.push(behind.others.clone());
        self.configurations = self.configurations + with.len() - before;
        true
    }

    fn lift(&mut self, call: usize) {
        self.list.lift(self.question_at[call]);
        if let Some(answer) = self.answer_at[call] {
            self.list.lift(answer);
        }
    }

    fn put_back(&mut self, call: usize) {
        if let Some(answer) = self.answer_at[call] {
            self.list.put_back(answer);
        }
        self.list.put_back(self.question_at[call]);
    }
}

fn instants<I, O>(calls: &[Placed<'_, I, O>]) -> Vec<Instant> {
    let mut timed = Vec::with_capacity(2 * calls.len());
    for (call, placed) in calls.iter().enumerate() {
        let id = placed.operation.id;
        timed.push((placed.operation.invoked, false, id, call));
        timed.extend(placed.answer.map(|(at, _)| (at, true, id, call)));
    }
    timed.sort_unstable();
    timed.into_iter().map(|(_, is_answer, _, call)| Instant { call, is_answer }).collect()
}

fn twins<I: Eq, O>(calls: &[Placed<'_, I, O>]) -> Vec<Option<usize>> {
    let mut open: Vec<usize> = (0..calls.len()).filter(|call| calls[*call].answer.is_none()).collect();
    open.sort_by_key(|call| (calls[*call].operation.invoked, calls[*call].operation.id));
    let mut twins = vec![None; calls.len()];
    for (position, call) in open.iter().enumerate() {
        let same = |other: &&usize| calls[**other].operation.input == calls[*call].operation.input;
        twins[*call] = open[..position].iter().rev().find(same).copied();
    }
    twins
}

/// A doubly linked list of positions that can be taken out and, in the opposite order, put back.
struct List {
    /// By position + 1, so that 0 is before the first.
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl List {
    fn of(length: usize) -> Self {
        let next = (1..=length + 2).collect();
        let previous = (0..length + 2).map(|at| at.saturating_sub(1)).collect();
        Self { next, previous }
    }

    fn end(&self) -> usize {
        self.previous.len() - 1
    }

    fn first(&self) -> Option<usize> {
        self.position(self.next[0])
    }

    fn after(&self, position: usize) -> Option<usize> {
        self.position(self.next[position + 1])
    }

    fn position(&self, at: usize) -> Option<usize> {
        if at == self.end() { None } else { Some(at - 1) }
    }

    fn lift(&mut self, position: usize) {
        let (previous, next) = (self.previous[position + 1], self.next[position + 1]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn put_back(&mut self, position: usize) {
        let (previous, next) = (self.previous[position + 1], self.next[position + 1]);
        self.next[previous] = position + 1;
        self.previous[next] = position + 1;
    }
}
