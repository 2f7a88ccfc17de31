//! Brings a tree back to a disk and opens it as a master does; and says what it found.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use paceline_replica::{
    Ballot, CommitPath, Disk, Execution, FatalHandler, Folder, History, HistoryAge, HistoryRow, Position,
    ReadLimit, read_mark,
};
use paceline_store::{HistoryStore, RocksDisk};
use parking_lot::Mutex;

use crate::driver;
use crate::machine::{Machine, Tally, hash_of};
use crate::script::LogState;
use crate::volume::{Node, Tree};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub log: LogState,
    pub applied: Option<u64>,
    pub tally: Tally,
    pub snapshot: Option<u64>,
    pub watermark: u64,
    pub rows: Vec<HistoryRow>,
    /// The newest of each name, as another index tells it.
    pub newest: Vec<Option<u64>>,
    pub count: u64,
    /// What the mark promised before anything was opened and written it anew; `None` where there was none yet.
    pub mark_left: Option<(Option<Ballot>, Option<Position>)>,
    pub marked_vote: Option<Ballot>,
    pub marked_last: Option<Position>,
}

/// What was found, or why nothing was: the error with its causes.
pub type Outcome = Result<Found, String>;

/// Writes a tree into an empty folder.
pub fn write_tree(tree: &Tree, dir: &Path) -> Result<()> {
    for (name, node) in tree {
        let path = dir.join(name);
        let written = match node {
            Node::Folder => fs::create_dir_all(&path),
            Node::File(content) => fs::write(&path, content.as_slice()),
        };
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Opens what is in a folder and reads all of it.
pub fn open(dir: &Path) -> Outcome {
    open_then(dir, || Ok(()))
}

/// The same, and says what was logged about it.
pub fn open_and_listen(dir: &Path) -> (Outcome, String) {
    let said = Said::default();
    let heard = said.clone();
    let listener = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || heard.clone())
        .finish();
    let outcome = tracing::subscriber::with_default(listener, || open(dir));
    let said = String::from_utf8_lossy(&said.0.lock()).into_owned();
    (outcome, said)
}

/// What was logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens a store and calls `opened` while it is open.
pub fn open_then(dir: &Path, opened: impl FnOnce() -> Result<()>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let failure = Arc::new(Mutex::new(None));
    let found = runtime.block_on(read_all(dir, failure.clone(), opened));
    // Everything that holds the databases lives in the runtime's tasks.
    drop(runtime);
    match (found, failure.lock().take()) {
        (Ok(found), None) => Ok(found),
        (Err(error), None) => Err(format!("{error:#}")),
        (_, Some(fatal)) => Err(fatal),
    }
}

async fn read_all(
    dir: &Path,
    failure: Arc<Mutex<Option<String>>>,
    opened: impl FnOnce() -> Result<()>,
) -> Result<Found> {
    let mut config = driver::config();
    config.execution = Execution::Tasks;
    let told = failure.clone();
    config.fatal = FatalHandler::replaced_by(move |reason| *told.lock() = Some(reason.to_owned()));
    let disk = Arc::new(RocksDisk::open_small(dir)?);
    let left = disk.open(Folder::Root, "high-water-mark")?.is_some();
    let mark_left = if left { Some(read_mark(disk.as_ref())?) } else { None };
    let history: Arc<dyn History> = Arc::new(HistoryStore::open_small(dir)?);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let machine = Machine { tally: tally.clone(), history: history.clone(), failed: failure.clone() };
    let path = CommitPath::open(&config, disk.clone(), history.clone(), machine).await?;
    let (marked_vote, marked_last) = read_mark(disk.as_ref())?;
    let entries = path.entries().await?.into_iter();
    let log = LogState {
        purged: path.purged(),
        entries: entries.map(|(at, payload)| (at, hash_of(&payload[..]))).collect(),
        vote: path.vote().await?,
        committed: path.committed(),
    };
    let limit = ReadLimit { rows: 100_000, bytes: 1 << 30 };
    let rows = history.rows_after(&HistoryAge::default(), u64::MAX, limit)?;
    let mut by_key = history.scan_back(None, limit)?;
    by_key.reverse();
    anyhow::ensure!(by_key == rows, "history tells other rows by key than by age");
    let newest = |name: u64| history.newest_named(format!("job-{name}").as_bytes(), None);
    let newest = (0..5).map(|name| Ok(newest(name)?.map(|row| row.revision))).collect::<Result<_>>()?;
    opened()?;
    let tally = *tally.lock();
    Ok(Found {
        log,
        applied: path.applied().map(|at| at.index),
        tally,
        snapshot: path.snapshot_index(),
        watermark: history.watermark()?,
        rows,
        newest,
        count: history.len()?,
        mark_left,
        marked_vote,
        marked_last,
    })
}
