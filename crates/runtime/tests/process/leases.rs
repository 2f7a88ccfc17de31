//! Tasks that must not run without a lease: when they start, what keeps them running, and that nothing else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use paceline_runtime::{Launch, Lease, Observed, ProcessOptions, ProcessRuntime, Runtime};
use paceline_supervisor::{Cause, Ended, Running, boot_id, read};
use paceline_types::Reason;
use rustix::process::{Pid, Signal, kill_process};

use crate::node::{Node, alive, attempt, end, eventually, launch, script, supervisor};

/// Longer than any of these tests takes.
const LONG_MS: u64 = 600_000;
/// Longer than a busy machine needs between two renewals, short enough to be waited out.
const SHORT_MS: u64 = 3_000;

fn leased(run: Launch) -> Launch {
    Launch { at_most_one: true, ..run }
}

fn lease(node: &Node, duration_ms: u64) -> Lease {
    Lease { asked_boot_ms: node.runtime.boot_clock_ms(), duration_ms }
}

#[test]
fn nothing_starts_before_its_lease_and_one_that_is_over_is_none() {
    let node = Node::new();
    let marked = node.path().join("marked");
    let task = node.start(&leased(script(&format!("touch {}; sleep 1000", marked.display()))));
    node.runtime.renew_lease(&task, Lease { asked_boot_ms: 0, duration_ms: 1 }).unwrap();
    // A second task of the same node is quick: by then the first would have been executed too.
    let other = Launch { attempt: attempt(8), ..script("true") };
    node.run(&other);
    assert_eq!(node.runtime.observe(&task).unwrap(), Some(Observed::Starting));
    node.runtime.renew_lease(&task, lease(&node, LONG_MS)).unwrap();
    let pid = node.running(task);
    assert!(alive(pid));
}

#[test]
fn a_stop_before_the_first_lease_ends_what_never_ran() {
    let node = Node::new();
    let task = node.start(&leased(launch(&["/bin/sleep", "1000"])));
    node.runtime.stop(&task, 0).unwrap();
    let exit = node.exit(task);
    assert_eq!((exit.reason, exit.pid), (Reason::JobStopped, 0));
}

#[test]
fn a_lease_that_is_not_renewed_ends_the_task_with_everything_that_it_started() {
    let node = Node::new();
    let family = "sleep 1001 & setsid sleep 1002 & trap '' TERM; while :; do sleep 1; done";
    let task = node.start(&leased(script(family)));
    node.runtime.renew_lease(&task, lease(&node, SHORT_MS)).unwrap();
    let exit = node.exit(task);
    assert_eq!(exit.reason, Reason::LeaseEnded, "{}", exit.message);
    assert!(exit.pid != 0 && !alive(exit.pid));
    let work = node.folder_of(task).join("work");
    let cwd = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == work);
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(names.filter_map(|name| name.parse().ok()).filter(cwd).count(), 0);
}

#[test]
fn renewals_keep_a_task_running_beyond_its_first_lease_also_under_the_next_agent() {
    let node = Node::new();
    let task = node.start(&leased(launch(&["/bin/sleep", "1000"])));
    let first = lease(&node, SHORT_MS);
    node.runtime.renew_lease(&task, first).unwrap();
    let pid = node.running(task);
    let node = node.restart(|_| {});
    node.runtime.renew_lease(&task, lease(&node, LONG_MS)).unwrap();
    while node.runtime.boot_clock_ms() < first.asked_boot_ms + 2 * SHORT_MS {
        sleep(Duration::from_millis(100));
    }
    assert_eq!(node.running(task), pid);
    node.runtime.stop(&task, 0).unwrap();
    assert_eq!(node.exit(task).reason, Reason::JobStopped);
}

/// Set: the test is the agent, and its data folder is here.
const AGENT_IN: &str = "PACELINE_TEST_AGENT_IN";

/// Renews as often as it can, until somebody stops it.
fn be_agent(folder: &Path) {
    let runtime = ProcessRuntime::open(folder, supervisor(), ProcessOptions::new("c", "n")).unwrap();
    let task = leased(launch(&["/bin/sleep", "1000"]));
    runtime.launch(&task).unwrap();
    loop {
        let lease = Lease { asked_boot_ms: runtime.boot_clock_ms(), duration_ms: SHORT_MS };
        runtime.renew_lease(&task.attempt, lease).unwrap();
        sleep(Duration::from_millis(100));
    }
}

/// Ends the agent however the test ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).unwrap();
    }
}

impl Agent {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

#[test]
fn the_task_of_an_agent_that_is_stopped_is_gone_when_its_lease_is() {
    if let Some(folder) = std::env::var_os(AGENT_IN) {
        return be_agent(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let own = "leases::the_task_of_an_agent_that_is_stopped_is_gone_when_its_lease_is";
    let mut agent = Command::new(std::env::current_exe().unwrap());
    agent.args([own, "--exact"]).env(AGENT_IN, folder.path()).stdout(Stdio::null());
    let agent = Agent(agent.spawn().unwrap());
    let of_task = folder.path().join("attempts").join(boot_id().unwrap()).join(attempt(7).to_string());
    let running = || read::<Running>(&of_task).ok().flatten();
    eventually("the task runs", || running().is_some());
    let pid = running().unwrap().task.pid;
    // It lives on renewals: the first lease is long over.
    sleep(Duration::from_millis(2 * SHORT_MS));
    assert!(alive(pid));
    agent.signal(Signal::STOP);
    eventually("the end of the task", || read::<Ended>(&of_task).ok().flatten().is_some());
    let ended = read::<Ended>(&of_task).unwrap().unwrap();
    assert_eq!((ended.cause, ended.pid, alive(pid)), (Cause::LeaseEnded, pid, false));
    agent.signal(Signal::CONT);
    end(&of_task);
}
