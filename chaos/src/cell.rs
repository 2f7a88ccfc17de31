//! A cell of real processes in a folder of its own: started, looked at, and always ended.
//!
//! ```text
//! start ─► paceline dev ─► `ready` ─► the scenario ─► SIGTERM ─► (60 s) ─► SIGKILL by pid
//!                                                                  what is left then is a fault of the cell
//! ```
//!
//! Knows nothing about jobs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use paceline_client::{CellFolder, Client};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::{self, Process};
use crate::wait::LOOK_EVERY;

/// What `paceline dev` prints once a leader is elected and the agents have joined.
const READY: &str = "ready";
/// `paceline dev` gives up by itself before this.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Agents, tasks, shards and masters end one after the other, and each may take ten seconds to hand over.
const END_WITHIN: Duration = Duration::from_secs(60);
/// From SIGKILL until a process is gone: the kernel may have to write out a core's worth of pages first.
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// How many of each part there are.
pub const MASTERS: usize = 3;
/// See [`MASTERS`].
pub const SHARDS: usize = 2;
/// See [`MASTERS`].
pub const AGENTS: usize = 4;

/// What `cell.json` says about the parts.
#[derive(Debug, Deserialize)]
pub struct Parts {
    /// By Raft id.
    pub masters: Vec<Part>,
    /// By number.
    pub shards: Vec<Part>,
    /// By number.
    pub agents: Vec<Agent>,
}

/// A master or a shard.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    /// As in `--only master:ID`.
    pub id: u64,
    /// As in its certificate.
    pub name: String,
    /// Absent while it does not run.
    pub pid: Option<u32>,
    /// Where clients reach a master.
    pub api: Option<String>,
    /// Where the other masters reach it.
    pub peer: Option<String>,
}

/// An agent.
#[derive(Clone, Debug, Deserialize)]
pub struct Agent {
    /// Its name, as in its certificate.
    pub node: String,
    /// Absent while it does not run.
    pub pid: Option<u32>,
}

impl Part {
    /// Its process, where it runs.
    pub fn process(&self) -> Option<Process> {
        Process::find(self.pid?)
    }
}

impl Agent {
    /// Its process, where it runs.
    pub fn process(&self) -> Option<Process> {
        Process::find(self.pid?)
    }
}

impl Parts {
    /// An agent as `--only` names it, and its process where it runs.
    pub fn agent(&self, node: &str) -> Option<(String, Option<Process>)> {
        let at = self.agents.iter().position(|agent| agent.node == node)?;
        Some((format!("agent:{}", at + 1), self.agents[at].process()))
    }

    /// A shard by its name.
    pub fn shard(&self, name: &str) -> Option<&Part> {
        self.shards.iter().find(|shard| shard.name == name)
    }

    /// A master by its name.
    pub fn master(&self, name: &str) -> Option<&Part> {
        self.masters.iter().find(|master| master.name == name)
    }
}

/// How a cell is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// It brings back by itself what ends.
    pub restart: bool,
    /// Masters take a snapshot after so many bytes of log, and keep so many behind it.
    pub log: Option<(u64, u64)>,
}

/// A running cell. Dropping it ends it.
#[derive(Debug)]
pub struct DevCell {
    paceline: PathBuf,
    folder: Option<TempDir>,
    dir: PathBuf,
    marks: PathBuf,
    dev: Child,
    ended: bool,
}

impl DevCell {
    /// Starts three masters, two shards and four agents under `paceline dev`.
    pub fn start(paceline: &Path, settings: Settings) -> Result<Self> {
        ensure!(paceline.is_file(), "{} is missing: build it, or give --bin-dir", paceline.display());
        // Others may enter: tasks run as another user. The roles show resolved paths on their command lines.
        let parent = std::env::temp_dir().canonicalize().context("cannot find the temporary folder")?;
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("paceline-chaos-").permissions(Permissions::from_mode(0o755));
        let folder = builder.tempdir_in(parent).context("cannot create a folder for the cell")?;
        let dir = folder.path().join("cell");
        let marks = folder.path().join("marks");
        fs::create_dir(&marks).context("cannot create a folder for what tasks write")?;
        // For everybody, as the temporary folder itself: tasks run as another user.
        fs::set_permissions(&marks, Permissions::from_mode(0o1777)).context("cannot open that folder")?;
        let create = |name: &str| {
            File::create(folder.path().join(name)).with_context(|| format!("cannot create {name}"))
        };
        let mut dev = Command::new(paceline);
        dev.arg("dev");
        for (part, count) in [("--masters", MASTERS), ("--shards", SHARDS), ("--agents", AGENTS)] {
            dev.arg(part).arg(count.to_string());
        }
        if let Some((snapshot_after, tail)) = settings.log {
            dev.args(["--snapshot-after-log", &snapshot_after.to_string(), "--log-tail", &tail.to_string()]);
        }
        dev.arg("--dir").arg(&dir).args(settings.restart.then_some("--restart"));
        dev.stdin(Stdio::null()).stdout(create("dev.stdout")?).stderr(create("dev.stderr")?);
        // A group of its own: Ctrl-C reaches this process only, which then ends the cell in order.
        let dev =
            dev.process_group(0).spawn().with_context(|| format!("cannot start {}", paceline.display()))?;
        Ok(Self { paceline: paceline.to_owned(), folder: Some(folder), dir, marks, dev, ended: false })
    }

