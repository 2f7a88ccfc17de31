//! Snapshots, digests and finished jobs.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use paceline_cell::{
    Cell, Command, CommandBody, ConfigChange, Entry, JobSelector, ReportedRun, ReportedState, RequestId,
    RetiredJob, Setting,
};
use paceline_rules::{JobSpec, Taint};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, Generation, JobUid, NodeEpoch, NodeId, Reason, Resources,
    Revision,
};

use crate::entries::full_spec;
use crate::golden;

fn register(name: &str, boot: u8) -> CommandBody {
    CommandBody::RegisterNode {
        name: name.parse().expect("a name"),
        instance: AgentInstance([0xa1; 16]),
        boot: BootId([boot; 16]),
        capacity: Resources::new(8_000, 8 << 30),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        capabilities: vec!["memory_limit".to_owned()],
    }
}

fn submit(name: &str, tasks: u32) -> CommandBody {
    let mut spec = JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(100, 8 << 20));
    spec.max_attempts = 2;
    CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 1_700_000_000_000 }
}

fn assign(revision: u64, node: u32, epoch: u32, tasks: &str) -> CommandBody {
    CommandBody::Assign {
        job: JobUid { revision: Revision(revision), ordinal: 0 },
        follows: Attempt(0),
        node: NodeId(node),
        epoch: NodeEpoch(epoch),
        tasks: tasks.parse().expect("valid"),
    }
}

fn report(revision: u64, tasks: &str, observed: ReportedState) -> CommandBody {
    let run = ReportedRun {
        job: JobUid { revision: Revision(revision), ordinal: 0 },
        attempt: Attempt(1),
        tasks: tasks.parse().expect("valid"),
        observed,
    };
    CommandBody::Report { node: NodeId(1), epoch: NodeEpoch(2), runs: vec![run] }
}

/// A cell in which every stored field is something else than its default.
fn played() -> (Cell, Vec<RetiredJob>) {
    let ended = |code, reason| ReportedState::Ended { status: Some(ExitStatus::Code(code)), reason };
    let name = || "n1".parse().expect("a name");
    let settings = [(Setting::HistoryJobs, 7)].into();
    let taint = Taint { key: "gpu".to_owned(), value: "x".to_owned() };
    let label = [("disk".to_owned(), "nvme".to_owned())];
    let shard = |name: &str| name.parse().expect("a name");
    let steps = vec![
        register("n1", 1),
        register("n1", 2),
        submit("a", 5_000),
        assign(3, 1, 2, "0-9"),
        report(3, "0-5", ReportedState::Running),
        report(3, "0", ended(0, Reason::ExitedZero)),
        report(3, "1", ended(3, Reason::ExitedNonZero)),
        submit("b", 3),
        assign(8, 1, 2, "0-1"),
        CommandBody::StopJob { job: JobSelector::Name("b".to_owned()) },
        report(
            8,
            "0-1",
            ReportedState::Ended { status: Some(ExitStatus::Signal(15)), reason: Reason::Signaled },
        ),
        register("n2", 1),
        CommandBody::ReplaceNode { node: "n2".parse().expect("a name") },
        CommandBody::LabelNode { node: name(), set: label.into(), unset: Vec::new() },
        CommandBody::TaintNode { node: name(), set: vec![taint], unset: Vec::new() },
        CommandBody::DrainNode { node: name() },
        CommandBody::RegisterShard { name: shard("s1"), address: "10.0.0.1:7000".to_owned() },
        CommandBody::RemoveShard { name: shard("s1") },
        CommandBody::RegisterShard { name: shard("s2"), address: "10.0.0.2:7000".to_owned() },
        CommandBody::SetConfig(ConfigChange { settings, failure_domains: Some(vec!["rack".to_owned()]) }),
        CommandBody::RaiseGeneration { to: Generation(4) },
        CommandBody::Tick { from_ms: 0, step_ms: 1_234 },
        CommandBody::SubmitJob { spec: Arc::new(full_spec()), submitted_unix_ms: 1_700_000_000_001 },
        submit("c", 2),
        CommandBody::StopJob { job: JobSelector::Name("c".to_owned()) },
    ];
    let mut cell = Cell::genesis("golden");
    let mut sequence = 0;
    for body in steps {
        let asked = matches!(body, CommandBody::SubmitJob { .. } | CommandBody::DrainNode { .. });
        sequence += u64::from(asked);
        let request = RequestId {
            principal: "user/ann".to_owned(),
            client: [0xc3; 16],
            sequence,
            lowest_unanswered: 2,
            floor: cell.revision(),
        };
        let request = if asked { Some(request) } else { None };
        let entry = Entry { unix_ms: 1_700_000_000_500, commands: vec![Command { request, body }] };
        cell.apply(Revision(cell.revision().0 + 1), &entry);
    }
    cell.apply_undecodable(Revision(cell.revision().0 + 1));
    let retire = CommandBody::Retire { jobs: cell.retirable().into_iter().take(1).collect() };
    let entry = Entry { unix_ms: 0, commands: vec![retire.into()] };
    let retired = cell.apply(Revision(cell.revision().0 + 1), &entry).retired;
    assert_eq!(cell.check(), Vec::<String>::new());
    (cell, retired)
}

/// A cell whose one node was written off, with a job that never waits and one that waits for ever.
fn with_a_lost_node() -> Cell {
    let patient = |name: &str, replace_after_ms| {
        let spec = JobSpec::batch(name, 1, &["/bin/true"], Resources::new(100, 8 << 20));
        let spec = JobSpec { replace_after_ms, ..spec };
        CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 1 }
    };
    let write_off = CommandBody::WriteOffNode { node: NodeId(1), epoch: NodeEpoch(1), silent_ms: 60_000 };
    let mut cell = Cell::genesis("golden");
    for body in [register("n1", 1), patient("a", Some(1)), patient("b", None), write_off] {
        let entry = Entry { unix_ms: 1, commands: vec![body.into()] };
        cell.apply(Revision(cell.revision().0 + 1), &entry);
    }
    cell
}

#[test]
fn snapshots_and_digests_are_written_and_read_as_ever() {
    let (cell, _) = played();
    let chunks: Vec<u8> = cell.snapshot_chunks().flatten().collect();
    let empty: Vec<u8> = Cell::genesis("golden").snapshot_chunks().flatten().collect();
    let lost: Vec<u8> = with_a_lost_node().snapshot_chunks().flatten().collect();
    let today =
        [("empty", empty), ("played", chunks), ("digest", cell.digest().to_vec()), ("lost", lost.clone())];
    let golden = golden("snapshots.hex", include_str!("snapshots.hex"), &today);
    let restored = Cell::restore([Ok::<_, Infallible>(Bytes::from(golden["played"].clone()))]);
    assert_eq!(restored.expect("golden").digest().to_vec(), golden["digest"]);
    let restored = Cell::restore([Ok::<_, Infallible>(Bytes::from(golden["empty"].clone()))]);
    assert_eq!(restored.expect("golden").digest(), Cell::genesis("golden").digest());
    let restored = Cell::restore([Ok::<_, Infallible>(Bytes::from(golden["lost"].clone()))]);
    assert_eq!(restored.expect("golden").digest(), with_a_lost_node().digest());
}

#[test]
fn finished_jobs_are_written_and_read_as_ever() {
    let (_, retired) = played();
    assert_eq!(retired.len(), 1);
    let today = [("stopped", retired[0].encode().to_vec())];
    let golden = golden("finished.hex", include_str!("finished.hex"), &today);
    assert_eq!(RetiredJob::decode(&golden["stopped"]).as_ref(), Ok(&retired[0]));
}
