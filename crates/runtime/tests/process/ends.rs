//! How attempts end: by themselves, by a signal, on request, by their time limit, before they began.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use paceline_runtime::{CapabilityCode, Runtime, StopError};
use paceline_types::{ExitStatus, Reason};

use crate::node::{Node, alive, attempt, eventually, launch, script};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Starts a child in the task's group and one in a session of its own; none of the three heeds SIGTERM.
const STUBBORN_FAMILY: &str = "trap '' TERM
sh -c 'trap \"\" TERM; echo child $$; while :; do sleep 1; done' &
setsid sh -c 'trap \"\" TERM; echo stray $$; while :; do sleep 1; done' &
echo parent $$
while :; do sleep 1; done";

fn family(node: &Node) -> Vec<u32> {
    ["child", "stray", "parent"].iter().for_each(|word| node.says(attempt(7), word));
    let numbers = |line: &str| line.split(' ').nth(1).and_then(|pid| pid.parse().ok());
    let pids: Vec<u32> = node.stdout(attempt(7)).lines().filter_map(numbers).collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| alive(*pid)));
    pids
}

#[test]
fn exit_codes_arrive() {
    let node = Node::new();
    let exit = node.run(&launch(&["/bin/true"]));
    assert_eq!(
        (exit.status, exit.reason, exit.message.as_str()),
        (ExitStatus::Code(0), Reason::ExitedZero, "")
    );
    assert!(exit.pid > 0 && exit.started_unix_ms > 0 && exit.ended_unix_ms >= exit.started_unix_ms);
    let mut other = script("exit 3");
    other.attempt = attempt(8);
    let exit = node.run(&other);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Code(3), Reason::ExitedNonZero));
}

#[test]
fn a_signal_from_elsewhere_is_told_apart() {
    let exit = Node::new().run(&script("kill -USR1 $$"));
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(10), Reason::Signaled));
}

#[test]
fn the_time_limit_ends_a_task_with_sigterm() {
    let mut task = launch(&["/bin/sleep", "1000"]);
    (task.time_limit_ms, task.grace_ms) = (Some(50), 60_000);
    let exit = Node::new().run(&task);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(SIGTERM), Reason::TimeLimit));
}

/// A signal to its own group would find nobody there.
#[test]
fn a_task_that_joins_another_process_group_is_ended_all_the_same() {
    let leaves = "exec perl -e 'setpgrp(0, getppid()) or die $!; sleep 1000'";
    let mut task = script(leaves);
    (task.time_limit_ms, task.grace_ms) = (Some(500), 60_000);
    let exit = Node::new().run(&task);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(SIGTERM), Reason::TimeLimit));
}

#[test]
fn after_the_grace_everything_of_a_stubborn_task_is_killed() {
    for cgroups in [true, false] {
        let node = Node::with(|options| {
            if !cgroups {
                options.cgroup_parent = None;
            }
        });
        let task = node.start(&script(STUBBORN_FAMILY));
        let pids = family(&node);
        node.runtime.stop(&task, 100).unwrap();
        let exit = node.exit(task);
        assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(SIGKILL), Reason::JobStopped));
        assert!(!pids.iter().any(|pid| alive(*pid)), "cgroups {cgroups}");
    }
}

#[test]
fn a_task_that_heeds_sigterm_keeps_its_own_exit_code() {
    let node = Node::new();
    let task = node.start(&script("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"));
    node.says(task, "ready");
    node.runtime.stop(&task, 60_000).unwrap();
    node.runtime.stop(&task, 60_000).unwrap();
    let exit = node.exit(task);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Code(5), Reason::JobStopped));
    assert_eq!(node.stdout(task), "ready\nbye\n");
    node.runtime.stop(&task, 0).unwrap();
    assert_eq!(node.exit(task), exit, "a stop after the end changes nothing");
}

#[test]
fn a_second_stop_shortens_the_grace() {
    let node = Node::new();
    let task = node.start(&script("trap '' TERM; echo ready; while :; do sleep 1; done"));
    node.says(task, "ready");
    node.runtime.stop(&task, 3_600_000).unwrap();
    node.runtime.stop(&task, 0).unwrap();
    let exit = node.exit(task);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(SIGKILL), Reason::JobStopped));
}

