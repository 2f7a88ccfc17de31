//! What survives whom: the task its agent, the end of a task everybody, nothing its supervisor.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use paceline_runtime::{Observed, OpenError, ProcessOptions, ProcessRuntime, Runtime};
use paceline_supervisor::ProcessStat;
use paceline_types::{ExitStatus, Reason};

use crate::node::{Node, alive, attempt, eventually, kill, launch, script, supervisor};

#[test]
fn a_task_outlives_its_agent_and_its_exit_code_is_not_lost() {
    let node = Node::new();
    let task = node.start(&script("until [ -e go ]; do sleep 0.02; done; exit 7"));
    let pid = node.running(task);
    let node = node.restart(|_| {});
    assert_eq!(node.running(task), pid);
    assert!(alive(pid));
    let folder = node.folder_of(task);
    let node = node.restart(|_| {
        fs::write(folder.join("work/go"), "").unwrap();
        eventually("the end is written", || folder.join("exit").exists());
    });
    assert_eq!(node.runtime.attempts().unwrap().len(), 1);
    let exit = node.exit(task);
    assert_eq!((exit.status, exit.reason, exit.pid), (ExitStatus::Code(7), Reason::ExitedNonZero, pid));
}

#[test]
fn an_inherited_task_can_be_stopped_and_its_end_is_heard() {
    let node = Node::new();
    let task = node.start(&launch(&["/bin/sleep", "1000"]));
    node.running(task);
    let node = node.restart(|_| {});
    node.runtime.stop(&task, 60_000).unwrap();
    assert_eq!(node.exit(task).status, ExitStatus::Signal(15));
}

/// Leaves children in its group, in another session, and in another session without its environment.
const FAMILY: &str = "sleep 1001 & setsid sleep 1002 & echo family; sleep 1003";

fn sleepers(node: &Node) -> Vec<u32> {
    let work = node.folder_of(attempt(7)).join("work");
    let cwd = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == work);
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).filter(cwd).filter(|pid| alive(*pid)).collect()
}

#[test]
fn a_task_does_not_outlive_its_supervisor() {
    for cgroups in [true, false] {
        let node = Node::with(|options| {
            if !cgroups {
                options.cgroup_parent = None;
            }
        });
        let task = node.start(&script(FAMILY));
        eventually("the family is there", || sleepers(&node).len() == 4);
        let pid = node.running(task);
        kill(node.supervisor_of(task));
        let exit = node.exit(task);
        assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(9), Reason::SupervisorDied));
        assert_eq!(exit.pid, pid);
        assert!(exit.message.contains("supervisor"), "{}", exit.message);
        assert_eq!(sleepers(&node), Vec::<u32>::new(), "cgroups {cgroups}");
    }
}

/// Nobody has said yet that it runs, and nobody can say that it did not.
#[test]
fn a_task_whose_supervisor_is_killed_at_once_is_gone_too_and_not_called_executed() {
    let node = Node::new();
    let task = node.start(&script(FAMILY));
    kill(node.supervisor_of(task));
    let exit = node.exit(task);
    assert_eq!(exit.reason, Reason::SupervisorDied, "{}", exit.message);
    assert_eq!(sleepers(&node), Vec::<u32>::new());
}

#[test]
fn a_supervisor_that_is_killed_while_no_agent_is_there_is_found_out() {
    let node = Node::new();
    let task = node.start(&script(FAMILY));
    eventually("the family is there", || sleepers(&node).len() == 4);
    let (holder, pid) = (node.supervisor_of(task), node.running(task));
    let node = node.restart(|_| {
        kill(holder);
        eventually("the task is gone with it", || !alive(pid));
    });
    assert_eq!(node.exit(task).reason, Reason::SupervisorDied);
    assert_eq!(sleepers(&node), Vec::<u32>::new());
}

