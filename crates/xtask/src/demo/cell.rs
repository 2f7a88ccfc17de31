//! The demo's cell: `paceline dev` in a folder of its own, started, watched and ended.
//!
//! Ending it is a check too: a process of the cell that is left afterwards is an error, and is killed.
//! Knows nothing about jobs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command;

/// What `paceline dev` prints once a leader is elected and the agents have joined.
const READY: &str = "ready";
/// Keys, an election and a join take a second or two; a loaded machine may need much longer.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Agents, shards and masters end one after the other, and each may take ten seconds to hand over.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Three masters survive the loss of one; two agents share the machine.
pub const MASTERS: &str = "3";
pub const SHARDS: &str = "1";
pub const AGENTS: &str = "2";
/// How often waiting looks at the signal flag.
const POLL: Duration = Duration::from_millis(100);
/// Lines of each log that a failure shows: enough for the error and what led to it.
const LOG_LINES: usize = 40;

/// A folder of this run alone. Kept after a failure.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates it under the system's temporary folder; others may enter (tasks run as another user).
    pub fn create() -> Result<Self> {
        // The roles show resolved paths on their command lines, by which we look for them in the end.
        let parent = std::env::temp_dir().canonicalize().context("could not find the temporary folder")?;
        let path = parent.join(format!("paceline-demo-{}", std::process::id()));
        let created = fs::DirBuilder::new().mode(0o755).create(&path);
        created.with_context(|| format!("could not create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with everything in it.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("could not remove {}", self.path.display()))
    }
}

/// A running cell. Dropping it ends it, should `stop` not have been reached.
#[derive(Debug)]
pub struct DemoCell {
    binary: PathBuf,
    dir: PathBuf,
    stderr: PathBuf,
    dev: Child,
    lines: Receiver<String>,
    stopped: bool,
}

impl DemoCell {
    /// Starts the cell under `paceline dev`; a part that is killed stays dead.
    pub fn start(binary: &Path, folder: &Folder) -> Result<Self> {
        let dir = folder.path().join("cell");
        let stderr = folder.path().join("dev.stderr");
        let log = File::create(&stderr).with_context(|| format!("could not create {}", stderr.display()))?;
        let mut dev = Command::new(binary);
        dev.args(["dev", "--masters", MASTERS, "--shards", SHARDS, "--agents", AGENTS, "--dir"]).arg(&dir);
        dev.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        eprintln!("$ {}", command::line(&dev));
        let mut dev = dev.spawn().with_context(|| format!("could not start {}", binary.display()))?;
        let stdout = dev.stdout.take().context("the stdout of paceline dev was not piped")?;
        let lines = lines_of(stdout);
        Ok(Self { binary: binary.to_owned(), dir, stderr, dev, lines, stopped: false })
    }

    /// Returns once the cell says that it is ready.
    pub fn wait_ready(&mut self, interrupted: &AtomicBool) -> Result<()> {
        let started = Instant::now();
        loop {
            match self.lines.recv_timeout(POLL) {
                Ok(line) if line.trim() == READY => return Ok(()),
                Ok(line) => eprintln!("dev: {line}"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = command::wait_bounded(&mut self.dev, STOP_LIMIT, interrupted)?;
                    bail!("paceline dev ended with {status} before it was ready");
                }
            }
            // ORDERING: Relaxed, a lone flag; nothing else is published with it.
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            if started.elapsed() > READY_LIMIT {
                bail!("paceline dev was not ready after {} s", READY_LIMIT.as_secs());
            }
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The command line of the product, pointed at this cell.
    pub fn paceline(&self, arguments: &[&str]) -> Command {
        let mut paceline = Command::new(&self.binary);
        paceline.arg("--cell").arg(&self.dir).args(arguments);
        paceline
    }

    /// Ends the cell with SIGTERM and makes sure that nothing of it is left.
    pub fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        let ended = self.terminate();
        let left = processes_in(&self.dir);
        for (pid, _) in &left {
            // One that ends by itself in this moment is as good as killed.
            let _ = kill_process(*pid, Signal::KILL);
        }
        ended?;
        if !left.is_empty() {
            let shown: Vec<String> =
                left.iter().map(|(pid, line)| format!("  {} {line}", pid.as_raw_nonzero())).collect();
            bail!("the cell left processes behind (killed now):\n{}", shown.join("\n"));
        }
        Ok(())
    }

    /// Ends the cell after an error; the error stays the message, trouble in stopping is added to it.
    pub fn stop_after(&mut self, error: Error) -> Error {
        match self.stop() {
            Ok(()) => error,
            Err(stopping) => error.context(format!("{stopping:#}, after an earlier failure")),
        }
    }

    /// Shows the end of every role's log, and of what `paceline dev` itself wrote.
    pub fn print_logs(&self) {
        let mut logs = files_below(&self.dir.join("logs"));
        logs.push(self.stderr.clone());
        for log in logs {
            let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {} ({} lines)", log.display(), lines.len());
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                eprintln!("{line}");
            }
        }
    }

    fn terminate(&mut self) -> Result<()> {
        if let Some(status) = self.dev.try_wait().context("could not wait for paceline dev")? {
            bail!("paceline dev had ended by itself with {status}");
        }
        kill_process(Pid::from_child(&self.dev), Signal::TERM).context("could not end paceline dev")?;
        // A second Ctrl-C must not cut this short: the cell would be left running.
        let deaf = AtomicBool::new(false);
        let status = match command::wait_bounded(&mut self.dev, STOP_LIMIT, &deaf) {
            Ok(status) => status,
            Err(error) => {
                // Already failing: the outcome of the clean-up cannot change that.
                let _ = self.dev.kill();
                let _ = self.dev.wait();
                return Err(error.context("paceline dev, told to end by SIGTERM"));
            }
        };
        if !status.success() {
            bail!("paceline dev, told to end by SIGTERM, ended with {status}");
        }
        Ok(())
    }
}

impl Drop for DemoCell {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = self.stop()
        {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Lines as they come. The thread ends with the process; at most a few lines are ever written.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens once the cell is ready; reading on keeps the pipe from filling.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Running processes of the product with this folder on their command line: roles and supervisors.
fn processes_in(dir: &Path) -> Vec<(Pid, String)> {
    let dir = dir.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        // Somebody who reads the cell's logs meanwhile is none of ours.
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        program.file_name()?.to_str()?.starts_with("paceline").then_some(())?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&dir).then_some((Pid::from_raw(pid)?, line))
    })
    .collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// A cell whose binary is a shell script with this body.
    fn with_script(body: &str, test: impl FnOnce(&mut DemoCell)) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // ORDERING: Relaxed, only the number matters.
        let name = format!("xtask-demo-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder { path: std::env::temp_dir().join(name) };
        fs::create_dir(folder.path()).unwrap();
        let binary = folder.path().join("paceline");
        // Another process writes the file: a descriptor of ours could be inherited by a child that another
        // test starts in this moment, and the kernel executes no file that is open for writing.
        let mut write = Command::new("/bin/sh");
        write
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\""])
            .arg(&binary)
            .arg(body);
        assert!(write.status().unwrap().success());
        let mut cell = DemoCell::start(&binary, &folder).unwrap();
        test(&mut cell);
        drop(cell);
        folder.remove().unwrap();
    }

    static QUIET: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_cell_that_is_ready_and_obeys_sigterm_is_fine() {
        with_script("trap 'exit 0' TERM; echo starting; echo ready; while :; do sleep 0.05; done", |cell| {
            cell.wait_ready(&QUIET).unwrap();
            cell.stop().unwrap();
        });
    }

    #[test]
    fn a_cell_that_ends_before_it_is_ready_is_an_error() {
        with_script("echo not ready >&2; exit 4", |cell| {
            let error = cell.wait_ready(&QUIET).unwrap_err().to_string();
            assert!(error.contains("exit status: 4"), "{error}");
            assert!(cell.stop().unwrap_err().to_string().contains("by itself"));
        });
    }

    #[test]
    fn a_cell_that_ends_badly_is_an_error() {
        with_script("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", |cell| {
            cell.wait_ready(&QUIET).unwrap();
            assert!(cell.stop().unwrap_err().to_string().contains("exit status: 3"));
        });
    }

    #[test]
    fn an_interrupt_ends_the_wait_and_the_cell() {
        with_script("trap 'exit 0' TERM; while :; do sleep 0.05; done", |cell| {
            let error = cell.wait_ready(&AtomicBool::new(true)).unwrap_err();
            assert!(cell.stop_after(error).to_string().contains("interrupted"));
        });
    }
}
