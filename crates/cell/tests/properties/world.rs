//! Histories that mean something: steps of small numbers, made into commands by looking at the cell.

use std::sync::Arc;

use paceline_cell::{
    Cell, Command, CommandBody, ConfigChange, Entry, JobSelector, ReportedRun, ReportedState, RequestId,
    Setting,
};
use paceline_rules::{JobSpec, Override, SIMULATED, Simulate, Taint};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, Generation, IndexRange, IndexSet, JobUid, NodeEpoch, NodeId,
    Reason, Resources, Revision,
};
use proptest::prelude::*;

/// The job and the node of this number are simulated.
const SIMULATED_ONE: u8 = 3;

/// One step; the numbers choose among what is there.
#[derive(Clone, Debug)]
pub enum Step {
    Submit { name: u8, tasks: u32, max_attempts: u32, max_failed: Option<u32>, max_running: Option<u32> },
    Stop { job: usize },
    Delete { job: usize },
    Register { node: u8, instance: u8, boot: u8, cpu: u64 },
    Operate { node: u8, what: u8 },
    WriteOff { node: usize, silent_ms: u64, slip: u8 },
    Shard { shard: u8, address: u8, remove: bool },
    Assign { job: usize, node: usize, first: u32, span: u32, slip: u8 },
    Report { node: usize, from: usize, count: usize, end: Option<u8>, slip: u8 },
    Tick { step_ms: u64 },
    Retire { count: usize },
    Config { records: u64 },
    Generation,
}

/// A step, and the client that asks for it where one does.
#[derive(Clone, Debug)]
pub struct Asked {
    pub step: Step,
    pub client: Option<(u8, u64, u64)>,
}

pub fn history(len: usize) -> impl Strategy<Value = Vec<Vec<Asked>>> {
    proptest::collection::vec(proptest::collection::vec(asked(), 1..4), 1..len)
}

fn asked() -> impl Strategy<Value = Asked> {
    let client = proptest::option::weighted(0.2, (0_u8..3, 0_u64..6, 0_u64..4));
    (step(), client).prop_map(|(step, client)| Asked { step, client })
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::option::weighted(0.3, 0_u32..6);
    prop_oneof![
        3 => (0_u8..4, 0_u32..12, 1_u32..4, some(), some()).prop_map(
            |(name, tasks, max_attempts, max_failed, max_running)|
            Step::Submit { name, tasks, max_attempts, max_failed, max_running }),
        1 => (0_usize..6).prop_map(|job| Step::Stop { job }),
        1 => (0_usize..6).prop_map(|job| Step::Delete { job }),
        3 => (0_u8..4, 1_u8..3, 1_u8..3, 0_u64..2_000).prop_map(
            |(node, instance, boot, cpu)| Step::Register { node, instance, boot, cpu }),
        1 => (0_u8..4, 0_u8..8).prop_map(|(node, what)| Step::Operate { node, what }),
        2 => (0_usize..4, prop_oneof![0_u64..60, 0_u64..60_000], 0_u8..6).prop_map(
            |(node, silent_ms, slip)| Step::WriteOff { node, silent_ms, slip }),
        1 => (0_u8..3, 0_u8..2, any::<bool>()).prop_map(
            |(shard, address, remove)| Step::Shard { shard, address, remove }),
        12 => (0_usize..6, 0_usize..4, 0_u32..12, 0_u32..6, 0_u8..12).prop_map(
            |(job, node, first, span, slip)| Step::Assign { job, node, first, span, slip }),
        12 => (0_usize..4, 0_usize..4, 1_usize..6, proptest::option::of(0_u8..12), 0_u8..12).prop_map(
            |(node, from, count, end, slip)| Step::Report { node, from, count, end, slip }),
        1 => (0_u64..6_000).prop_map(|step_ms| Step::Tick { step_ms }),
        1 => (0_usize..3).prop_map(|count| Step::Retire { count }),
        1 => (0_u64..3_000).prop_map(|records| Step::Config { records }),
        1 => Just(Step::Generation),
    ]
}

