//! The process that is recorded: it does the steps of a script on a real store and marks what was acknowledged.
//!
//! A mark is one line in the file of marks: `s N`, step N begins; `d N`, what the log was told up to step N is durable;
//! `m N`, and the high-water mark promises it; `h N`, snapshot and history of step N are durable; `e N`, step N ends this
//! process. Each process begins by telling the log again what is committed, as Raft does.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use paceline_replica::{CommitPath, History, MemoryDisk, MemoryHistory, Position, ReplicaConfig};
use paceline_store::{HistoryStore, RocksDisk};
use paceline_types::plant::{Plant, plant};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::machine::{self, Machine};
use crate::script::{EntryPlan, Script, Step};

/// How often a store is asked whether it is closed, a pause apart: far beyond any close.
const CLOSE_ATTEMPTS: usize = 2000;
const CLOSE_PAUSE: Duration = Duration::from_millis(5);

/// Who the store belongs to.
pub fn config() -> ReplicaConfig {
    let mut config = ReplicaConfig::new("power", "m1", 1);
    // Less than the script appends, so that reads and truncations go to the disk as well.
    config.memory_tail_bytes = 16 * 1024;
    config
}

/// Does the steps from `from` on, until one ends the process or there is none left; with a bug, if there is to be one.
pub fn live(
    dir: &Path,
    marks: &Path,
    (seed, steps): (u64, usize),
    from: usize,
    bug: Option<Plant>,
) -> Result<()> {
    plant(bug);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let script = Script::generate(seed, steps);
    let marks = OpenOptions::new().create(true).append(true).open(marks).context("the file of marks")?;
    let marks = Arc::new(Marks(Mutex::new(marks)));
    runtime.block_on(async {
        let disk = Arc::new(RocksDisk::open_small(dir)?);
        let history: Arc<dyn History> = Arc::new(HistoryStore::open_small(dir)?);
        let failed = Arc::default();
        let machine =
            Machine { tally: Arc::default(), history: history.clone(), failed: Arc::clone(&failed) };
        let path = CommitPath::open(&config(), disk, history.clone(), machine).await?;
        let committed = script.logs[from].committed;
        let mut driver = Driver { path, history, marks, script, waiting: Vec::new() };
        if let Some(committed) = committed.filter(|at| driver.path.committed() < Some(*at)) {
            driver.path.commit(committed).await?;
        }
        let mut at = from;
        while driver.step(at).await.with_context(|| format!("step {at}"))? {
            at += 1;
            if let Some(problem) = failed.lock().take() {
                bail!("the history failed in step {at}: {problem}");
            }
        }
        anyhow::Ok(())
    })?;
    drop(runtime);
    wait_closed(dir)
}

/// Owner threads let go of the store a moment after their owner, and RocksDB's own clean-up at the end of the process must
/// not meet a database that is being closed. Whoever can open it knows that it is closed.
fn wait_closed(dir: &Path) -> Result<()> {
    let opens = || RocksDisk::open_small(dir).and_then(|_disk| HistoryStore::open_small(dir).map(drop));
    let mut opened = opens();
    for _ in 0..CLOSE_ATTEMPTS {
        if opened.is_ok() {
            break;
        }
        std::thread::sleep(CLOSE_PAUSE);
        opened = opens();
    }
    opened.context("the store does not close")
}

struct Marks(Mutex<File>);

impl Marks {
    fn put(&self, kind: char, step: usize) -> Result<()> {
        self.0.lock().write_all(format!("{kind} {step}\n").as_bytes()).context("the file of marks")
    }
}

struct Driver {
    path: CommitPath,
    history: Arc<dyn History>,
    marks: Arc<Marks>,
    script: Arc<Script>,
    /// Appends whose callback has not come, each marking when it does.
    waiting: Vec<JoinHandle<Result<()>>>,
}

impl Driver {
    /// One step; `false` at the end.
    async fn step(&mut self, at: usize) -> Result<bool> {
        let script = self.script.clone();
        let Some(step) = script.steps.get(at) else { return Ok(false) };
        if let Step::End { closes } = step {
            self.marks.put('e', at)?;
            if !closes {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
            }
            return Ok(false);
        }
        self.marks.put('s', at)?;
        match step {
            Step::Append(plans) => return self.append(at, plans).await.map(|()| true),
            Step::Vote(ballot) => self.path.save_vote(*ballot).await?,
            Step::Truncate(last) => return Ok(self.path.truncate_after(*last).await.map(|()| true)?),
            Step::Purge(upto) => return Ok(self.path.purge(*upto).await.map(|()| true)?),
            Step::Barrier => self.path.barrier().await?,
            Step::Settle => self.settle().await?,
            Step::Commit(upto) => self.path.commit(*upto).await?,
            Step::Snapshot => self.path.snapshot().await?,
            Step::Install(upto) => self.install(*upto).await?,
            Step::End { .. } => bail!("an end is no step of a running process"),
        }
        match step {
            Step::Vote(_) => self.marks.put('d', at)?,
            Step::Barrier => {
                self.marks.put('d', at)?;
                self.path.marked().await;
                self.marks.put('m', at)?;
            }
            Step::Commit(_) | Step::Snapshot | Step::Install(_) => self.marks.put('h', at)?,
            _ => {}
        }
        Ok(true)
    }

    async fn append(&mut self, at: usize, plans: &[EntryPlan]) -> Result<()> {
        let entries = plans.iter().map(|plan| (plan.at, plan.payload())).collect();
        let pending = self.path.append(entries).await?;
        let marks = self.marks.clone();
        self.waiting.push(tokio::spawn(async move {
            pending.durable().await?;
            marks.put('d', at)
        }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        for waiting in self.waiting.drain(..) {
            waiting.await??;
        }
        Ok(())
    }

    /// The history first, then the snapshot, then the log forgets what both stand for: the order of an installation.
    async fn install(&mut self, upto: Position) -> Result<()> {
        let donor = donor(&self.script.committed, upto).await?;
        let watermark = self.history.watermark()?;
        let rows: Vec<_> = (watermark + 1..=upto.index).filter_map(machine::row_of).collect();
        self.history.put(&rows, upto.index, &machine::keep())?;
        self.path.install(&donor).await?;
        Ok(self.path.purge(upto).await?)
    }
}

/// Another replica, in memory, with a snapshot of everything up to an entry.
async fn donor(committed: &[EntryPlan], upto: Position) -> Result<CommitPath> {
    let history = Arc::new(MemoryHistory::new());
    let machine = Machine { tally: Arc::default(), history: history.clone(), failed: Arc::default() };
    let mut donor = CommitPath::open(&config(), Arc::new(MemoryDisk::new()), history, machine).await?;
    let entries: Vec<_> =
        committed.iter().take(upto.index as usize + 1).map(|plan| (plan.at, plan.payload())).collect();
    donor.append(entries).await?.durable().await?;
    donor.commit(upto).await?;
    donor.snapshot().await?;
    Ok(donor)
}
