//! `paceline-chaos`: breaks a cell of real processes on purpose, and holds what it promised against what it did.
//!
//! ```text
//! run SCENARIO ─► cell (paceline dev, a folder of its own) ─► fault, again and again ─► end, always
//!                  ▲ load: small jobs all the time ─► record ─┐        │
//!                                                             └► oracle ┴─► report
//! ```
//!
//! Uses the product from outside, as an operator does: its binary, its folder, its client. It exits with 0 only
//! when every promise was kept; 1 when one was broken; 2 when the run could not be carried through; 3 when too
//! little happened to say anything.

mod cell;
mod cpu;
mod load;
mod marks;
mod process;
mod record;
mod report;
mod scenario;
mod tasks;
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use cell::DevCell;
use report::{Report, Verdict};
use scenario::{Options, Scenario};

/// Breaks a cell on purpose.
#[derive(Debug, Parser)]
#[command(name = "paceline-chaos", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario against a cell of its own.
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What is done to the cell.
    scenario: Scenario,
    /// How often it is done [default: 10 for leader-kill, 3 at most for throughput and member-replace, 1 for the others].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: Option<u32>,
    /// Tasks of the job that runs meanwhile [default: 20000 for leader-kill and throughput, 20 or 40 for the others].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: Option<u32>,
    /// How long what is killed or paused stays so, at least [default: 60 for all-killed, 20 for leader-pause and
    /// shard-kill, 10 for agent-kill].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3_600))]
    outage_seconds: Option<u64>,
    /// With fewer acknowledged submissions the run is void [default: 10 for each time].
    #[arg(long, value_name = "N")]
    acknowledged_min: Option<usize>,
    /// Write the report as JSON to this file; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the cell's folder after a run that passed, too.
    #[arg(long)]
    keep: bool,
    /// Where the paceline and paceline-supervisor binaries are [default: beside this one].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    match run(&args) {
        Ok(verdict) => ExitCode::from(match verdict {
            Verdict::Passed => 0,
            Verdict::Violated => 1,
            Verdict::Error => 2,
            Verdict::Void => 3,
        }),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &RunArgs) -> Result<Verdict> {
    let options = options(args);
    let mut report = Report::new(args.scenario.name(), run_name(), args.scenario.params(&options));
    let runtime = Runtime::new().context("the runtime cannot be started")?;
    // Heard from here on: between the start of the cell and its end, nobody may end this process but by SIGKILL.
    let interrupted = {
        let _inside = runtime.enter();
        interrupted()?
    };
    let began = Instant::now();
    let mut cell = DevCell::start(&paceline(args.bin_dir.as_deref())?, args.scenario.settings())?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = drive(args.scenario, &mut cell, &options, &mut report) => outcome,
            error = interrupted => Err(error),
        }
    });
    report.error = outcome.err().map(|error| format!("{error:#}"));
    // Ends the submissions too, which an error left under way.
    runtime.shutdown_background();
    report.violations.extend(cell.end().into_iter().map(|fault| format!("the end of the cell: {fault}")));
    report.seconds = began.elapsed().as_secs_f64();
    report.conclude();
    if (args.keep || report.verdict != Verdict::Passed)
        && let Some(folder) = cell.keep_folder()
    {
        eprintln!("the cell's folder is kept: {}", folder.display());
    }
    publish(&report, args.json.as_deref())?;
    Ok(report.verdict)
}

async fn drive(scenario: Scenario, cell: &mut DevCell, options: &Options, report: &mut Report) -> Result<()> {
    cell.wait_ready().await?;
    scenario.run(cell, options, report).await
}

fn options(args: &RunArgs) -> Options {
    let defaults = args.scenario.defaults();
    let runs = args.runs.map_or(defaults.runs, |runs| runs as usize);
    Options {
        runs,
        tasks: args.tasks.unwrap_or(defaults.tasks),
        outage_seconds: args.outage_seconds.unwrap_or(defaults.outage_seconds),
        acknowledged_min: args.acknowledged_min.unwrap_or(runs * defaults.acknowledged_per_run),
    }
}

/// Differs between runs on one machine, and says when it was.
fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", since.as_secs(), std::process::id())
}

fn paceline(bin_dir: Option<&Path>) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(bin_dir.map_or_else(|| own.with_file_name("paceline"), |folder| folder.join("paceline")))
}

/// Resolves when somebody wants this to end; the cell is then ended in order. Inside a runtime only.
fn interrupted() -> Result<impl Future<Output = anyhow::Error>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be heard")?;
    let mut hangup = signal(SignalKind::hangup()).context("the end of the terminal cannot be heard")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => anyhow!("ended by SIGTERM"),
            _ = interrupt.recv() => anyhow!("ended by Ctrl-C"),
            _ = hangup.recv() => anyhow!("ended with its terminal"),
        }
    })
}

/// For people on standard output, unless a program reads that; then on standard error.
fn publish(report: &Report, json: Option<&Path>) -> Result<()> {
    let document = serde_json::to_string_pretty(report).context("the report cannot be written as JSON")?;
    match json {
        Some(path) if path == Path::new("-") => {
            eprint!("{}", report.text());
            println!("{document}");
        }
        Some(path) => {
            print!("{}", report.text());
            fs::write(path, document + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => print!("{}", report.text()),
    }
    Ok(())
}
