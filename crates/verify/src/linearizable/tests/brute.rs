//! Every order tried, one after the other: slow, short, and obviously right.

use proptest::prelude::*;

use super::generate::{Plan, Random, generate};
use crate::history::{CallId, ClientNumber};
use crate::linearizable::jobs::{Input, JobModel, Output, Retirement, Selector};
use crate::linearizable::{BOUNDS, JobOperation, Model, Operation, Verdict, check, partition};

type Calls<'a, M> = Vec<&'a Operation<<M as Model>::Input, <M as Model>::Output>>;

/// Whether some order of the calls, with any of the unanswered ones, leads on from this state.
fn has_order<M: Model>(model: &M, calls: &Calls<'_, M>, state: &M::State) -> bool {
    if calls.iter().all(|call| call.answer.is_none()) {
        return true;
    }
    let may_be_next = |call: &Operation<M::Input, M::Output>| {
        let before = |other: &&Operation<M::Input, M::Output>| {
            other.answer.as_ref().is_some_and(|(returned, _)| *returned < call.invoked)
        };
        !calls.iter().any(before)
    };
    (0..calls.len()).filter(|at| may_be_next(calls[*at])).any(|at| {
        let mut rest = calls.clone();
        let call = rest.remove(at);
        let output = call.answer.as_ref().map(|(_, output)| output);
        model.step(state, &call.input, output).iter().any(|next| has_order(model, &rest, next))
    })
}

fn agree<M: Model>(model: &M, calls: &[Operation<M::Input, M::Output>]) -> bool {
    let naive = has_order(model, &calls.iter().collect(), &model.initial());
    match check(model, calls, BOUNDS) {
        Verdict::Linearizable => assert!(naive, "accepted what has no order"),
        Verdict::Violated(counterexample) => {
            assert!(!naive, "rejected what has an order: {counterexample}");
            assert!(counterexample.calls.contains(&counterexample.culprit), "{counterexample}");
            assert!(!counterexample.before.is_empty(), "{counterexample}");
        }
        Verdict::Undecided { steps } => panic!("small, and undecided after {steps} steps"),
    }
    naive
}

/// A register that also knows an uncertain write: it may or may not store.
struct Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Write(u8),
    TryWrite(u8),
    Read,
}

impl Model for Register {
    type State = u8;
    type Input = Ask;
    type Output = u8;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, input: &Ask, output: Option<&u8>) -> Vec<u8> {
        match (input, output) {
            (Ask::Write(value), _) => vec![*value],
            (Ask::TryWrite(value), _) => vec![*state, *value],
            (Ask::Read, Some(value)) if value == state => vec![*state],
            (Ask::Read, _) => Vec::new(),
        }
    }

    fn show_call(&self, input: &Ask, output: Option<&u8>) -> String {
        format!("{input:?} {output:?}")
    }

    fn show_state(&self, state: &u8) -> String {
        state.to_string()
    }
}

prop_compose! {
    fn register_calls()(
        calls in proptest::collection::vec((0..12_u64, proptest::option::of(0..6_u64), 0..5_u8, 0..3_u8), 1..7),
    ) -> Vec<Operation<Ask, u8>> {
        let call = |(id, (invoked, took, kind, value)): (u64, (u64, Option<u64>, u8, u8))| Operation {
            id: CallId(id),
            client: ClientNumber(0),
            invoked,
            input: match kind { 0 | 1 => Ask::Write(value), 2 => Ask::TryWrite(value), _ => Ask::Read },
            answer: took.map(|took| (invoked + took, value)),
        };
        (0..).zip(calls).map(call).collect()
    }
}

fn uids() -> impl Strategy<Value = paceline_types::JobUid> {
    (1..4_u64).prop_map(|revision| paceline_types::JobUid {
        revision: paceline_types::Revision(revision),
        ordinal: 0,
    })
}

fn selectors() -> impl Strategy<Value = Selector> {
    prop_oneof![Just(Selector::Newest), uids().prop_map(Selector::Uid)]
}