#[test]
fn an_attempt_is_started_once_however_often_it_is_launched() {
    let node = Node::new();
    let counted = script("echo started; exit 3");
    for _ in 0..3 {
        node.start(&counted);
    }
    node.exit(attempt(7));
    node.start(&counted);
    let node = node.restart(|_| {});
    node.start(&counted);
    assert_eq!(node.exit(attempt(7)).status, ExitStatus::Code(3));
    assert_eq!(node.stdout(attempt(7)), "started\n");
}

/// The nursery that a supervisor was forked from, if it lives.
fn nursery_of(supervisor: u32) -> Option<u32> {
    let parent = ProcessStat::of(supervisor).ok()?.parent;
    (ProcessStat::of(parent).ok()?.parent == std::process::id()).then_some(parent)
}

#[test]
fn a_nursery_that_is_killed_again_and_again_loses_no_launch_and_doubles_none() {
    let node = Node::new();
    let marks = tempfile::tempdir().unwrap();
    fs::set_permissions(marks.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let numbers = 1..=30;
    for number in numbers.clone() {
        // One that lasts, so that its supervisor leads to the nursery.
        let mut lasting = script("until [ -e go ]; do sleep 0.02; done");
        lasting.attempt = attempt(1_000 + number);
        let nursery = nursery_of(node.supervisor_of(node.start(&lasting))).expect("it was just used");
        let mut task = script(&format!("echo x >> {}/{number}", marks.path().display()));
        task.attempt = attempt(number);
        let runtime = &node.runtime;
        let launched = std::thread::scope(|scope| {
            let launched = scope.spawn(|| runtime.launch(&task));
            kill(nursery);
            launched.join().unwrap()
        });
        if launched.is_err() {
            assert_eq!(runtime.observe(&task.attempt).unwrap(), None);
            runtime.launch(&task).unwrap();
        }
        node.runtime.stop(&lasting.attempt, 0).unwrap();
    }
    for number in numbers {
        assert_eq!(node.exit(attempt(number)).reason, Reason::ExitedZero);
        assert_eq!(fs::read_to_string(marks.path().join(number.to_string())).unwrap(), "x\n");
        assert_eq!(node.exit(attempt(1_000 + number)).reason, Reason::JobStopped);
    }
}

#[test]
fn a_nursery_ends_with_its_agent_and_takes_no_task_along() {
    let node = Node::new();
    let task = node.start(&launch(&["/bin/sleep", "1000"]));
    let (pid, nursery) = (node.running(task), nursery_of(node.supervisor_of(task)).unwrap());
    let node = node.restart(|_| assert!(!alive(nursery)));
    assert_eq!(node.running(task), pid);
    node.runtime.stop(&task, 0).unwrap();
    node.exit(task);
}

#[test]
fn an_attempt_that_nobody_took_is_unknown_after_a_restart_and_can_be_launched_again() {
    let node = Node::new();
    let folder = node.folder_of(attempt(7));
    let node = node.restart(|_| {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".intent.1.0"), "half an int").unwrap();
    });
    assert_eq!(node.runtime.observe(&attempt(7)).unwrap(), None);
    assert_eq!(node.run(&launch(&["/bin/true"])).status, ExitStatus::Code(0));
}

#[test]
fn a_damaged_record_is_named_and_nothing_is_guessed() {
    let node = Node::new();
    let task = node.start(&launch(&["/bin/true"]));
    node.exit(task);
    let record = node.folder_of(task).join("exit");
    let node = node.restart(|_| {
        let text = fs::read_to_string(&record).unwrap();
        fs::write(&record, text.replace("code 0", "code 1")).unwrap();
    });
    let error = node.runtime.attempts().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains(record.to_str().unwrap()) && source.contains("damaged"), "{source}");
}

#[test]
fn a_supervisor_that_is_none_starts_nothing_and_its_status_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let options = ProcessOptions::new("c", "n");
    let runtime = ProcessRuntime::open(folder.path(), "/bin/false".into(), options).unwrap();
    for _ in 0..2 {
        let error = runtime.launch(&launch(&["/bin/true"])).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("exit status: 1"), "{source}");
        assert_eq!(runtime.observe(&attempt(7)).unwrap(), None);
    }
    let trash = folder.path().join("trash");
    eventually("what the tries left is gone", || fs::read_dir(&trash).unwrap().next().is_none());
}

