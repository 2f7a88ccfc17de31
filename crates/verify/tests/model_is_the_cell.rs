//! The model of the linearizability checker against the cell itself: whatever `Cell::apply` answers, one command after
//! the other, the model must find possible; and what the cell answered otherwise, it must not.

use std::sync::Arc;

use paceline_cell::{Cell, Command, CommandBody, Entry, JobSelector, Refusal, Reply};
use paceline_rules::JobSpec;
use paceline_types::{
    AgentInstance, Attempt, BootId, JobState, JobUid, NodeEpoch, NodeId, Resources, Revision,
};
use paceline_verify::history::Refused;
use paceline_verify::linearizable::Model;
use paceline_verify::linearizable::jobs::{Input, JobModel, Jobs, Output, Retirement, Selector};
use proptest::prelude::*;

const NAME: &str = "j";

/// What is done to the cell.
#[derive(Clone, Debug)]
enum Step {
    Submit {
        spec: u32,
    },
    Stop {
        newest: bool,
        pick: usize,
    },
    Delete {
        newest: bool,
        pick: usize,
    },
    Get {
        newest: bool,
        pick: usize,
    },
    List,
    /// A task that waits is bound to a node, so that a stop takes its time.
    Assign,
    /// Everything on the node is told to have been replaced, so that what stops ends.
    Replace,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pick = || (any::<bool>(), 0..8_usize);
    let step = prop_oneof![
        4 => (1..3_u32).prop_map(|spec| Step::Submit { spec }),
        2 => pick().prop_map(|(newest, pick)| Step::Stop { newest, pick }),
        2 => pick().prop_map(|(newest, pick)| Step::Delete { newest, pick }),
        3 => pick().prop_map(|(newest, pick)| Step::Get { newest, pick }),
        1 => Just(Step::List),
        2 => Just(Step::Assign),
        1 => Just(Step::Replace),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The cell, and every uid that it ever gave.
struct Bench {
    cell: Cell,
    uids: Vec<JobUid>,
    node: NodeId,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { cell: Cell::genesis("test"), uids: Vec::new(), node: NodeId(0) };
        let registered = bench.apply(CommandBody::RegisterNode {
            name: "n".parse().expect("a name"),
            instance: AgentInstance([1; 16]),
            boot: BootId([1; 16]),
            capacity: Resources::new(1_000_000, 1 << 40),
            labels: [].into(),
            capabilities: Vec::new(),
        });
        let Reply::NodeRegistered { node, .. } = registered else { panic!("{registered:?}") };
        bench.node = node;
        bench
    }

    fn apply(&mut self, body: CommandBody) -> Reply {
        let entry = Entry { unix_ms: 1, commands: vec![Command::from(body)] };
        let revision = Revision(self.cell.revision().0 + 1);
        self.cell.apply(revision, &entry).replies.remove(0)
    }

    fn selectors(&self, newest: bool, pick: usize) -> (Selector, JobSelector) {
        match self.uids.get(pick % self.uids.len().max(1)).filter(|_| !newest) {
            Some(uid) => (Selector::Uid(*uid), JobSelector::Uid(*uid)),
            None => (Selector::Newest, JobSelector::Name(NAME.into())),
        }
    }

    /// The question and the answer, where the step is a call.
    fn call(&mut self, step: &Step) -> Option<(Input, Output)> {
        match step {
            Step::Submit { spec } => {
                let job = JobSpec::batch(NAME, *spec, &["/bin/true"], Resources::new(1, 1 << 20));
                let body = CommandBody::SubmitJob { spec: Arc::new(job), submitted_unix_ms: 1 };
                let output = output(self.apply(body));
                if let Output::Submitted { uid, existing: false } = &output {
                    self.uids.push(*uid);
                }
                Some((Input::Submit { spec: u64::from(*spec) }, output))
            }
            Step::Stop { newest, pick } => {
                let (selector, job) = self.selectors(*newest, *pick);
                Some((Input::Stop(selector), output(self.apply(CommandBody::StopJob { job }))))
            }
            Step::Delete { newest, pick } => {
                let (selector, job) = self.selectors(*newest, *pick);
                Some((Input::Delete(selector), output(self.apply(CommandBody::DeleteJob { job }))))
            }
            Step::Get { newest, pick } => {
                let (selector, job) = self.selectors(*newest, *pick);
                let found = match &job {
                    JobSelector::Name(name) => self.cell.job_by_name(name),
                    JobSelector::Uid(uid) => self.cell.job(*uid),
                };
                let seen = |job: &paceline_cell::Job| Output::Seen { uid: job.uid, state: job.state };
                Some((Input::Get(selector), found.map_or(Output::Refused(Refused::NotFound), seen)))
            }
            Step::List => {
                let listed = self.cell.jobs().map(|job| (job.uid, job.state)).collect();
                Some((Input::List { retired: true }, Output::Listed(listed)))
            }
            Step::Assign => {
                let job = self.cell.live_job_by_name(NAME).map(|job| job.uid)?;
                self.apply(CommandBody::Assign {
                    job,
                    follows: Attempt(0),
                    node: self.node,
                    epoch: NodeEpoch(1),
                    tasks: "0".parse().expect("a set"),
                });
                None
            }
            Step::Replace => {
                let node = "n".parse().expect("a name");
                self.apply(CommandBody::ReplaceNode { node });
                None
            }
        }
    }
}

fn output(reply: Reply) -> Output {
    match reply {
        Reply::JobSubmitted { uid, existing } => Output::Submitted { uid, existing },
        Reply::JobStopping { uid, state } => Output::Stopping { uid, state },
        Reply::JobDeleted { uid } => Output::Deleted { uid },
        Reply::Refused(Refusal::NameInUse { .. }) => Output::Refused(Refused::NameInUse),
        Reply::Refused(Refusal::NotFound { .. }) => Output::Refused(Refused::NotFound),
        Reply::Refused(Refusal::JobNotTerminal { .. }) => Output::Refused(Refused::Conflict),
        other => panic!("no answer to a call on jobs: {other:?}"),
    }
}

/// What the cell would have to answer differently for.
fn other_answer(output: &Output) -> Output {
    let later = |uid: &JobUid| JobUid { revision: Revision(uid.revision.0 + 1_000_000), ordinal: 0 };
    match output {
        Output::Submitted { uid, existing: true } => Output::Submitted { uid: later(uid), existing: true },
        Output::Submitted { uid, existing: false } => Output::Submitted { uid: *uid, existing: true },
        Output::Stopping { uid, .. } => Output::Stopping { uid: *uid, state: JobState::Active },
        Output::Deleted { uid } => Output::Deleted { uid: later(uid) },
        Output::Seen { uid, state } => Output::Seen { uid: later(uid), state: *state },
        Output::Listed(jobs) => {
            let phantom = JobUid { revision: Revision(9_000_000), ordinal: 0 };
            Output::Listed(jobs.iter().copied().chain([(phantom, JobState::Active)]).collect())
        }
        Output::Refused(Refused::NameInUse) => {
            let uid = JobUid { revision: Revision(9_000_000), ordinal: 0 };
            Output::Submitted { uid, existing: true }
        }
        Output::Refused(_) => Output::Seen {
            uid: JobUid { revision: Revision(9_000_000), ordinal: 0 },
            state: JobState::Active,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_the_cell_answers_is_possible_and_what_it_did_not_is_impossible(steps in steps()) {
        // Nothing ends here but by a stop, and nothing retires.
        let model = JobModel { ends: false, retirement: Retirement::Never };
        let mut bench = Bench::new();
        let mut states: Vec<Jobs> = vec![model.initial()];
        for step in &steps {
            let Some((input, output)) = bench.call(step) else { continue };
            let after = |output: &Output| -> Vec<Jobs> {
                states.iter().flat_map(|state| model.step(state, &input, Some(output))).collect()
            };
            prop_assert_eq!(after(&other_answer(&output)), Vec::<Jobs>::new(), "{:?} instead of {:?}", input, output);
            let next = after(&output);
            prop_assert!(!next.is_empty(), "{input:?} was answered {output:?}, which the model calls impossible: {states:?}");
            states = next;
        }
    }
}
