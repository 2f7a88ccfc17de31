//! Records a script: builds the shim, runs the driver under it, life after life, and gives the trace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::script::{Script, Step};
use crate::trace::{self, Call};

/// A recorded script.
pub struct Recording {
    pub script: Arc<Script>,
    pub calls: Vec<Call>,
}

/// Records a script into a folder, which is empty.
pub fn record(seed: u64, steps: usize, dir: &Path) -> Result<Recording> {
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
            .args([seed, steps as u64, from as u64].map(|of| of.to_string()));
        live.env("LD_PRELOAD", &shim).env("DISKSHIM_ROOT", &store);
        live.env("DISKSHIM_MARKS", &marks).env("DISKSHIM_TRACE", &trace);
        let status = live.status().context("the recorded process cannot be started")?;
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

/// The shim is linked by nothing, so cargo does not build it for a test by itself.
fn shim() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", "paceline-diskshim"]);
    let built = cargo.status().context("cargo cannot be started")?;
    ensure!(built.success(), "the shim does not build");
    let exe = std::env::current_exe()?;
    let profile = exe.parent().and_then(Path::parent).context("a test lies below a profile's folder")?;
    Ok(profile.join("libpaceline_diskshim.so"))
}
