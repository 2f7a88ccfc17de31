//! One supervisor from a nursery, without a runtime: what it does when the machine does not let it do its work.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use paceline_runtime::LogLimits;
use paceline_supervisor::nursery::{Answer, NURSERY, ORDER_BYTES_MAX, frame};
use paceline_supervisor::{Cause, Ended, MemoryLimit, Order, Outcome, Running, boot_id, read};

use crate::node::{alive, end, eventually, kill, supervisor};

const ATTEMPT: &str = "42-0.7.1";

/// A nursery as an agent starts it.
struct Nursery {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Nursery {
    fn new() -> Self {
        let mut command = Command::new(supervisor());
        command
            .arg(NURSERY)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.process.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn answer(&mut self) -> Option<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        Answer::parse(&line).map(|(attempt, answer)| {
            assert_eq!(attempt, ATTEMPT);
            answer
        })
    }

    fn order(&mut self, order: &Order) -> Answer {
        self.write(&frame(order).unwrap());
        self.answer().expect("an answer")
    }

    /// The agent goes; how the nursery ends.
    fn leave(mut self) -> Option<i32> {
        drop(self.process.stdin.take());
        self.process.wait().unwrap().code()
    }
}

/// An attempt's folder and an order for it.
struct Attempt {
    root: tempfile::TempDir,
    order: Order,
}

impl Attempt {
    fn new(script: &str) -> Self {
        Self::with(script, |_| {})
    }

