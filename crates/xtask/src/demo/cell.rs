//! The demo's cell: `paceline dev` in a folder of its own, started, watched and ended.
//!
//! Ending it is a check too: a process of the cell that is left afterwards is an error, and is killed. It ends with us
//! even if we are killed. Knows nothing about jobs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cli::Cli;
use super::folder::Folder;
use super::{processes, wait};
use crate::command;

/// What `paceline dev` prints once a leader is elected and the agents have joined.
const READY: &str = "ready";
/// Keys, an election and a join take a second or two; a loaded machine may need much longer.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Agents, shards and masters end one after the other, and each may take ten seconds to hand over.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Three masters survive the loss of one, two shards too.
pub const MASTERS: u64 = 3;
pub const SHARDS: u64 = 2;
/// They split the machine.
pub const AGENTS: u64 = 4;
/// How often waiting looks at the signal flag.
const POLL: Duration = Duration::from_millis(100);
/// Lines of each log that a failure shows: enough for the error and what led to it.
const LOG_LINES: usize = 20;

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
        dev.arg("dev");
        for (part, count) in [("--masters", MASTERS), ("--shards", SHARDS), ("--agents", AGENTS)] {
            dev.arg(part).arg(count.to_string());
        }
        // It ends when its standard input does: a pipe that we hold does so whatever ends us.
        dev.arg("--dir").arg(&dir).arg("--exit-with-stdin");
        dev.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        eprintln!("$ {}", command::line(&dev));
        // A group of its own: Ctrl-C reaches us only, and we then end the cell in order.
        let mut dev =
            dev.process_group(0).spawn().with_context(|| format!("could not start {}", binary.display()))?;
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
            wait::check(interrupted)?;
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
    pub fn cli(&self, interrupted: &Arc<AtomicBool>) -> Cli {
        Cli::new(&self.binary, &self.dir, interrupted)
    }

    /// What runs where, as `paceline dev` has it in `cell.json`.
    pub fn parts(&self) -> Result<Parts> {
        Parts::read(&self.dir.join("cell.json"))
    }

    /// Ends the cell with SIGTERM and makes sure that nothing of it is left.
    pub fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        let ended = self.terminate();
        let left = processes::end_all(&self.dir);
        ended.and(left)
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

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// What `cell.json` says about the processes of the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Name and pid; no pid while it does not run.
    pids: BTreeMap<String, Option<u32>>,
}

impl Parts {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let file: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        let mut pids = BTreeMap::new();
        for (kind, field) in [("masters", "name"), ("shards", "name"), ("agents", "node")] {
            for entry in file[kind].as_array().into_iter().flatten() {
                let name = entry[field]
                    .as_str()
                    .with_context(|| format!("{}: {kind} without {field}", path.display()))?;
                pids.insert(name.to_owned(), entry["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()));
            }
        }
        Ok(Self { pids })
    }

    /// The process of this master, shard or node.
    pub fn pid(&self, name: &str) -> Result<u32> {
        self.pids
            .get(name)
            .copied()
            .flatten()
            .with_context(|| format!("cell.json names no process of {name}"))
    }

    /// All of them, for the summary.
    pub fn json(&self) -> Value {
        self.pids
            .iter()
            .map(|(name, pid)| (name.clone(), Value::from(*pid)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell whose binary is a shell script with this body.
    fn with_script(body: &str, test: impl FnOnce(&mut DemoCell)) {
        let folder = Folder::create().unwrap();
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

    #[test]
    fn pids_are_read_by_name_and_a_part_that_does_not_run_has_none() {
        let path = std::env::temp_dir().join(format!("xtask-cell-json-{}", std::process::id()));
        let text = r#"{"masters": [{"name": "m1", "pid": 7}], "shards": [{"name": "s1", "pid": null}], "agents": [{"node": "n1", "pid": 9}]}"#;
        fs::write(&path, text).unwrap();
        let parts = Parts::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((parts.pid("m1").unwrap(), parts.pid("n1").unwrap()), (7, 9));
        assert!(parts.pid("s1").is_err() && parts.pid("s2").is_err());
        assert_eq!(parts.json().to_string(), r#"{"m1":7,"n1":9,"s1":null}"#);
    }
}
