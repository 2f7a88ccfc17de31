//! The product's command line, pointed at the demo's cell: questions with JSON answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::wait;
use crate::command::{self, Finished};

/// The client's own deadline, in seconds: a failover on a machine that is busy with other things fits in.
const DEADLINE_SECONDS: &str = "60";
/// Then the client has given up by itself, unless it hangs.
const CALL_LIMIT: Duration = Duration::from_secs(90);

/// How to call the command line.
#[derive(Debug, Clone)]
pub struct Cli {
    binary: PathBuf,
    dir: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl Cli {
    /// The binary, and the folder of the cell.
    pub fn new(binary: &Path, dir: &Path, interrupted: &Arc<AtomicBool>) -> Self {
        Self { binary: binary.to_owned(), dir: dir.to_owned(), interrupted: Arc::clone(interrupted) }
    }

    /// Whether somebody asked us to end.
    pub fn interrupted(&self) -> &AtomicBool {
        &self.interrupted
    }

    /// One call that must succeed; its JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let finished = self.call(arguments)?;
        let shown = self.line(arguments);
        if !finished.status.success() {
            bail!("`{shown}` ended with {}, expected exit code 0", finished.status);
        }
        let parsed = serde_json::from_str(&finished.stdout);
        parsed.with_context(|| format!("`{shown}` did not print JSON:\n{}", finished.stdout))
    }

    /// As [`Cli::ask`], and shows a person what is asked.
    pub fn ask_aloud(&self, arguments: &[&str]) -> Result<Value> {
        eprintln!("$ {}", self.line(arguments));
        self.ask(arguments)
    }

    /// One call, however it ends.
    pub fn call(&self, arguments: &[&str]) -> Result<Finished> {
        wait::check(&self.interrupted)?;
        let finished = command::run_bounded(&mut self.command(arguments), CALL_LIMIT, &self.interrupted);
        // Ctrl-C reaches the call too, which then ends badly: the cause is what to say.
        wait::check(&self.interrupted)?;
        finished
    }

    /// Starts one part of the cell again, as in `agent:3`.
    pub fn start_again(&self, part: &str) -> Result<()> {
        let mut dev = Command::new(&self.binary);
        dev.args(["dev", "--dir"]).arg(&self.dir).args(["--only", part]);
        eprintln!("$ {}", command::line(&dev));
        let finished = command::run_bounded(&mut dev, CALL_LIMIT, &self.interrupted)?;
        if !finished.status.success() {
            bail!("`{}` ended with {}, expected exit code 0", command::line(&dev), finished.status);
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut paceline = Command::new(&self.binary);
        paceline.arg("--cell").arg(&self.dir).args(["--timeout", DEADLINE_SECONDS, "--output", "json"]);
        paceline.args(arguments);
        paceline
    }

    fn line(&self, arguments: &[&str]) -> String {
        command::line(&self.command(arguments))
    }
}