fn states() -> impl Strategy<Value = paceline_types::JobState> {
    use paceline_types::JobState::{Active, Killed, Stopping};
    proptest::sample::select(vec![Active, Active, Stopping, Killed])
}

/// Any question with any answer that fits it.
fn job_calls() -> impl Strategy<Value = (Input, Output)> {
    use crate::history::Refused::{Conflict, NameInUse, NotFound};
    let refused = |why| Output::Refused(why);
    prop_oneof![
        4 => (0..2_u64, uids(), any::<bool>(), 0..4_u8).prop_map(move |(spec, uid, existing, no)| {
            let output = if no == 0 { refused(NameInUse) } else { Output::Submitted { uid, existing } };
            (Input::Submit { spec }, output)
        }),
        1 => (selectors(), uids(), states(), 0..3_u8).prop_map(move |(which, uid, state, no)| {
            (Input::Stop(which), if no == 0 { refused(NotFound) } else { Output::Stopping { uid, state } })
        }),
        1 => (selectors(), uids(), 0..4_u8).prop_map(move |(which, uid, no)| {
            let output = match no {
                0 => refused(NotFound),
                1 => refused(Conflict),
                _ => Output::Deleted { uid },
            };
            (Input::Delete(which), output)
        }),
        2 => (selectors(), uids(), states(), 0..4_u8).prop_map(move |(which, uid, state, no)| {
            (Input::Get(which), if no == 0 { refused(NotFound) } else { Output::Seen { uid, state } })
        }),
        1 => (any::<bool>(), proptest::collection::btree_map(uids(), states(), 0..3)).prop_map(
            |(retired, listed)| (Input::List { retired }, Output::Listed(listed.into_iter().collect()))
        ),
    ]
}

/// When a call began, how long it took, and what it was.
type Timed = (u64, Option<u64>, (Input, Output));

fn any_job_history() -> impl Strategy<Value = Vec<JobOperation>> {
    let timed = (0..12_u64, proptest::option::weighted(0.8, 0..6_u64), job_calls());
    proptest::collection::vec(timed, 1..6).prop_map(|calls| {
        let call = |(id, (invoked, took, (input, output))): (u64, Timed)| {
            let answer = took.map(|took| (invoked + took, output));
            JobOperation { id: CallId(id), client: ClientNumber(0), invoked, input, answer }
        };
        (0..).zip(calls).map(call).collect()
    })
}

fn models() -> impl Strategy<Value = JobModel> {
    let retirement = vec![Retirement::Never, Retirement::Retire, Retirement::Forget];
    (any::<bool>(), proptest::sample::select(retirement))
        .prop_map(|(ends, retirement)| JobModel { ends, retirement })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_register_is_judged_as_by_trying_every_order(calls in register_calls()) {
        agree(&Register, &calls);
    }

    #[test]
    fn jobs_are_judged_as_by_trying_every_order(calls in any_job_history(), model in models()) {
        agree(&model, &calls);
    }
}

/// Histories that are nearly right are where a checker errs: those of the reference, some with one answer exchanged.
#[test]
fn nearly_right_histories_are_judged_as_by_trying_every_order() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..2_000 {
        let plan = Plan { calls: 6, names: 1, clients: 3, unanswered_percent: 20, reuse_percent: 0 };
        let mut random = Random::new(seed);
        let history = generate(&plan, &mut random);
        for mut calls in partition(&history).into_values() {
            if seed % 2 == 1 && calls.len() > 1 {
                let (one, other) = (random.below(calls.len()), random.below(calls.len()));
                let answer = calls[other].answer.clone();
                if let (Some((_, mine)), Some((_, theirs))) = (&mut calls[one].answer, answer) {
                    *mine = theirs;
                }
            }
            if agree(&JobModel::default(), &calls) { right += 1 } else { wrong += 1 }
        }
    }
    assert!(right > 1_000 && wrong > 300, "{right} right and {wrong} wrong: too few of one kind");
}
