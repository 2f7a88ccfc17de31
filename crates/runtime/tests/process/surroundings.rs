//! What a task finds around it: environment, user, groups, umask, folder, and no more rights than those.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use paceline_runtime::{AllowedUsers, CapabilityCode, Runtime, TaskUids};
use paceline_types::{ExitStatus, Reason};

use crate::node::{Node, alive, attempt, eventually, is_root, launch, script};

const NOBODY: u32 = 65534;

#[test]
fn the_environment_is_ours_the_jobs_and_nothing_else() {
    let node = Node::new();
    let mut task = launch(&["/usr/bin/env"]);
    task.env = [("GREETING", "two\nlines"), ("LANG", "C"), ("PACELINE_JOB", "forged"), ("PACELINE_X", "y")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    node.run(&task);
    let work = node.folder_of(task.attempt).join("work");
    let work = work.to_str().unwrap();
    let expected = format!(
        "GREETING=two\nlines\nHOME={work}\nLANG=C\nPACELINE_ATTEMPT=1\nPACELINE_CELL=test-cell\n\
         PACELINE_DIR={work}\nPACELINE_JOB=job\nPACELINE_JOB_UID=42-0\nPACELINE_NODE=test-node\n\
         PACELINE_TASK_COUNT=10\nPACELINE_TASK_INDEX=7\nPATH=/usr/local/bin:/usr/bin:/bin\n"
    );
    assert_eq!(node.stdout(task.attempt), expected);
}

#[test]
fn a_task_runs_as_nobody_without_groups_and_cannot_gain_rights() {
    let node = Node::new();
    if !is_root() {
        return;
    }
    node.run(&launch(&["/bin/cat", "/proc/self/status"]));
    let status = node.stdout(attempt(7));
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Uid:"), ["65534"; 4]);
    assert_eq!(line("Gid:"), ["65534"; 4]);
    assert_eq!(line("Groups:"), Vec::<String>::new());
    assert_eq!(line("NoNewPrivs:"), ["1"]);
    assert_eq!(line("CapEff:"), ["0000000000000000"]);
    assert_eq!(line("Umask:"), ["0027"]);
    // The signals that have names; the C library keeps some of the others to itself.
    for mask in ["SigBlk:", "SigIgn:"] {
        let bits = u64::from_str_radix(&line(mask)[0], 16).unwrap();
        assert_eq!(bits & 0x7fff_ffff, 0, "{mask} {bits:x}");
    }
}

#[test]
fn a_task_has_a_folder_of_its_own_and_no_hand_in_its_records() {
    let node = Node::new();
    if !is_root() {
        return;
    }
    let text = "pwd; echo x > file; ls .. 2>&1; cat ../intent 2>&1; echo forged > ../exit";
    let task = node.start(&script(text));
    assert_eq!(node.exit(task).reason, Reason::ExitedNonZero);
    let folder = node.folder_of(task);
    let (work, file) = (folder.join("work"), fs::metadata(folder.join("work/file")).unwrap());
    assert_eq!((file.uid(), file.gid(), file.permissions().mode() & 0o777), (NOBODY, NOBODY, 0o640));
    let said = node.stdout(task);
    assert!(said.starts_with(work.to_str().unwrap()), "{said}");
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["log", "work", "exit"].map(mode), [0o700, 0o700, 0o600]);
}

