//! A `paceline dev` in a temporary folder: started, looked at by `cell.json`, and always ended.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A wait that is longer than this hangs. No verdict depends on it: a cell of this size needs a second or two.
const HANGS_AFTER: Duration = Duration::from_secs(240);

/// Exit code, stdout and stderr of a `paceline` that ends by itself.
pub fn paceline(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// `paceline dev --only`.
pub fn only(dir: &Path, part: &str, more: &[&str]) -> (Option<i32>, String, String) {
    paceline(&[&["dev", "--dir", dir.to_str().expect("UTF-8"), "--only", part], more].concat())
}

/// What a command says as JSON.
pub fn said(dir: &Path, arguments: &[&str]) -> Value {
    let cell = ["--cell", dir.to_str().expect("UTF-8"), "--output", "json"];
    let (code, out, error) = paceline(&[&cell, arguments].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    serde_json::from_str(&out).expect("JSON")
}

/// Returns once `look` says so.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < HANGS_AFTER, "expected that {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Whether a process runs; one that nobody waited for yet does not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

/// A cell with one shard and one agent. Dropping it ends it, with SIGKILL where it must.
pub struct Dev {
    folder: TempDir,
    dir: PathBuf,
    child: Child,
}

impl Dev {
    /// Starts the cell and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Self {
        let supervisor = Path::new(env!("CARGO_BIN_EXE_paceline")).with_file_name("paceline-supervisor");
        assert!(supervisor.is_file(), "{} is missing: cargo build --workspace --bins", supervisor.display());
        // Others may enter: tasks run as another user. The roles show resolved paths on their command lines.
        let parent = std::env::temp_dir().canonicalize().expect("a temporary folder");
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("paceline-dev-").permissions(Permissions::from_mode(0o755));
        let folder = builder.tempdir_in(parent).expect("a folder");
        let dir = folder.path().join("cell");
        let child = spawn(&dir, arguments);
        Self { folder, dir, child }
    }

    /// Starts another `paceline dev` in the same folder.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.child = spawn(&self.dir, arguments);
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every part by name, and its process where it runs, as `cell.json` has it.
    pub fn pids(&self) -> BTreeMap<String, Option<u32>> {
        let text = fs::read(self.dir.join("cell.json")).expect("cell.json is there");
        let file: Value = serde_json::from_slice(&text).expect("cell.json is JSON");
        let mut pids = BTreeMap::new();
        for (kind, field) in [("masters", "name"), ("shards", "name"), ("agents", "node")] {
            for part in file[kind].as_array().expect("a list") {
                let pid = part["pid"].as_u64().map(|pid| u32::try_from(pid).expect("a pid"));
                pids.insert(part[field].as_str().expect("a name").to_owned(), pid);
            }
        }
        pids
    }

    pub fn pid(&self, name: &str) -> Option<u32> {
        self.pids()[name]
    }

    /// Sends a signal to a process of this cell, and to no other that has its number now.
    pub fn signal(&self, pid: u32, signal: Signal) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.contains(self.dir.to_str().expect("UTF-8")), "{pid} is not of this cell: {line}");
        kill_process(raw(pid), signal).expect("it can be signalled");
    }

    /// Returns once the cell has a leader and this many nodes are up.
    pub fn until_up(&self, nodes: u64) {
        let dir = self.dir.to_str().expect("UTF-8");
        until("the cell serves and its nodes are up", || {
            let (_, out, _) = paceline(&["--cell", dir, "--output", "json", "cell", "status"]);
            let status: Value = serde_json::from_str(&out).unwrap_or_default();
            status["leader"].is_string() && status["nodes"]["up"] == nodes
        });
    }

    /// Ends the cell by a signal to `paceline dev` alone, which must end everything and say so in `cell.json`.
    pub fn end_by(&mut self, signal: Signal) {
        let pids = self.pids();
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self.wait_ended();
        assert!(pids.values().flatten().all(|pid| !runs(*pid)), "left behind: {pids:?}");
    }

    /// Closes the standard input of `paceline dev`.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for `paceline dev`, which must succeed and leave no pid in `cell.json`.
    pub fn wait_ended(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
        assert!(self.pids().values().all(Option::is_none), "{:?}", self.pids());
    }

    /// Kills `paceline dev` itself, so that it cannot end anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.wait();
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        let mut ended = None;
        until("paceline dev ends", || {
            ended = self.child.try_wait().expect("waited for");
            ended.is_some()
        });
        ended.expect("it has ended")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that went well has ended everything already. What is left belongs to this folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let dir = self.folder.path().display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if pid != std::process::id() && String::from_utf8_lossy(&line).contains(&dir) {
                let _ = kill_process(raw(pid), Signal::KILL);
            }
        }
    }
}

fn spawn(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.arg("dev").arg("--dir").arg(dir).args(arguments);
    // A pipe for those that end with it; nothing else reads it.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
    if !ready {
        let _ = child.kill();
        panic!("paceline dev was not ready, {:?}", child.wait());
    }
    child
}

fn raw(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number")
}
