//! Records a script, or an opening: builds the shim, runs the process under it, and gives the trace.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use paceline_types::plant::Plant;
use parking_lot::Mutex;

use crate::script::{Script, Step};
use crate::trace::{self, Call};

/// A recorded script.
pub struct Recording {
    pub script: Arc<Script>,
    pub calls: Vec<Call>,
}

/// Records a script into a folder, which is empty; with a bug, if there is to be one.
pub fn record(seed: u64, steps: usize, bug: Option<Plant>, dir: &Path) -> Result<Recording> {
    let shim = shim()?;
    let script = Script::generate(seed, steps);
    let (store, marks, trace) = (dir.join("store"), dir.join("marks"), dir.join("trace"));
    std::fs::create_dir(&store)?;
    let mut from = 0;
    while from < script.steps.len() {
        let end = script.steps[from..].iter().position(|step| matches!(step, Step::End { .. }));
        let end = end.map_or(script.steps.len(), |at| from + at + 1);
        let mut live = Command::new(std::env::current_exe()?);
        live.arg("live")
            .args([&store, &marks])
            .args([seed, steps as u64, from as u64].map(|of| of.to_string()))
            .arg(bug.map_or("no-bug", Plant::name));
        let status = under_shim(live, &shim, &store, &marks, &trace)?;
        let killed = matches!(script.steps.get(end - 1), Some(Step::End { closes: false }));
        ensure!(
            status.success() != killed,
            "the recorded process ended with {status} in steps {from} to {end}"
        );
        from = end;
    }
    let calls = trace::read(&trace, &store)?;
    ensure!(!calls.is_empty(), "nothing was recorded");
    Ok(Recording { script, calls })
}

/// Records the opening of a store and of all that is in it, up to and with its closing. The store must open.
pub fn record_opening(shim: &Path, store: &Path, dir: &Path) -> Result<Vec<Call>> {
    let (marks, trace) = (dir.join("marks"), dir.join("trace"));
    let mut open = Command::new(std::env::current_exe()?);
    open.arg("open").args([store, &marks]);
    let status = under_shim(open, shim, store, &marks, &trace)?;
    ensure!(status.success(), "the recorded opening ended with {status}");
    trace::read(&trace, store)
}

fn under_shim(
    mut process: Command,
    shim: &Path,
    store: &Path,
    marks: &Path,
    trace: &Path,
) -> Result<ExitStatus> {
    process.env("LD_PRELOAD", shim).env("DISKSHIM_ROOT", store);
    process.env("DISKSHIM_MARKS", marks).env("DISKSHIM_TRACE", trace);
    process.status().context("the recorded process cannot be started")
}

/// The shim is linked by nothing, so cargo does not build it for a test by itself. It is built once for all recordings.
pub fn shim() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock();
    if let Some(built) = &*built {
        return Ok(built.clone());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", "paceline-diskshim"]);
    ensure!(cargo.status().context("cargo cannot be started")?.success(), "the shim does not build");
    let exe = std::env::current_exe()?;
    let profile = exe.parent().and_then(Path::parent).context("a test lies below a profile's folder")?;
    Ok(built.insert(profile.join("libpaceline_diskshim.so")).clone())
}
