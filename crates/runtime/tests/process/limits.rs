//! Limits: memory, CPU, output, and what is kept of the forgotten.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use paceline_runtime::{CapabilityCode, LogLimits, LogRetention, LogStream, ObserveError, Runtime};
use paceline_supervisor::cgroup::Mounts;
use paceline_types::{ExitStatus, Reason, Resources};

use crate::node::{Node, attempt, eventually, is_root, launch, script};

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn running_out_of_memory_is_a_reason_of_its_own() {
    let node = Node::new();
    if !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    let mut greedy = launch(&["/usr/bin/tail", "/dev/zero"]);
    greedy.resources = Resources::new(100, 16 << 20);
    let exit = node.run(&greedy);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(9), Reason::OutOfMemory));
    assert!(exit.message.contains("16777216"), "{}", exit.message);
}

#[test]
fn a_child_that_runs_out_of_memory_explains_the_failure_of_its_parent() {
    let node = Node::new();
    if !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    let mut greedy = script("tail /dev/zero; exit 4");
    greedy.resources = Resources::new(100, 16 << 20);
    let exit = node.run(&greedy);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Code(4), Reason::OutOfMemory));
}

#[test]
fn cpu_is_a_weight_and_a_quota_only_with_a_limit() {
    let node = Node::new();
    if !node.enforces(CapabilityCode::CpuWeight) || !node.enforces(CapabilityCode::CpuQuota) {
        return;
    }
    let mount = Mounts::discover().unwrap().cpu.expect("the weight is enforced by it");
    for (task, limit, quota) in [(1, None, "-1"), (2, Some(250), "25000")] {
        let mut sleeper = launch(&["/bin/sleep", "1000"]);
        (sleeper.attempt, sleeper.cpu_limit_milli) = (attempt(task), limit);
        sleeper.resources = Resources::new(500, 0);
        let task = node.start(&sleeper);
        node.running(task);
        let own = |controller: &str| {
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", node.task_of(task))).unwrap();
            let is_own =
                |line: &&str| line.split(':').nth(1).unwrap().split(',').any(|name| name == controller);
            let line = groups.lines().find(is_own).unwrap();
            line.rsplit(':').next().unwrap().trim_start_matches('/').to_owned()
        };
        assert!(!own("memory").contains(&task.to_string()), "no memory was asked for");
        let group = mount.join(own("cpu"));
        assert!(group.ends_with(task.to_string()), "{}", group.display());
        let value = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
        assert_eq!((value("cpu.shares").as_str(), value("cpu.cfs_quota_us").as_str()), ("512", quota));
        node.runtime.stop(&task, 0).unwrap();
        node.exit(task);
        assert_eq!(group.exists(), limit.is_none(), "only a group that is as a new one waits for the next");
    }
}

#[test]
fn no_group_outlives_its_node() {
    let node = Node::with(|options| options.cell = "groups-test".into());
    if !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    let mount = Mounts::discover().unwrap().memory.expect("memory is enforced by it");
    node.run(&launch(&["/bin/true"]));
    assert!(mount.join("paceline/groups-test").exists());
    drop(node);
    assert!(!mount.join("paceline/groups-test").exists());
}