#[test]
fn a_stopped_process_hears_the_end() {
    let node = Node::new();
    let task =
        node.start(&script("trap 'exit 6' TERM; echo ready; kill -STOP $$; while :; do sleep 0.05; done"));
    node.says(task, "ready");
    node.runtime.stop(&task, 60_000).unwrap();
    assert_eq!(node.exit(task).status, ExitStatus::Code(6));
}

#[test]
fn a_stop_right_behind_the_launch_is_never_lost() {
    let node = Node::new();
    for task in 0..20 {
        let mut sleeper = launch(&["/bin/sleep", "1000"]);
        sleeper.attempt = attempt(task);
        let task = node.start(&sleeper);
        node.runtime.stop(&task, 0).unwrap();
    }
    for task in 0..20 {
        assert_eq!(node.exit(attempt(task)).reason, Reason::JobStopped);
    }
}

#[test]
fn a_stop_of_an_unknown_attempt_is_refused_by_name() {
    let refused = Node::new().runtime.stop(&attempt(7), 0);
    assert!(matches!(refused, Err(StopError::Unknown { attempt: named }) if named == attempt(7)));
}

#[test]
fn a_command_that_cannot_be_executed_is_named_with_the_kernels_answer() {
    let node = Node::new();
    let plain = node.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let plain = plain.to_str().unwrap();
    for (task, program, answer) in [
        (1, "/no/such/command", "os error 2"),
        (2, plain, "os error 13"),
        (3, "no-such-command", "os error 2"),
    ] {
        let mut missing = launch(&[program]);
        missing.attempt = attempt(task);
        let exit = node.run(&missing);
        assert_eq!((exit.status, exit.reason), (ExitStatus::Code(127), Reason::LaunchFailed));
        assert!(exit.message.contains(program) && exit.message.contains(answer), "{}", exit.message);
        assert_eq!(exit.pid, 0);
    }
}

#[test]
fn a_script_without_its_interpreter_is_explained() {
    let node = Node::new();
    let orphan = node.path().join("orphan");
    fs::write(&orphan, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&orphan, fs::Permissions::from_mode(0o755)).unwrap();
    let exit = node.run(&launch(&[orphan.to_str().unwrap()]));
    assert!(exit.message.contains("its interpreter is not"), "{}", exit.message);
}

#[test]
fn impossible_arguments_and_names_are_launch_failures() {
    let node = Node::new();
    let mut nul = launch(&["/bin/echo", "a\0b"]);
    nul.attempt = attempt(1);
    assert_eq!(node.run(&nul).reason, Reason::LaunchFailed);
    let mut variable = launch(&["/bin/true"]);
    variable.env.insert("A=B".into(), "c".into());
    let exit = node.run(&variable);
    assert_eq!(exit.reason, Reason::LaunchFailed);
    assert!(exit.message.contains("A=B"), "{}", exit.message);
}

/// Each of them starts the next one in a session of its own and ends.
#[test]
fn a_task_that_flees_from_process_to_process_is_caught() {
    let node = Node::new();
    if !node.enforces(CapabilityCode::KillAtOnce) {
        return;
    }
    let text = "echo 'setsid sh ./fly & exit' > fly; echo > flown; sh ./fly; sleep 1000";
    let task = node.start(&script(text));
    let work = node.folder_of(task).join("work");
    eventually("it flies", || work.join("flown").exists());
    node.runtime.stop(&task, 0).unwrap();
    let exit = node.exit(task);
    assert_eq!((exit.reason, exit.message.as_str()), (Reason::JobStopped, ""));
}

#[test]
fn what_a_task_leaves_behind_ends_with_it() {
    let node = Node::new();
    let text =
        "setsid sh -c 'echo stray $$; sleep 1000' & sleep 1000 & until [ -s said ]; do sleep 0.01; done";
    let task = node.start(&script(&text.replace("echo stray $$", "echo stray $$; echo x > said")));
    assert_eq!(node.exit(task).status, ExitStatus::Code(0));
    let stray: u32 = node.stdout(task).trim().strip_prefix("stray ").unwrap().parse().unwrap();
    eventually("the stray is gone", || !alive(stray));
}