/// The entry that the steps mean in this cell.
pub fn entry(cell: &Cell, asked: &[Asked]) -> Entry {
    let commands = asked.iter().map(|asked| Command {
        request: asked.client.map(|(client, sequence, lowest_unanswered)| RequestId {
            principal: format!("user/{}", client % 2),
            client: [client; 16],
            sequence,
            lowest_unanswered,
            floor: Revision(cell.revision().0 / 2),
        }),
        body: body(cell, &asked.step),
    });
    Entry { unix_ms: 1_000, commands: commands.collect() }
}

fn body(cell: &Cell, step: &Step) -> CommandBody {
    match step {
        Step::Submit { name, tasks, max_attempts, max_failed, max_running } => {
            let mut spec =
                JobSpec::batch(&format!("j{name}"), *tasks, &["/bin/true"], Resources::new(100, 10));
            spec.max_attempts = *max_attempts;
            spec.max_failed_tasks = *max_failed;
            spec.max_running = *max_running;
            spec.replace_after_ms = [Some(10), Some(50), None][usize::from(*name % 3)];
            spec.at_most_one = *tasks % 3 == 2;
            spec.simulate = (*name == SIMULATED_ONE).then_some(Simulate::lasting(5));
            let heavy = IndexRange::new(1, 2).filter(|range| range.last() < *tasks);
            let resources = Some(Resources::new(300, 7));
            let over =
                |range| Override { tasks: IndexSet::from_iter([range]), resources, ..Override::default() };
            spec.overrides = heavy.map(over).into_iter().collect();
            CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 1 }
        }
        Step::Stop { job } => CommandBody::StopJob { job: JobSelector::Uid(uid(cell, *job)) },
        Step::Delete { job } => CommandBody::DeleteJob { job: JobSelector::Name(format!("j{}", job % 4)) },
        Step::Register { node, instance, boot, cpu } => CommandBody::RegisterNode {
            name: format!("n{node}").parse().expect("a name"),
            instance: AgentInstance([*instance; 16]),
            boot: BootId([*boot; 16]),
            capacity: Resources::new(*cpu, 1_000),
            labels: [("cpu".to_owned(), cpu.to_string())].into(),
            capabilities: if *node == SIMULATED_ONE { vec![SIMULATED.to_owned()] } else { Vec::new() },
        },
        Step::Operate { node, what } => operate(*node, *what),
        Step::WriteOff { node, silent_ms, slip } => {
            let node = cell.nodes().nth(node % cell.node_count().max(1));
            CommandBody::WriteOffNode {
                node: node.map_or(NodeId(9), |node| node.id),
                epoch: NodeEpoch(node.map_or(1, |node| node.epoch.0) - u32::from(*slip == 0)),
                silent_ms: *silent_ms,
            }
        }
        Step::Shard { shard, address, remove } => {
            let name = format!("s{shard}").parse().expect("a name");
            if *remove {
                CommandBody::RemoveShard { name }
            } else {
                CommandBody::RegisterShard { name, address: format!("host:{address}") }
            }
        }
        Step::Assign { job, node, first, span, slip } => assign(cell, *job, *node, *first, *span, *slip),
        Step::Report { node, from, count, end, slip } => report(cell, *node, *from, *count, *end, *slip),
        Step::Tick { step_ms } => CommandBody::Tick { from_ms: cell.clock_ms(), step_ms: *step_ms },
        Step::Retire { count } => {
            CommandBody::Retire { jobs: cell.retirable().into_iter().take(*count).collect() }
        }
        Step::Config { records } => CommandBody::SetConfig(ConfigChange {
            settings: [(Setting::RequestRecords, *records), (Setting::RequestRetentionMs, 10_000)].into(),
            failure_domains: None,
        }),
        Step::Generation => {
            CommandBody::RaiseGeneration { to: Generation(cell.generation().0.saturating_add(1)) }
        }
    }
}

