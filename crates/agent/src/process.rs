//! The runtime of a real node: processes under supervisors, in a folder beside the agent's own records.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use paceline_runtime::{
    ObserveError, Observed, OpenError, ProcessOptions, ProcessRuntime, Runtime, StopError,
};

use paceline_types::AttemptId;

use crate::config::AgentConfig;

/// The runtime's folder in the agent's data folder.
const RUNTIME_FOLDER: &str = "runtime";
/// From SIGTERM to SIGKILL when all tasks of a node are ended.
const END_GRACE_MS: u64 = 1_000;
/// How long all of it may take: the grace, and what supervisors need to write their records.
const END_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the tasks of a node were not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The runtime's folder cannot be used.
    #[error("the runtime's folder cannot be opened")]
    Open(#[from] OpenError),
    /// An attempt cannot be stopped.
    #[error("an attempt cannot be stopped")]
    Stop(#[from] StopError),
    /// What runs cannot be read.
    #[error("the attempts of the node cannot be read")]
    Observe(#[from] ObserveError),
    /// Some did not end.
    #[error("{left} tasks have not ended within {within:?}")]
    NotEnded {
        /// How many.
        left: usize,
        /// How long was waited.
        within: Duration,
    },
}

/// The process runtime of an agent's node.
///
/// # Errors
/// The folder cannot be used, or the supervisor's program is not there.
pub fn process_runtime(config: &AgentConfig, supervisor: &Path) -> Result<Arc<dyn Runtime>, OpenError> {
    let mut options = ProcessOptions::new(&config.cell, config.node.as_str());
    options.task_uids = config.task_uids;
    open(&config.data_dir, supervisor, options)
}

fn open(data_dir: &Path, supervisor: &Path, options: ProcessOptions) -> Result<Arc<dyn Runtime>, OpenError> {
    let folder: PathBuf = data_dir.join(RUNTIME_FOLDER);
    Ok(Arc::new(ProcessRuntime::open(&folder, supervisor.to_owned(), options)?))
}

/// Ends every task of a node whose agent is not running: a node that leaves, or a development cell that ends.
/// Blocks until they have ended. Their records stay for the agent's next start.
///
/// # Errors
/// [`EndError`]; what could be stopped was.
pub fn end_tasks(cell: &str, node: &str, data_dir: &Path, supervisor: &Path) -> Result<usize, EndError> {
    if !data_dir.join(RUNTIME_FOLDER).exists() {
        return Ok(0);
    }
    let runtime = open(data_dir, supervisor, ProcessOptions::new(cell, node))?;
    end_all(&*runtime, END_WITHIN)
}

/// All of them are told before the first that could not be told is an error.
fn end_all(runtime: &dyn Runtime, within: Duration) -> Result<usize, EndError> {
    let attempts = live(runtime)?;
    let told: Vec<_> = attempts.iter().map(|attempt| runtime.stop(attempt, END_GRACE_MS)).collect();
    told.into_iter().collect::<Result<(), _>>()?;
    let deadline = Instant::now() + within;
    loop {
        let left = live(runtime)?.len();
        if left == 0 {
            return Ok(attempts.len());
        }
        if Instant::now() >= deadline {
            return Err(EndError::NotEnded { left, within });
        }
        sleep(LOOK_EVERY);
    }
}

fn live(runtime: &dyn Runtime) -> Result<Vec<AttemptId>, ObserveError> {
    let mut attempts = runtime.attempts()?;
    attempts.retain(|(_, seen)| !matches!(seen, Observed::Exited(_)));
    Ok(attempts.into_iter().map(|(attempt, _)| attempt).collect())
}