    /// Returns once the cell says that it is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.output("dev.stdout").lines().any(|line| line.trim() == READY) {
            if let Some(status) = self.dev.try_wait().context("cannot wait for paceline dev")? {
                bail!("paceline dev ended with {status} before it was ready:\n{}", self.output("dev.stderr"));
            }
            ensure!(began.elapsed() < READY_WITHIN, "paceline dev was not ready within {READY_WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What runs where, right now.
    pub fn parts(&self) -> Result<Parts> {
        let path = self.dir.join("cell.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not as expected", path.display()))
    }

    /// A client of its own channels and request ids.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::open(CellFolder::read(&self.dir)?)?)
    }

    /// A client that knows one master only, and of the others what that one tells it.
    pub fn client_that_knows_only(&self, master: &str) -> Result<Client> {
        let folder = CellFolder::read(&self.dir)?;
        let address = folder.address_of(master).with_context(|| format!("{master} has no address"))?;
        Ok(Client::open(CellFolder { api: vec![address.to_owned()], masters: Vec::new(), ..folder })?)
    }

    /// Where tasks leave their marks: everybody may write there.
    pub fn marks_folder(&self) -> &Path {
        &self.marks
    }

    /// Starts one part again, as in `master:2`, and leaves it running.
    pub async fn start_again(&self, part: &str) -> Result<()> {
        self.only(part, &[]).await
    }

    /// Makes a master that the cell does not have, as in `master:4`, and starts it: it waits to be taken in.
    pub async fn join(&self, part: &str) -> Result<()> {
        self.only(part, &["--join"]).await
    }

    async fn only(&self, part: &str, more: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.paceline);
        command.arg("dev").arg("--dir").arg(&self.dir).args(["--only", part]).args(more).stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await?.with_context(|| format!("cannot start {}", self.paceline.display()))?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "paceline dev --only {part} ended with {}: {words}", output.status);
        Ok(())
    }

    /// Ends the cell. Returns whatever was wrong with its end: nothing of it runs afterwards in any case.
    pub fn end(&mut self) -> Vec<String> {
        self.ended = true;
        // What a scenario paused and did not resume could not end in order.
        process::of_cell(&self.dir).iter().for_each(|(process, _)| process.resume());
        let mut faults = Vec::new();
        match self.end_dev() {
            Ok(()) => {}
            Err(fault) => faults.push(format!("{fault:#}")),
        }
        let began = Instant::now();
        let mut left = process::of_cell(&self.dir);
        faults.extend(
            left.iter().map(|(process, line)| format!("left behind: process {} {line}", process.pid)),
        );
        // Killing a supervisor ends its task; what that leaves is seen on the next look.
        while !left.is_empty() && began.elapsed() < KILL_WITHIN {
            left.iter().for_each(|(process, _)| process.kill());
            thread::sleep(LOOK_EVERY);
            left = process::of_cell(&self.dir);
        }
        faults
    }

    /// Keeps the folder for whoever has to find out what happened.
    pub fn keep_folder(&mut self) -> Option<PathBuf> {
        self.folder.take().map(TempDir::keep)
    }

    fn end_dev(&mut self) -> Result<()> {
        if let Some(status) = self.dev.try_wait().context("cannot wait for paceline dev")? {
            bail!("paceline dev had ended by itself with {status}");
        }
        if let Some(process) = Process::find(self.dev.id()) {
            process.terminate();
        }
        let began = Instant::now();
        while began.elapsed() < END_WITHIN {
            if let Some(status) = self.dev.try_wait().context("cannot wait for paceline dev")? {
                ensure!(status.success(), "paceline dev, told to end by SIGTERM, ended with {status}");
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
        self.dev.kill().context("cannot kill paceline dev")?;
        self.dev.wait().context("cannot wait for paceline dev")?;
        bail!("paceline dev did not end within {END_WITHIN:?} of SIGTERM and was killed")
    }

    fn output(&self, name: &str) -> String {
        let path = self.dir.with_file_name(name);
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }
}

impl Drop for DevCell {
    fn drop(&mut self) {
        if !self.ended {
            for fault in self.end() {
                eprintln!("{fault}");
            }
        }
    }
}