/// The memory groups of a node that has `test-node` for its name, and its folder for the rest.
fn groups_of(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(groups_folder(node)).unwrap().map(|entry| entry.unwrap());
    let groups = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> = groups.map(|group| group.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn groups_folder(node: &Node) -> PathBuf {
    let mount = Mounts::discover().unwrap().memory.expect("memory is enforced by it");
    let folder = fs::metadata(node.path()).unwrap();
    mount.join(format!("paceline/test-cell/test-node.{:x}-{:x}", folder.dev(), folder.ino()))
}

/// Runs it and forgets it.
fn through(node: &Node, task: u32, mut launch: paceline_runtime::Launch) -> paceline_runtime::Exit {
    launch.attempt = attempt(task);
    let exit = node.run(&launch);
    node.runtime.forget(&launch.attempt).unwrap();
    exit
}

#[test]
fn the_groups_of_a_short_task_serve_the_next_one_of_its_limits_and_go_with_the_runtime() {
    let node = Node::new();
    if !is_root() || !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    for task in 1..=3 {
        assert_eq!(through(&node, task, launch(&["/bin/true"])).reason, Reason::ExitedZero);
        assert_eq!(groups_of(&node), [attempt(1).to_string()]);
    }
    let mut smaller = launch(&["/bin/true"]);
    smaller.resources = Resources::new(100, 64 << 20);
    assert_eq!(through(&node, 4, smaller).reason, Reason::ExitedZero);
    assert_eq!(groups_of(&node), [attempt(1).to_string(), attempt(4).to_string()]);
    let folder = groups_folder(&node);
    for (task, limit) in [(1, 256 << 20), (4, 64 << 20)] {
        let file = folder.join(attempt(task).to_string()).join("memory.limit_in_bytes");
        assert_eq!(fs::read_to_string(file).unwrap().trim(), u64::to_string(&limit), "each has its own");
    }
    let node = node.restart(|_| assert!(!folder.exists()));
    assert_eq!(through(&node, 5, launch(&["/bin/true"])).reason, Reason::ExitedZero);
}

#[test]
fn groups_in_which_memory_ran_out_or_is_left_serve_nobody_again() {
    let node = Node::new();
    if !is_root() || !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    let of = |run: &str, mebibytes: u64| {
        let mut launch = script(run);
        launch.resources = Resources::new(100, mebibytes << 20);
        launch
    };
    let greedy = through(&node, 1, of("tail /dev/zero; exit 0", 16));
    assert_eq!(greedy.reason, Reason::ExitedZero, "it took its child's end well");
    assert_eq!(groups_of(&node), [""; 0]);
    let killed = through(&node, 2, of("kill -9 $$", 16));
    assert_eq!(killed.reason, Reason::Signaled, "no kill of another task explains this one");
    let made_again = [attempt(1).to_string()];
    assert_eq!(groups_of(&node), made_again, "the name is free, and what was missing is there");
    through(&node, 3, of("head -c 50000000 /dev/zero > file", 256));
    assert_eq!(groups_of(&node), made_again, "what was written is still charged");
    through(&node, 4, of("setsid sleep 1000 & exit 0", 32));
    assert_eq!(groups_of(&node), made_again, "a process was killed in them");
}

#[test]
fn groups_that_a_running_task_has_from_another_stay_its_own_when_the_agent_comes_back() {
    let node = Node::new();
    if !is_root() || !node.enforces(CapabilityCode::MemoryLimit) {
        return;
    }
    through(&node, 1, launch(&["/bin/true"]));
    let mut sleeper = launch(&["/bin/sleep", "1000"]);
    sleeper.attempt = attempt(2);
    let task = node.start(&sleeper);
    node.running(task);
    let node = node.restart(|_| {});
    assert_eq!(groups_of(&node), [attempt(1).to_string()], "they are the running task's");
    assert_eq!(through(&node, 3, launch(&["/bin/true"])).reason, Reason::ExitedZero);
    assert_eq!(groups_of(&node).len(), 2, "the next one has others");
    node.runtime.stop(&task, 0).unwrap();
    node.exit(task);
    node.runtime.forget(&task).unwrap();
    assert_eq!(groups_of(&node), [attempt(3).to_string()], "an agent keeps only groups of its own orders");
}

#[test]
fn output_stays_within_its_bound_and_keeps_its_end() {
    let limits = LogLimits { segment_bytes: 10_000, segments: 3 };
    let node = Node::with(|options| options.logs = limits);
    let task = node.start(&script("seq 1 200000; seq 1 200000 >&2"));
    assert_eq!(node.exit(task).status, ExitStatus::Code(0));
    assert!(size(&node.folder_of(task).join("log")) <= 2 * 30_000);
    let whole: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    for stream in [LogStream::Stdout, LogStream::Stderr] {
        let chunk = node.runtime.read_log(&task, stream, 0, 1 << 20).unwrap();
        assert!(chunk.complete && chunk.offset >= whole.len() as u64 - 30_000);
        assert_eq!(chunk.next_offset(), whole.len() as u64);
        assert_eq!(chunk.bytes, whole.as_bytes()[chunk.offset as usize..]);
    }
}

#[test]
fn output_can_be_followed_while_the_task_runs() {
    let node = Node::new();
    let task = node.start(&script("echo one; until [ -e go ]; do sleep 0.02; done; echo two"));
    node.says(task, "one");
    let chunk = node.runtime.read_log(&task, LogStream::Stdout, 0, 100).unwrap();
    assert_eq!((chunk.bytes.as_slice(), chunk.complete), (b"one\n".as_slice(), false));
    fs::write(node.folder_of(task).join("work/go"), "").unwrap();
    node.exit(task);
    let chunk = node.runtime.read_log(&task, LogStream::Stdout, chunk.next_offset(), 100).unwrap();
    assert_eq!((chunk.bytes.as_slice(), chunk.complete), (b"two\n".as_slice(), true));
}

#[test]
fn the_forgotten_keep_their_output_for_a_while_and_nothing_else() {
    let node = Node::with(|options| options.retention = LogRetention { bytes: 1 << 20, attempts: 2 });
    for task in 0..4 {
        let mut talker = script("echo $PACELINE_TASK_INDEX; echo x > file");
        talker.attempt = attempt(task);
        node.run(&talker);
        node.runtime.forget(&attempt(task)).unwrap();
        node.runtime.forget(&attempt(task)).unwrap();
        assert_eq!(node.runtime.observe(&attempt(task)).unwrap(), None);
        assert!(!node.folder_of(attempt(task)).exists());
    }
    eventually("the trash is empty", || fs::read_dir(node.path().join("trash")).unwrap().count() == 0);
    assert_eq!(node.stdout(attempt(3)), "3\n");
    let node = node.restart(|_| {});
    assert_eq!(node.stdout(attempt(2)), "2\n");
    let gone = node.runtime.read_log(&attempt(1), LogStream::Stdout, 0, 10);
    assert!(matches!(gone, Err(ObserveError::Unknown { .. })));
}

#[test]
fn what_runs_cannot_be_forgotten() {
    let node = Node::new();
    let task = node.start(&launch(&["/bin/sleep", "1000"]));
    assert!(matches!(node.runtime.forget(&task), Err(ObserveError::NotEnded { .. })));
    node.runtime.stop(&task, 0).unwrap();
    node.exit(task);
    node.runtime.forget(&task).unwrap();
}

#[test]
fn the_folder_of_a_forgotten_attempt_serves_the_next_one_and_shows_it_nothing() {
    let node = Node::new();
    let inode = |task| fs::metadata(node.folder_of(task).join("work")).unwrap().ino();
    let mut look = script("pwd; ls -a; ls -la .. 2>/dev/null; exit 0");
    let mut seen = Vec::new();
    for number in 1..=3 {
        look.attempt = attempt(number);
        let task = node.start(&look);
        assert_eq!(node.exit(task).reason, Reason::ExitedZero);
        let work = node.folder_of(task).join("work");
        let expected = format!("{}\n.\n..\n", work.display());
        assert!(node.stdout(task).starts_with(&expected), "{}", node.stdout(task));
        seen.push(inode(task));
        node.runtime.forget(&task).unwrap();
        assert_eq!(node.runtime.observe(&task).unwrap(), None);
        assert!(!node.folder_of(task).exists());
    }
    assert!(seen.iter().all(|inode| *inode == seen[0]), "{seen:?}");
    look.attempt = attempt(4);
    look.run[2] = "echo x > left-behind".into();
    let task = node.start(&look);
    node.exit(task);
    node.runtime.forget(&task).unwrap();
    let spares = node.path().join("spare");
    assert_eq!(fs::read_dir(&spares).unwrap().count(), 0, "what a task wrote goes");
    node.exit(node.start(&launch(&["/bin/true"])));
    node.runtime.forget(&attempt(7)).unwrap();
    assert_eq!(fs::read_dir(&spares).unwrap().count(), 1);
    let node = node.restart(|_| {});
    assert_eq!(fs::read_dir(&spares).unwrap().count(), 0, "another agent does not trust it");
    eventually("it is thrown away", || fs::read_dir(node.path().join("trash")).unwrap().count() == 0);
}