    fn with(script: &str, choose: impl FnOnce(&mut Order)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut order = Order {
            attempt: ATTEMPT.into(),
            folder: root.path().join(ATTEMPT).to_str().unwrap().into(),
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
            kept_groups: None,
            at_most_one: false,
            logs: LogLimits { segment_bytes: 1 << 20, segments: 2 },
        };
        choose(&mut order);
        fs::create_dir(&order.folder).unwrap();
        Self { root, order }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(ATTEMPT)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// By a nursery of its own, which is gone by then. Gives the supervisor's pid.
    fn start(&self) -> u32 {
        let mut nursery = Nursery::new();
        let Answer::Taken { pid, .. } = nursery.order(&self.order) else { panic!("not taken") };
        assert_eq!(nursery.leave(), Some(0));
        pid
    }

    fn ended(&self) -> Ended {
        eventually("the end is written", || self.path("exit").is_file());
        read(&self.folder()).unwrap().expect("it is there")
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        end(&self.folder());
    }
}

fn written(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[test]
fn a_group_that_cannot_be_made_is_the_nodes_fault_and_nothing_is_executed() {
    let attempt = Attempt::with("echo ran > ran", |order| {
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
    let attempt = Attempt::new("exit 0");
    fs::write(attempt.path("work"), "in the way").unwrap();
    attempt.start();
    assert_eq!(attempt.ended().cause, Cause::NodeFault);
    let attempt = Attempt::with("", |order| order.run = vec!["/no/such/program".into()]);
    attempt.start();
    assert_eq!(attempt.ended().cause, Cause::LaunchFailed);
}

/// A folder in the way of the end stands for a disk that takes nothing more: both refuse the write.
#[test]
fn records_that_cannot_be_written_are_late_and_the_task_and_its_exit_code_are_not_lost() {
    let attempt = Attempt::new("echo $$ > pid; until [ -e go ]; do sleep 0.02; done; exit 7");
    let supervisor = attempt.start();
    fs::create_dir(attempt.path("exit")).unwrap();
    let mut pid = None;
    eventually("the task runs", || {
        pid = written(&attempt.path("work/pid"));
        pid.is_some()
    });
    let pid = pid.unwrap();
    let mut running = None;
    eventually("it is said that it runs", || {
        running =
            fs::read(attempt.path("intent")).ok().and_then(|_| read::<Running>(&attempt.folder()).ok()?);
        running.is_some()
    });
    assert_eq!(running.unwrap().task.pid, pid);
    fs::write(attempt.path("work/go"), "").unwrap();
    eventually("the task has ended", || !alive(pid));
    assert!(alive(supervisor), "it waits to say so");
    fs::remove_dir(attempt.path("exit")).unwrap();
    let ended = attempt.ended();
    assert_eq!((ended.outcome, ended.cause, ended.pid), (Outcome::Code(7), Cause::Exited, pid));
}

#[test]
fn of_two_supervisors_in_one_folder_one_starts_the_task_also_after_its_end() {
    let attempt = Attempt::new("echo started >> ../count; until [ -e go ]; do sleep 0.02; done");
    attempt.start();
    eventually("it runs", || attempt.path("count").exists());
    let mut other = Nursery::new();
    assert_eq!(other.order(&attempt.order), Answer::Theirs, "it leaves the attempt to the first");
    fs::write(attempt.path("work/go"), "").unwrap();
    assert_eq!(attempt.ended().outcome, Outcome::Code(0));
    assert_eq!(other.order(&attempt.order), Answer::Theirs);
    assert_eq!(fs::read_to_string(attempt.path("count")).unwrap(), "started\n");
    assert_eq!(other.leave(), Some(0));
}

#[test]
fn an_order_for_a_folder_that_is_gone_is_answered_and_the_nursery_goes_on() {
    let attempt = Attempt::new("exit 0");
    let mut nursery = Nursery::new();
    fs::remove_dir(attempt.folder()).unwrap();
    let Answer::Failed(message) = nursery.order(&attempt.order) else { panic!("taken") };
    assert!(message.contains(&attempt.order.folder), "{message}");
    fs::create_dir(attempt.folder()).unwrap();
    assert!(matches!(nursery.order(&attempt.order), Answer::Taken { .. }));
    assert_eq!(attempt.ended().outcome, Outcome::Code(0));
}

#[test]
fn bytes_that_are_no_order_end_the_nursery_and_nothing_is_started() {
    let attempt = Attempt::new("exit 0");
    let mut damaged = frame(&attempt.order).unwrap();
    damaged[20] ^= 1;
    let too_long = u32::try_from(ORDER_BYTES_MAX + 1).unwrap().to_le_bytes();
    for bytes in [&damaged[..], &too_long[..]] {
        let mut nursery = Nursery::new();
        nursery.write(bytes);
        assert_eq!(nursery.answer(), None);
        assert_eq!(nursery.leave(), Some(3));
    }
    assert_eq!(fs::read_dir(attempt.folder()).unwrap().count(), 0);
}

#[test]
fn an_agent_that_goes_in_the_middle_of_an_order_leaves_no_nursery_behind() {
    let attempt = Attempt::new("exit 0");
    let frame = frame(&attempt.order).unwrap();
    let mut nursery = Nursery::new();
    nursery.write(&frame[..frame.len() / 2]);
    assert_eq!(nursery.leave(), Some(0));
}

fn open_files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn executed(pid: u32) {
    let is_sleep = || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    eventually("it is what it will be", is_sleep);
}

/// The second supervisor of a nursery could inherit from the first, or a task from its supervisor.
#[test]
fn neither_a_supervisor_nor_its_task_has_open_files_that_are_not_its_own() {
    let [first, second] = [0, 1].map(|_| Attempt::new("echo $$ > pid; exec sleep 1000"));
    let mut nursery = Nursery::new();
    // What whoever runs the tests has left open for us is in every process alike.
    let mut stranger = Command::new("/bin/sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
    executed(stranger.id());
    let inherited = open_files(stranger.id());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let mut supervisors = Vec::new();
    for attempt in [&first, &second] {
        let Answer::Taken { pid, .. } = nursery.order(&attempt.order) else { panic!("not taken") };
        eventually("the task runs", || written(&attempt.path("work/pid")).is_some());
        let task = written(&attempt.path("work/pid")).unwrap();
        executed(task);
        assert_eq!(open_files(task), inherited);
        supervisors.push((pid, open_files(pid).len()));
    }
    assert_eq!(supervisors[0].1, supervisors[1].1);
    let name = fs::read_to_string(format!("/proc/{}/comm", supervisors[0].0)).unwrap();
    assert_eq!(name.trim(), ATTEMPT, "people see whose supervisor it is");
    supervisors.iter().for_each(|(pid, _)| kill(*pid));
}

#[test]
fn a_nursery_reaps_its_supervisors_and_none_goes_with_it() {
    let attempt = Attempt::new("exit 0");
    let mut nursery = Nursery::new();
    let Answer::Taken { pid, .. } = nursery.order(&attempt.order) else { panic!("not taken") };
    attempt.ended();
    eventually("not even a zombie is left", || !Path::new(&format!("/proc/{pid}")).exists());
    let attempt = Attempt::new("until [ -e go ]; do sleep 0.02; done; exit 7");
    assert!(matches!(nursery.order(&attempt.order), Answer::Taken { .. }));
    kill(nursery.process.id());
    nursery.process.wait().unwrap();
    eventually("the task runs", || attempt.path("work").exists());
    fs::write(attempt.path("work/go"), "").unwrap();
    assert_eq!(attempt.ended().outcome, Outcome::Code(7));
}
