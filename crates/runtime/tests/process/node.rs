//! A node of its own for a test: a data folder, a runtime, and a way to wait that does not sleep.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use paceline_runtime::{
    CapabilityCode, Exit, Launch, LogStream, Observed, ProcessOptions, ProcessRuntime, Runtime,
};
use paceline_supervisor::{Intent, ProcessStat, Running, Stop, boot_id, read, replace};
use paceline_types::{Attempt, AttemptId, JobUid, Resources, Revision, TaskIndex};

/// Longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks where nothing tells of a change.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Node {
    pub runtime: ProcessRuntime,
    changes: Receiver<AttemptId>,
    folder: Data,
    options: ProcessOptions,
}

/// A data folder. A task outlives its agent, and a test may end in the middle of things.
struct Data(tempfile::TempDir);

impl Drop for Data {
    fn drop(&mut self) {
        let Ok(boot) = boot_id() else { return };
        let attempts = fs::read_dir(self.0.path().join("attempts").join(boot));
        attempts.into_iter().flatten().flatten().for_each(|attempt| end(&attempt.path()));
    }
}

/// Ends an attempt that still runs, and everything of it; its folder is about to go.
pub fn end(attempt: &Path) {
    let Ok(Some(Intent { holder: Some(holder), control: Some(pipe), .. })) = read::<Intent>(attempt) else {
        return;
    };
    let (begun, alive) = (Instant::now(), || holder.is_alive(&holder.boot));
    if alive() && replace(attempt, &Stop { grace_ms: 0 }).is_ok() {
        _ = fs::write(format!("/proc/{}/fd/{pipe}", holder.pid), "w");
    }
    while alive() {
        if begun.elapsed() >= PATIENCE {
            eprintln!("the supervisor {} in {} does not end", holder.pid, attempt.display());
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Node {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(choose: impl FnOnce(&mut ProcessOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let mut options = ProcessOptions::new("test-cell", "test-node");
        choose(&mut options);
        let (runtime, changes) = open(folder.path(), &options);
        Self { runtime, changes, folder: Data(folder), options }
    }

    pub fn path(&self) -> &Path {
        self.folder.0.path()
    }

    /// The agent goes and another comes.
    pub fn restart(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { runtime, folder, options, .. } = self;
        drop(runtime);
        meanwhile(folder.0.path());
        let (runtime, changes) = open(folder.0.path(), &options);
        Self { runtime, changes, folder, options }
    }

    pub fn start(&self, launch: &Launch) -> AttemptId {
        self.runtime.launch(launch).unwrap();
        launch.attempt
    }

    pub fn run(&self, launch: &Launch) -> Exit {
        self.exit(self.start(launch))
    }

    pub fn exit(&self, attempt: AttemptId) -> Exit {
        self.until(attempt, |observed| match observed {
            Observed::Exited(exit) => Some(exit),
            _ => None,
        })
    }

    /// Waits until the task was executed, gives its pid.
    pub fn running(&self, attempt: AttemptId) -> u32 {
        self.until(attempt, |observed| match observed {
            Observed::Running { pid, .. } => Some(pid),
            Observed::Exited(exit) => panic!("ended early: {exit:?}"),
            Observed::Starting => None,
        })
    }

    fn until<T>(&self, attempt: AttemptId, wanted: impl Fn(Observed) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let observed = self.runtime.observe(&attempt).unwrap().expect("the attempt is here");
            if let Some(found) = wanted(observed.clone()) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{attempt} is still {observed:?}");
            _ = self.changes.recv_timeout(PATIENCE);
        }
    }

    /// Waits until the task wrote this to its standard output.
    pub fn says(&self, attempt: AttemptId, text: &str) {
        eventually(text, || self.stdout(attempt).contains(text));
    }

    pub fn stdout(&self, attempt: AttemptId) -> String {
        let chunk = self.runtime.read_log(&attempt, LogStream::Stdout, 0, 1 << 20).unwrap();
        String::from_utf8(chunk.bytes).unwrap()
    }

    pub fn folder_of(&self, attempt: AttemptId) -> PathBuf {
        self.path().join("attempts").join(boot_id().unwrap()).join(attempt.to_string())
    }

    pub fn supervisor_of(&self, attempt: AttemptId) -> u32 {
        read::<Intent>(&self.folder_of(attempt))
            .unwrap()
            .expect("it was taken")
            .holder
            .expect("it is held")
            .pid
    }

    pub fn task_of(&self, attempt: AttemptId) -> u32 {
        read::<Running>(&self.folder_of(attempt)).unwrap().expect("it was executed").task.pid
    }

    /// Whether the machine enforces this; if not, says that the test is skipped.
    pub fn enforces(&self, code: CapabilityCode) -> bool {
        let all = self.runtime.capabilities();
        let capability = all.into_iter().find(|capability| capability.code == code).unwrap();
        if !capability.enforced {
            eprintln!("SKIPPED: {code} is not enforced here: {}", capability.explanation);
        }
        capability.enforced
    }
}

fn open(folder: &Path, options: &ProcessOptions) -> (ProcessRuntime, Receiver<AttemptId>) {
    let runtime = ProcessRuntime::open(folder, supervisor(), options.clone()).unwrap();
    let (told, changes) = channel();
    runtime.subscribe(Box::new(move |attempt| _ = told.send(attempt)));
    (runtime, changes)
}

/// The binary beside the test's own; cargo does not build it for us, because it is another package's.
pub fn supervisor() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
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
    };
    BUILT.get_or_init(build).clone()
}

pub fn attempt(task: u32) -> AttemptId {
    AttemptId {
        job: JobUid { revision: Revision(42), ordinal: 0 },
        task: TaskIndex(task),
        attempt: Attempt(1),
    }
}

/// A task that runs a command.
pub fn launch(run: &[&str]) -> Launch {
    Launch {
        attempt: attempt(7),
        job_name: "job".into(),
        task_count: 10,
        run: run.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::new(),
        user: None,
        resources: Resources::new(100, 256 << 20),
        cpu_limit_milli: None,
        time_limit_ms: None,
        grace_ms: 100,
        at_most_one: false,
        script: None,
    }
}

/// A task that runs a script.
pub fn script(text: &str) -> Launch {
    launch(&["/bin/sh", "-c", text])
}

pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: only root can do this");
    }
    root
}

pub fn alive(pid: u32) -> bool {
    ProcessStat::of(pid).is_ok_and(|stat| !stat.dead)
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Looks until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
