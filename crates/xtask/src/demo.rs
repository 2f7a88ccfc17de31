//! `cargo xtask demo`: a cell of real processes runs a real job, and everything it says is checked.
//!
//! ```text
//! set-up ─► build ─► paceline dev ─► job ─► kill the leader ─► next write ─► job again ─► SIGTERM
//! ```
//! Uses the product as a person would: its binaries, its command line, its JSON. `cell` owns the
//! processes, `failover` kills the leader, `outcome` judges the answers, `summary` prints them.

mod cell;
mod failover;
mod outcome;
mod summary;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::cell::{DemoCell, Folder};
use self::failover::Failover;
use self::outcome::{Answers, Outcome};
use crate::command;
use crate::parts::Parts;
use crate::setup;
use crate::workspace::Workspace;

/// The job file, from the root.
const JOB_FILE: &str = "ops/examples/hello.yaml";
/// Its name, for the questions about it.
const JOB: &str = "hello";

/// Three processes of a shell that does nothing take a second; a loaded machine may need much longer.
const JOB_LIMIT: Duration = Duration::from_secs(120);
/// One question to a cell that is up; the client's own deadline is shorter.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// `paceline job submit --wait`: the job ended, and some of its tasks failed.
const EXIT_TASKS_FAILED: i32 = 5;

/// What stdout gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The summary for people.
    Text,
    /// The same, and one line of JSON after it, after a failure too.
    TextThenJson,
}

/// Runs the demo; anything that is not as it should be is an error.
pub fn run(workspace: &Workspace, output: Output) -> Result<()> {
    let mut parts = Parts::default();
    let outcome = demonstrate(workspace, &mut parts);
    parts.report();
    if let Ok(outcome) = &outcome {
        print!("{}", summary::text(outcome, &parts));
    }
    if output == Output::TextThenJson {
        println!("{}", summary::json(&outcome, &parts));
    }
    outcome.map(|_| ())
}

/// What the demo saw.
#[derive(Debug)]
struct Seen {
    /// The job under the first leader.
    before: Outcome,
    failover: Failover,
    /// The same file again, under the second.
    after: Outcome,
}

fn demonstrate(workspace: &Workspace, parts: &mut Parts) -> Result<Seen> {
    let environment = parts.time("set-up", || setup::ensure(workspace))?;
    let binaries = parts.time("build", || {
        let mut build = environment.cargo(workspace);
        build.args(["build", "--workspace", "--locked", "--bins"]);
        // The one test brings the tests' features in: without it some crates would compile twice.
        command::run(build.args(["--test", "tree"]))?;
        Ok(workspace.target_dir()?.join("debug"))
    })?;

    // From here on a signal must end the cell before it ends us.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .context("could not watch for signals")?;
    }
    let folder = Folder::create()?;
    let outcome = with_cell(workspace, &binaries, &folder, &interrupted, parts);
    match &outcome {
        Ok(_) => folder.remove()?,
        Err(_) => eprintln!("the demo's files are kept in {}", folder.path().display()),
    }
    outcome
}

fn with_cell(
    workspace: &Workspace,
    binaries: &Path,
    folder: &Folder,
    interrupted: &AtomicBool,
    parts: &mut Parts,
) -> Result<Seen> {
    let mut cell = parts.time("start", || {
        let mut cell = DemoCell::start(&binaries.join("paceline"), folder)?;
        match cell.wait_ready(interrupted) {
            Ok(()) => Ok(cell),
            Err(error) => {
                cell.print_logs();
                Err(cell.stop_after(error))
            }
        }
    })?;
    match show(workspace, &cell, interrupted, parts) {
        Ok(seen) => parts.time("stop", || cell.stop()).map(|()| seen),
        Err(error) => {
            cell.print_logs();
            Err(cell.stop_after(error))
        }
    }
}

fn show(workspace: &Workspace, cell: &DemoCell, interrupted: &AtomicBool, parts: &mut Parts) -> Result<Seen> {
    let file = workspace.root.join(JOB_FILE);
    let job = || outcome::judge(JOB, &run_job(cell, &file, interrupted)?);
    let before = parts.time("job", job)?;
    let failover = parts.time("failover", || failover::kill_leader(cell, interrupted))?;
    let after = parts.time("job-again", job)?;
    if before.uid == after.uid {
        bail!("the second submission found the first job, which had ended");
    }
    Ok(Seen { before, failover, after })
}

fn run_job(cell: &DemoCell, job_file: &Path, interrupted: &AtomicBool) -> Result<Answers> {
    let file = job_file.to_str().context("the path of the tree is not UTF-8")?;
    let submit = ["job", "submit", file, "--wait", "--output", "json"];
    let submitted = ask(cell, &submit, JOB_LIMIT, EXIT_TASKS_FAILED, interrupted)?;
    let job = ask(cell, &["job", "get", JOB, "--output", "json"], CALL_LIMIT, 0, interrupted)?;
    let tasks = ask(cell, &["job", "tasks", JOB, "--output", "json"], CALL_LIMIT, 0, interrupted)?;
    Ok(Answers { submitted, job, tasks })
}

/// One call of the command line, which must end with the expected code and print JSON.
fn ask(
    cell: &DemoCell,
    arguments: &[&str],
    limit: Duration,
    expected_code: i32,
    interrupted: &AtomicBool,
) -> Result<Value> {
    let mut paceline = cell.paceline(arguments);
    let shown = command::line(&paceline);
    eprintln!("$ {shown}");
    let finished = command::run_bounded(&mut paceline, limit, interrupted)?;
    if finished.status.code() != Some(expected_code) {
        bail!(
            "`{shown}` ended with {}, expected exit code {expected_code}\n{}",
            finished.status,
            finished.stdout
        );
    }
    serde_json::from_str(&finished.stdout)
        .with_context(|| format!("`{shown}` did not print JSON:\n{}", finished.stdout))
}
