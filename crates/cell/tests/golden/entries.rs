//! Entries: each command on its own, neighbours in columns, and one entry with everything.

use std::sync::Arc;

use paceline_cell::{
    Command, CommandBody, ConfigChange, Entry, JobSelector, ReportedRun, ReportedState, RequestId, Setting,
};
use paceline_rules::{
    Constraint, Failures, JobSpec, Kills, LaunchFaults, Operator, Override, RunsMs, Simulate, Taint,
    Toleration,
};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, FeatureLevel, Generation, IndexSet, JobUid, NodeEpoch,
    NodeId, NodeName, OnStop, Reason, Resources, Revision, ShardName,
};

use crate::golden;

fn set(text: &str) -> IndexSet {
    text.parse().expect("valid")
}

fn node() -> NodeName {
    "rack-1.node-7".parse().expect("a name")
}

fn shard() -> ShardName {
    "east".parse().expect("a name")
}

fn uid(revision: u64, ordinal: u32) -> JobUid {
    JobUid { revision: Revision(revision), ordinal }
}

/// A specification with every field set that real jobs have.
pub fn full_spec() -> JobSpec {
    let mut spec = JobSpec::batch("words", 20_000, &["/usr/bin/wc", "-w"], Resources::new(250, 64 << 20));
    spec.template.env = [("LANG".to_owned(), "C".to_owned())].into();
    spec.template.user = Some("batch".to_owned());
    spec.template.cpu_limit_milli = Some(500);
    spec.template.time_limit_ms = Some(60_000);
    spec.overrides = vec![
        Override {
            tasks: set("0-9,12"),
            run: Some(vec!["/bin/true".to_owned()]),
            env: [("WIDE".to_owned(), "1".to_owned())].into(),
            resources: Some(Resources::new(1_000, 1 << 30)),
            time_limit_ms: Some(1),
        },
        Override { tasks: set("19999"), ..Override::default() },
    ];
    spec.max_attempts = 3;
    spec.max_running = Some(0);
    spec.max_failed_tasks = Some(100);
    let term = |operator, values: &[&str]| Constraint {
        label: "zone".to_owned(),
        operator,
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    spec.constraints = vec![
        term(Operator::In, &["a", "b"]),
        term(Operator::NotIn, &["c"]),
        term(Operator::Exists, &[]),
        term(Operator::Absent, &[]),
    ];
    spec.tolerations = vec![
        Toleration { key: "gpu".to_owned(), value: None },
        Toleration { key: "old".to_owned(), value: Some(String::new()) },
    ];
    spec.labels = [("team".to_owned(), "search".to_owned())].into();
    spec
}

/// A specification with every field of a job that only pretends to run.
fn simulated_spec() -> JobSpec {
    let block = Simulate {
        runs: RunsMs { from: 1_000, to: 90_000 },
        failures: Some(Failures { permille: 20, exit_code: 3 }),
        kills: Some(Kills { permille: 10, signal: 11 }),
        out_of_memory_permille: 5,
        on_stop: OnStop::EndsAfter(200),
        launch_faults: Some(LaunchFaults { permille: 7, times: 2 }),
        output_bytes_per_second: 64,
    };
    JobSpec {
        simulate: Some(block),
        ..JobSpec::batch("pretend", 3, &["/bin/true"], Resources::new(10, 8 << 20))
    }
}

fn assign(node: u32, tasks: &str) -> CommandBody {
    CommandBody::Assign {
        job: uid(42, 1),
        follows: Attempt(0),
        node: NodeId(node),
        epoch: NodeEpoch(1),
        tasks: set(tasks),
    }
}

fn report(node: u32, runs: &[(&str, ReportedState)]) -> CommandBody {
    let run = |(tasks, observed): &(&str, ReportedState)| ReportedRun {
        job: uid(42, 1),
        attempt: Attempt(1),
        tasks: set(tasks),
        observed: *observed,
    };
    CommandBody::Report { node: NodeId(node), epoch: NodeEpoch(2), runs: runs.iter().map(run).collect() }
}

fn ended(status: Option<ExitStatus>, reason: Reason) -> ReportedState {
    ReportedState::Ended { status, reason }
}

/// Every command, in the order of the enum.
fn bodies() -> Vec<(&'static str, CommandBody)> {
    let settings = [(Setting::HeartbeatMs, 1_000), (Setting::MaxAttempts, 9)].into();
    let zero = ended(Some(ExitStatus::Code(0)), Reason::ExitedZero);
    let term = ended(Some(ExitStatus::Signal(15)), Reason::JobStopped);
    vec![
        (
            "submit_job",
            CommandBody::SubmitJob { spec: Arc::new(full_spec()), submitted_unix_ms: 1_700_000_000_000 },
        ),
        ("stop_job", CommandBody::StopJob { job: JobSelector::Name("words".to_owned()) }),
        ("delete_job", CommandBody::DeleteJob { job: JobSelector::Uid(uid(42, 1)) }),
        (
            "register_node",
            CommandBody::RegisterNode {
                name: node(),
                instance: AgentInstance([0xa1; 16]),
                boot: BootId([0xb2; 16]),
                capacity: Resources::new(64_000, 256 << 30),
                labels: [("zone".to_owned(), "a".to_owned())].into(),
                capabilities: vec!["memory_limit".to_owned(), "no cpu_quota: cgroup v1".to_owned()],
            },
        ),
        ("drain_node", CommandBody::DrainNode { node: node() }),
        ("resume_node", CommandBody::ResumeNode { node: node() }),
        (
            "label_node",
            CommandBody::LabelNode {
                node: node(),
                set: [("disk".to_owned(), "nvme".to_owned())].into(),
                unset: vec!["zone".to_owned()],
            },
        ),
        (
            "taint_node",
            CommandBody::TaintNode {
                node: node(),
                set: vec![Taint { key: "gpu".to_owned(), value: "a100".to_owned() }],
                unset: vec!["old".to_owned()],
            },
        ),
        ("remove_node", CommandBody::RemoveNode { node: node() }),
        ("replace_node", CommandBody::ReplaceNode { node: node() }),
        (
            "write_off_node",
            CommandBody::WriteOffNode { node: NodeId(7), epoch: NodeEpoch(2), silent_ms: 60_500 },
        ),
        ("register_shard", CommandBody::RegisterShard { name: shard(), address: "10.0.0.1:7000".to_owned() }),
        ("remove_shard", CommandBody::RemoveShard { name: shard() }),
        ("assign", assign(7, "0-9,12")),
        ("report", report(7, &[("0-4", ReportedState::Running), ("5,7", zero), ("9", term)])),
        ("tick", CommandBody::Tick { from_ms: 1_000, step_ms: 999 }),
        ("retire", CommandBody::Retire { jobs: vec![uid(42, 1), uid(42, 3), uid(50, 0)] }),
        (
            "set_config",
            CommandBody::SetConfig(ConfigChange { settings, failure_domains: Some(vec!["rack".to_owned()]) }),
        ),
        ("raise_feature_level", CommandBody::RaiseFeatureLevel { to: FeatureLevel(2) }),
        ("raise_generation", CommandBody::RaiseGeneration { to: Generation(3) }),
    ]
}

fn entry(commands: Vec<Command>) -> Entry {
    Entry { unix_ms: 1_700_000_000_123, commands }
}

fn entries() -> Vec<(&'static str, Entry)> {
    let mut entries: Vec<_> =
        bodies().into_iter().map(|(name, body)| (name, entry(vec![body.into()]))).collect();
    let request = RequestId {
        principal: "user/ann".to_owned(),
        client: [0xc3; 16],
        sequence: 5,
        lowest_unanswered: 4,
        floor: Revision(41),
    };
    let asked = |(_, body)| Command { request: Some(request.clone()), body };
    let running = ReportedState::Running;
    let columns = vec![
        assign(7, "0"),
        assign(8, "1"),
        assign(3, "5-6,2"),
        report(7, &[("0", running)]),
        report(8, &[]),
        report(9, &[("1", running), ("2", running)]),
        assign(7, "9"),
    ];
    let mut never = full_spec();
    never.replace_after_ms = None;
    let mut soon = full_spec();
    soon.replace_after_ms = Some(2_000);
    let submit = |spec| CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 };
    entries.push(("replace_after", entry(vec![submit(never).into(), submit(soon).into()])));
    let stubborn = Simulate { on_stop: OnStop::Ignores, ..Simulate::lasting(0) };
    let stubborn = JobSpec { simulate: Some(stubborn), ..simulated_spec() };
    let single = JobSpec {
        at_most_one: true,
        ..JobSpec::batch("single", 2, &["/bin/true"], Resources::new(10, 8 << 20))
    };
    let specs = [
        ("submit_simulated", simulated_spec()),
        ("submit_stubborn", stubborn),
        ("submit_at_most_one", single),
    ];
    for (name, spec) in specs {
        let body = CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 1_700_000_000_000 };
        entries.push((name, entry(vec![body.into()])));
    }
    entries.push(("empty", Entry::default()));
    entries.push(("neighbours", entry(columns.into_iter().map(Command::from).collect())));
    entries.push(("everything", entry(bodies().into_iter().map(asked).collect())));
    entries
}