/// A nursery that does nothing but answer stands for one whose supervisor finds a full disk. The folder goes first, so
/// that nothing can be written there.
#[test]
fn an_attempt_that_no_supervisor_took_is_a_failed_launch_also_where_nothing_can_be_written() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let program = root.path().join("program");
    let text = format!(
        "#!/bin/sh\nhead -c 4 >&2\nrmdir {}/attempts/*/42-0.7.1\necho '42-0.7.1 failed no space left'\nexec cat >&2\n",
        data.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let runtime = ProcessRuntime::open(&data, program, ProcessOptions::new("c", "n")).unwrap();
    let error = runtime.launch(&launch(&["/bin/true"])).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no space left"), "{source}");
    assert_eq!(runtime.observe(&attempt(7)).unwrap(), None);
}

#[test]
fn a_launch_that_finds_a_folder_of_its_name_fails_and_leaves_it_alone() {
    let node = Node::new();
    let folder = node.folder_of(attempt(7));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("intent"), "of somebody").unwrap();
    node.runtime.launch(&launch(&["/bin/true"])).unwrap_err();
    assert_eq!(fs::read_to_string(folder.join("intent")).unwrap(), "of somebody");
}

#[test]
fn attempts_of_an_earlier_boot_are_lost_by_reboot() {
    let node = Node::new();
    let task = node.start(&launch(&["/bin/sleep", "1000"]));
    node.running(task);
    node.runtime.stop(&task, 0).unwrap();
    node.exit(task);
    let folder = node.folder_of(task);
    let rebooted = |root: &Path| {
        let earlier = root.join("attempts/an-earlier-boot");
        fs::create_dir(&earlier).unwrap();
        fs::remove_file(folder.join("exit")).unwrap();
        fs::rename(&folder, earlier.join(task.to_string())).unwrap();
    };
    let node = node.restart(rebooted);
    assert_eq!(node.exit(task).reason, Reason::NodeRebooted);
    assert!(matches!(node.runtime.attempts().unwrap()[..], [(_, Observed::Exited(_))]));
    node.runtime.forget(&task).unwrap();
    let node = node.restart(|_| {});
    assert!(!node.path().join("attempts/an-earlier-boot").exists());
}

#[test]
fn two_agents_do_not_share_a_data_folder() {
    let node = Node::new();
    let options = ProcessOptions::new("test-cell", "test-node");
    let second = ProcessRuntime::open(node.path(), supervisor(), options);
    assert!(matches!(second, Err(OpenError::InUse { path }) if path == node.path()));
}

#[test]
fn a_missing_supervisor_and_a_wrong_name_are_refused_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let open = |supervisor: &Path, cell: &str| {
        ProcessRuntime::open(folder.path(), supervisor.to_owned(), ProcessOptions::new(cell, "n")).map(drop)
    };
    assert!(matches!(open(Path::new("/no/supervisor"), "c"), Err(OpenError::NoSupervisor { .. })));
    assert!(matches!(open(&supervisor(), "../c"), Err(OpenError::Name(_))));
}

#[test]
fn nudges_arrive_however_long_the_path_of_the_data_folder_is() {
    let root = tempfile::tempdir().unwrap();
    let long = root.path().join("d".repeat(120)).join("e".repeat(120));
    let runtime = ProcessRuntime::open(&long, supervisor(), ProcessOptions::new("c", "n")).unwrap();
    let (told, changes) = std::sync::mpsc::channel();
    runtime.subscribe(Box::new(move |attempt| _ = told.send(attempt)));
    runtime.launch(&launch(&["/bin/true"])).unwrap();
    assert_eq!(changes.recv_timeout(std::time::Duration::from_secs(60)), Ok(attempt(7)));
    eventually("it ended", || matches!(runtime.observe(&attempt(7)), Ok(Some(Observed::Exited(_)))));
}
