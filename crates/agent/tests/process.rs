//! The runtime of a real node as the agent opens it, and the end of all its tasks: real processes under the
//! real supervisor.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it stands")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use paceline_agent::{AgentConfig, EndError, end_tasks, process_runtime};
use paceline_runtime::{Exit, Launch, LogStream, Observed, OpenError, Runtime};
use paceline_types::{AttemptId, ExitStatus, Reason, Resources};

/// Looks at something that follows within milliseconds; far more of them than that takes.
const LOOKS: u32 = 3_000;

/// The binary beside the test's own; cargo does not build it for us, because it is another package's.
fn supervisor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let profile = own.parent().and_then(Path::parent).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "paceline-supervisor"]);
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the supervisor cannot be built");
        profile.join("paceline-supervisor")
    })
}

fn id(task: u32) -> AttemptId {
    format!("42-0.{task}.1").parse().unwrap()
}

fn launch(task: u32, script: &str) -> Launch {
    Launch {
        attempt: id(task),
        job_name: "job".into(),
        task_count: 10,
        run: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::new(),
        user: None,
        resources: Resources::new(100, 64 << 20),
        cpu_limit_milli: None,
        time_limit_ms: None,
        grace_ms: 100,
        at_most_one: false,
        script: None,
    }
}

fn config(data_dir: &Path) -> AgentConfig {
    AgentConfig::of_this_machine("c1", "n1".parse().unwrap(), data_dir.to_owned()).unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

fn exit(runtime: &dyn Runtime, task: u32) -> Exit {
    match runtime.observe(&id(task)).unwrap() {
        Some(Observed::Exited(exit)) => exit,
        other => panic!("it has not ended: {other:?}"),
    }
}

#[test]
fn ending_the_tasks_of_a_node_ends_the_stubborn_too_and_keeps_every_record() {
    let data = tempfile::tempdir().unwrap();
    let runtime = process_runtime(&config(data.path()), supervisor()).unwrap();
    runtime.launch(&launch(0, "exit 3")).unwrap();
    runtime.launch(&launch(1, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done")).unwrap();
    runtime.launch(&launch(2, "trap '' TERM; echo ready; while :; do sleep 1; done")).unwrap();
    let ended = |task| matches!(runtime.observe(&id(task)).unwrap(), Some(Observed::Exited(_)));
    eventually("the first has ended", || ended(0));
    let said = |task| runtime.read_log(&id(task), LogStream::Stdout, 0, 100).unwrap().bytes;
    eventually("the others run", || [1, 2].iter().all(|task| said(*task) == b"ready\n"));
    drop(runtime);
    assert_eq!(end_tasks("c1", "n1", data.path(), supervisor()).unwrap(), 2, "one had ended by itself");
    let runtime = process_runtime(&config(data.path()), supervisor()).unwrap();
    let ends = [0, 1, 2].map(|task| exit(&*runtime, task)).map(|exit| (exit.status, exit.reason));
    assert_eq!(
        ends,
        [
            (ExitStatus::Code(3), Reason::ExitedNonZero),
            (ExitStatus::Code(5), Reason::JobStopped),
            (ExitStatus::Signal(9), Reason::JobStopped),
        ]
    );
    drop(runtime);
    assert_eq!(end_tasks("c1", "n1", data.path(), supervisor()).unwrap(), 0, "nothing is left to end");
}

#[test]
fn a_node_that_never_ran_anything_has_nothing_to_end_and_gets_no_folder() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(end_tasks("c1", "n1", data.path(), supervisor()).unwrap(), 0);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn the_tasks_of_a_node_whose_agent_runs_are_not_ended_behind_its_back() {
    let data = tempfile::tempdir().unwrap();
    let runtime = process_runtime(&config(data.path()), supervisor()).unwrap();
    let refused = end_tasks("c1", "n1", data.path(), supervisor());
    assert!(matches!(refused, Err(EndError::Open(OpenError::InUse { .. }))), "{refused:?}");
    drop(runtime);
}

#[test]
fn one_task_that_cannot_be_told_does_not_keep_the_others_from_their_end() {
    let data = tempfile::tempdir().unwrap();
    let runtime = process_runtime(&config(data.path()), supervisor()).unwrap();
    for task in [0, 1] {
        runtime.launch(&launch(task, "echo ready; sleep 1000")).unwrap();
    }
    let said = |task| runtime.read_log(&id(task), LogStream::Stdout, 0, 100).unwrap().bytes;
    eventually("both run", || [0, 1].iter().all(|task| said(*task) == b"ready\n"));
    drop(runtime);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let attempts = data.path().join("runtime/attempts").join(boot.trim());
    let in_the_way = attempts.join(id(0).to_string()).join("stop");
    std::fs::create_dir(&in_the_way).unwrap();
    let refused = end_tasks("c1", "n1", data.path(), supervisor());
    assert!(matches!(refused, Err(EndError::Stop(_))), "{refused:?}");
    let runtime = process_runtime(&config(data.path()), supervisor()).unwrap();
    let ended = |task| matches!(runtime.observe(&id(task)).unwrap(), Some(Observed::Exited(_)));
    eventually("the other has ended", || ended(1));
    assert!(!ended(0));
    drop(runtime);
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(end_tasks("c1", "n1", data.path(), supervisor()).unwrap(), 1);
}