#[test]
fn entries_are_written_and_read_as_ever() {
    let entries = entries();
    let today: Vec<_> =
        entries.iter().map(|(name, entry)| (*name, entry.encode().expect("small").to_vec())).collect();
    let golden = golden("entries.hex", include_str!("entries.hex"), &today);
    for (name, entry) in entries {
        assert_eq!(Entry::decode(&golden[name]), Ok(entry), "{name}");
    }
}

#[test]
fn no_command_is_left_out() {
    let names: Vec<_> = bodies().iter().map(|(name, _)| *name).collect();
    let next = |body: &CommandBody| match body {
        CommandBody::SubmitJob { .. } => "stop_job",
        CommandBody::StopJob { .. } => "delete_job",
        CommandBody::DeleteJob { .. } => "register_node",
        CommandBody::RegisterNode { .. } => "drain_node",
        CommandBody::DrainNode { .. } => "resume_node",
        CommandBody::ResumeNode { .. } => "label_node",
        CommandBody::LabelNode { .. } => "taint_node",
        CommandBody::TaintNode { .. } => "remove_node",
        CommandBody::RemoveNode { .. } => "replace_node",
        CommandBody::ReplaceNode { .. } => "write_off_node",
        CommandBody::WriteOffNode { .. } => "register_shard",
        CommandBody::RegisterShard { .. } => "remove_shard",
        CommandBody::RemoveShard { .. } => "assign",
        CommandBody::Assign { .. } => "report",
        CommandBody::Report { .. } => "tick",
        CommandBody::Tick { .. } => "retire",
        CommandBody::Retire { .. } => "set_config",
        CommandBody::SetConfig(_) => "raise_feature_level",
        CommandBody::RaiseFeatureLevel { .. } => "raise_generation",
        CommandBody::RaiseGeneration { .. } => "submit_job",
    };
    for (_, body) in bodies() {
        assert!(names.contains(&next(&body)));
    }
}