fn operate(node: u8, what: u8) -> CommandBody {
    let node = format!("n{node}").parse().expect("a name");
    let pair = ("zone".to_owned(), "a".to_owned());
    let taint = Taint { key: "gpu".to_owned(), value: String::new() };
    match what {
        0 => CommandBody::DrainNode { node },
        1 | 2 => CommandBody::ResumeNode { node },
        3 => CommandBody::LabelNode { node, set: [pair].into(), unset: Vec::new() },
        4 => CommandBody::TaintNode { node, set: vec![taint], unset: Vec::new() },
        5 => CommandBody::TaintNode { node, set: Vec::new(), unset: vec!["gpu".to_owned()] },
        6 => CommandBody::RemoveNode { node },
        _ => CommandBody::ReplaceNode { node },
    }
}

fn uid(cell: &Cell, job: usize) -> JobUid {
    let jobs = cell.job_count().max(1);
    cell.jobs().nth(job % jobs).map(|job| job.uid).unwrap_or_default()
}

/// Mostly what a scheduler would propose; now and then with a slip.
fn assign(cell: &Cell, job: usize, node: usize, first: u32, span: u32, slip: u8) -> CommandBody {
    let uid = uid(cell, job);
    let node = cell.nodes().nth(node % cell.node_count().max(1));
    let runs: Vec<_> = cell.job(uid).map(|job| job.pending_runs().collect()).unwrap_or_default();
    let chosen = runs.get(first as usize % runs.len().max(1)).copied();
    let (follows, range) =
        chosen.unwrap_or((Attempt(0), IndexRange::new(first, first + span).expect("in order")));
    let last = range.last().min(range.first() + span);
    let tasks = match slip {
        0 => IndexSet::default(),
        1 => IndexRange::new(first, first + span).into_iter().collect(),
        _ => IndexRange::new(range.first(), last).into_iter().collect(),
    };
    CommandBody::Assign {
        job: uid,
        follows: Attempt(follows.0 + u32::from(slip == 2)),
        node: node.map_or(NodeId(9), |node| node.id),
        epoch: NodeEpoch(node.map_or(1, |node| node.epoch.0) + u32::from(slip == 3)),
        tasks,
    }
}

/// Mostly what an agent would report; now and then with a slip.
fn report(cell: &Cell, node: usize, from: usize, count: usize, end: Option<u8>, slip: u8) -> CommandBody {
    let Some(node) = cell.nodes().nth(node % cell.node_count().max(1)) else {
        return CommandBody::Report { node: NodeId(1), epoch: NodeEpoch(1), runs: Vec::new() };
    };
    let observed = match end {
        None => ReportedState::Running,
        Some(0..=3) => ended(Some(ExitStatus::Code(0)), Reason::ExitedZero),
        Some(4..=7) => ended(Some(ExitStatus::Code(3)), Reason::ExitedNonZero),
        Some(8) => ended(Some(ExitStatus::Signal(9)), Reason::Signaled),
        Some(9) => ended(None, Reason::NotOnNode),
        Some(10) => ended(Some(ExitStatus::Signal(9)), Reason::OutOfMemory),
        Some(_) => ended(None, Reason::None),
    };
    let runs = node.assignments().flat_map(|(job, attempt, tasks)| {
        tasks.iter().map(move |task| (job, attempt, task)).collect::<Vec<_>>()
    });
    let runs = runs.skip(from).take(count).map(|(job, attempt, task)| ReportedRun {
        job,
        attempt: Attempt(attempt.0 + u32::from(slip == 0)),
        tasks: IndexSet::from_iter([IndexRange::one(task)]),
        observed,
    });
    CommandBody::Report {
        node: node.id,
        epoch: NodeEpoch(node.epoch.0 - u32::from(slip == 1)),
        runs: runs.collect(),
    }
}

const fn ended(status: Option<ExitStatus>, reason: Reason) -> ReportedState {
    ReportedState::Ended { status, reason }
}

/// Applies an entry at the next revision, through its bytes, and holds the invariants.
pub fn apply(cell: &mut Cell, entry: &Entry) -> paceline_cell::Applied {
    let bytes = entry.encode().expect("small");
    let decoded = Entry::decode(&bytes).expect("just encoded");
    assert_eq!(decoded, *entry);
    let applied = cell.apply(Revision(cell.revision().0 + 1), &decoded);
    assert_eq!(applied.replies.len(), entry.commands.len());
    assert_eq!(cell.check(), Vec::<String>::new(), "after {entry:?}");
    applied
}
