//! One supervisor, without a runtime: what it does when the machine does not let it do its work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use paceline_runtime::LogLimits;
use paceline_supervisor::{Cause, Ended, MemoryLimit, Order, Outcome, Running, boot_id, read, replace};

use crate::node::{alive, eventually, supervisor};

const ATTEMPT: &str = "42-0.7.1";

/// An attempt's folder with an order in it.
struct Attempt {
    root: tempfile::TempDir,
    supervisor: Option<Child>,
}

impl Attempt {
    fn new(script: &str) -> Self {
        Self::with(script, |_| {})
    }

    fn with(script: &str, choose: impl FnOnce(&mut Order)) -> Self {
        let attempt = Self { root: tempfile::tempdir().unwrap(), supervisor: None };
        let mut order = Order {
            attempt: ATTEMPT.into(),
            boot: boot_id().unwrap(),
            run: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            user: None,
            umask: 0o027,
            time_limit_ms: None,
            grace_ms: 0,
            memory: None,
            cpu: None,
            freezer_cgroup: None,
            logs: LogLimits { segment_bytes: 1 << 20, segments: 2 },
        };
        choose(&mut order);
        fs::create_dir(attempt.folder()).unwrap();
        replace(&attempt.folder(), &order).unwrap();
        attempt
    }

    /// As deep as a runtime has it, for the socket that is nudged.
    fn folder(&self) -> PathBuf {
        self.root.path().join(ATTEMPT)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn start(&mut self) {
        let mut command = Command::new(supervisor());
        self.supervisor = Some(command.arg(ATTEMPT).current_dir(self.folder()).spawn().unwrap());
    }

    fn ended(&mut self) -> Ended {
        let mut supervisor = self.supervisor.take().expect("it was started");
        assert!(supervisor.wait().unwrap().success());
        read(&self.folder()).unwrap().expect("it wrote the end")
    }
}

fn written(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[test]
fn a_group_that_cannot_be_made_is_the_nodes_fault_and_nothing_is_executed() {
    let mut attempt = Attempt::with("echo ran > ran", |order| {
        order.memory = Some(MemoryLimit { cgroup: "/proc/no/such/group".into(), bytes: 1 << 20 });
    });
    attempt.start();
    let ended = attempt.ended();
    assert_eq!((ended.cause, ended.outcome, ended.pid), (Cause::NodeFault, Outcome::Code(127), 0));
    assert!(ended.message.contains("/proc/no/such/group"), "{}", ended.message);
    assert!(!attempt.path("work").exists());
}

#[test]
fn a_work_folder_that_cannot_be_made_is_the_nodes_fault_and_a_missing_program_is_not() {
    let mut attempt = Attempt::new("exit 0");
    fs::write(attempt.path("work"), "in the way").unwrap();
    attempt.start();
    assert_eq!(attempt.ended().cause, Cause::NodeFault);
    let mut attempt = Attempt::with("", |order| order.run = vec!["/no/such/program".into()]);
    attempt.start();
    assert_eq!(attempt.ended().cause, Cause::LaunchFailed);
}

/// A folder in the way of a record stands for a disk that takes nothing more: both refuse the write.
#[test]
fn records_that_cannot_be_written_are_late_and_the_task_and_its_exit_code_are_not_lost() {
    let mut attempt = Attempt::new("echo $$ > pid; until [ -e go ]; do sleep 0.02; done; exit 7");
    for name in ["running", "exit"] {
        fs::create_dir(attempt.path(name)).unwrap();
    }
    attempt.start();
    let mut pid = None;
    eventually("the task runs", || {
        pid = written(&attempt.path("work/pid"));
        pid.is_some()
    });
    let pid = pid.unwrap();
    fs::remove_dir(attempt.path("running")).unwrap();
    eventually("it is said that it runs", || attempt.path("running").is_file());
    let running: Running = read(&attempt.folder()).unwrap().expect("it is there");
    assert_eq!(running.task.pid, pid);
    fs::write(attempt.path("work/go"), "").unwrap();
    eventually("the task has ended", || !alive(pid));
    assert!(attempt.supervisor.as_mut().unwrap().try_wait().unwrap().is_none(), "it waits to say so");
    fs::remove_dir(attempt.path("exit")).unwrap();
    let ended = attempt.ended();
    assert_eq!((ended.outcome, ended.cause, ended.pid), (Outcome::Code(7), Cause::Exited, pid));
}