#[test]
fn a_closed_data_folder_is_said_and_tasks_run_all_the_same() {
    let node = Node::new();
    if !is_root() {
        return;
    }
    fs::set_permissions(node.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(node.run(&script("echo x > file && cat file")).status, ExitStatus::Code(0));
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let options = paceline_runtime::ProcessOptions::new("c", "n");
    let runtime = paceline_runtime::ProcessRuntime::open(
        &closed.path().join("data"),
        crate::node::supervisor(),
        options,
    )
    .unwrap();
    let all = runtime.capabilities();
    let user = all.iter().find(|capability| capability.code == CapabilityCode::UserSwitch).unwrap();
    assert!(user.enforced && user.explanation.contains(closed.path().to_str().unwrap()), "{user:?}");
}

#[test]
fn another_user_is_taken_where_the_node_allows_it() {
    let node =
        Node::with(|options| options.allowed_users = AllowedUsers::Listed(BTreeSet::from(["daemon".into()])));
    if !is_root() {
        return;
    }
    for (task, user, reason) in [
        (1, "daemon", Reason::ExitedZero),
        (2, "root", Reason::LaunchFailed),
        (3, "no-such-user", Reason::LaunchFailed),
    ] {
        let mut named = launch(&["/usr/bin/id", "-un"]);
        (named.attempt, named.user) = (attempt(task), Some(user.to_owned()));
        let exit = node.run(&named);
        assert_eq!(exit.reason, reason, "{user}: {}", exit.message);
        match reason {
            Reason::LaunchFailed => assert!(exit.message.contains(user), "{}", exit.message),
            _ => assert_eq!(node.stdout(attempt(task)).trim(), user),
        }
    }
}

#[test]
fn with_a_range_every_task_is_a_user_of_its_own_and_cannot_reach_another() {
    if !is_root() {
        return;
    }
    let range = TaskUids::new(3_000_000_000, 3).unwrap();
    let node = Node::with(|options| options.task_uids = Some(range));
    let victim = node.start(&script("echo secret > file; chmod 600 file; sleep 1000"));
    let work = node.folder_of(victim).join("work");
    eventually("it wrote its secret", || fs::metadata(work.join("file")).is_ok_and(|file| file.len() > 0));
    let pid = node.running(victim);
    let own =
        node.runtime.capabilities().into_iter().find(|found| found.code == CapabilityCode::OwnUser).unwrap();
    assert!(own.enforced && own.explanation.contains("3000000000"), "{own:?}");
    let spy = |task: u32| {
        let text = format!(
            "id -u; id -g; kill {pid} || echo no signal; cat {} || echo no file; cat /proc/{pid}/environ || echo no \
             environment",
            work.join("file").display()
        );
        let mut spy = script(&text);
        spy.attempt = attempt(task);
        spy
    };
    let node = node.restart(|_| {});
    node.run(&spy(8));
    let said = node.stdout(attempt(8));
    let expected = "3000000001\n3000000001\nno signal\nno file\nno environment\n";
    // The first id of the range is still the victim's, although another agent gave it.
    assert_eq!(said, expected);
    assert!(alive(pid));
    node.run(&spy(9));
    let refused = node.runtime.launch(&spy(10)).unwrap_err().to_string();
    assert!(refused.contains("3000000000 to 3000000002"), "{refused}");
    assert_eq!(node.runtime.observe(&attempt(10)).unwrap(), None, "it can be tried again");
    node.runtime.forget(&attempt(8)).unwrap();
    node.run(&spy(10));
    assert!(node.stdout(attempt(10)).starts_with("3000000001\n"));
}

#[test]
fn every_capability_is_stated_with_its_reason() {
    let on = Node::new().runtime.capabilities();
    let off = Node::with(|options| options.cgroup_parent = None).runtime.capabilities();
    for all in [&on, &off] {
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|capability| !capability.explanation.is_empty()));
    }
    let own = off.iter().find(|capability| capability.code == CapabilityCode::OwnUser).unwrap();
    assert!(!own.enforced && own.explanation.contains("signal each other"), "{own:?}");
    let memory = off.iter().find(|capability| capability.code == CapabilityCode::MemoryLimit).unwrap();
    assert_eq!(
        (memory.enforced, memory.explanation.as_str()),
        (false, "cgroups are switched off on this node")
    );
    on.iter().for_each(|c| eprintln!("{}: {} ({})", c.code, c.enforced, c.explanation));
}
