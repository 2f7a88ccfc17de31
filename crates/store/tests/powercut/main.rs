//! The store under power cuts: a recorded trace, cut at its boundaries, reopened each time.
//!
//! `driver` does the steps of a `script` on a real store while the shim records; `trace` and `volume` say what a cut may
//! leave; `reopen` opens it as a master does; `judge` holds it against what was acknowledged; `again` cuts the reopening;
//! `damage` changes files; `plants` shows that bugs would be found. `cargo test` runs a sample; `cargo xtask powercut`
//! runs all of it.

#[path = "../../../diskshim/src/record.rs"]
mod record;

mod again;
mod cuts;
mod damage;
mod driver;
mod judge;
mod machine;
mod pace;
mod plants;
mod random;
mod recording;
mod reopen;
mod script;
mod trace;
mod volume;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use paceline_types::plant::Plant;

use cuts::Extent;

/// The sample's trace and how much of it is cut.
const SAMPLE: (u64, usize, usize) = (1, 150, 4);
/// One of so many cuts of the sample is recovered from with cuts; a recovery has some hundred boundaries.
const SAMPLE_AGAIN: usize = 400;
/// The same in the whole campaign.
const AGAIN: usize = 200;
/// Bugs of which the sample shows that they would be found; `cargo xtask powercut --plant all` looks for every one.
const SAMPLE_BUGS: [&str; 3] = ["acknowledge-then-sync", "mark-not-synced", "history-not-synced"];
/// Steps of the trace whose stores are damaged.
const DAMAGED_STEPS: usize = 400;
/// Steps of the canary's trace.
const CANARY_STEPS: usize = 60;
/// Reopenings at a time.
const THREADS: usize = 2;
/// Steps of the whole trace.
const STEPS: usize = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["live", store, marks, seed, steps, from, bug] => live(store, marks, [seed, steps, from], bug),
        ["open", store, marks] => open(store, marks),
        ["cuts", "--plant", "all"] => plants(&plants::BUGS),
        ["cuts", "--plant", bug] => plants::named(bug).and_then(|bug| plants(&[bug])),
        ["cuts", rest @ ..] => all_cuts(rest),
        ["damage", each] => each
            .parse()
            .context("how many of each kind is a number")
            .and_then(|each| damaged(each, DAMAGED_STEPS)),
        ["pace", dir, pairs] => pairs
            .parse()
            .context("how many pairs of runs is a number")
            .and_then(|pairs| pace::pairs(Path::new(dir), pairs)),
        // What the test runners ask and say.
        words if words.contains(&"--list") => {
            println!("sampled_power_cuts_and_damages: test");
            Ok(())
        }
        _ => sample(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn live(store: &str, marks: &str, numbers: [&str; 3], bug: &str) -> Result<()> {
    let [seed, steps, from] = numbers.map(|number| number.parse::<u64>());
    let bug = Plant::ALL.into_iter().find(|known| known.name() == bug);
    driver::live(Path::new(store), Path::new(marks), (seed?, steps? as usize), from? as usize, bug)
}

/// The process whose opening is recorded.
fn open(store: &str, marks: &str) -> Result<()> {
    let opened = || {
        let mut marks = std::fs::OpenOptions::new().create(true).append(true).open(marks)?;
        Ok(marks.write_all(b"o 0\n")?)
    };
    reopen::open_then(Path::new(store), opened).map(drop).map_err(anyhow::Error::msg)
}

fn plants(bugs: &[plants::Bug]) -> Result<()> {
    plants::find_all(bugs, THREADS, scratch()?.path())
}

/// Memory, if the machine lets us: nothing here needs a disk, and every reopening syncs.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("a folder to work in")
}

fn sample() -> Result<()> {
    trace::check_that_acknowledgements_are_boundaries()?;
    let (seed, steps, every) = SAMPLE;
    cut(seed, steps, Extent { every, again: SAMPLE_AGAIN, ..Extent::whole(THREADS) })?;
    canary()?;
    let bugs = SAMPLE_BUGS.map(plants::named).into_iter().collect::<Result<Vec<_>>>()?;
    plants(&bugs)?;
    damaged(1, steps)
}

/// A disk on which syncs do nothing must be found out, or the judge sees nothing.
fn canary() -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(SAMPLE.0, CANARY_STEPS, None, scratch.path())?;
    let extent = Extent { every: 20, syncs: cuts::Syncs::None, ..Extent::whole(THREADS) };
    let report = cuts::run(&recording, extent, scratch.path())?;
    println!("canary: {} of {} cuts without syncs were found out", report.failures.len(), report.cuts);
    ensure!(report.failures.len() * 4 > report.cuts, "cuts of a disk that never syncs passed");
    Ok(())
}

/// So many damages of each kind for each class of file.
fn damaged(each: usize, steps: usize) -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(SAMPLE.0, steps, None, scratch.path())?;
    let counts = damage::run(&recording, each, scratch.path())?;
    let (mut all, mut detected, mut undetected) = (0, 0, 0);
    for ((class, verdict), count) in counts {
        println!("{class:26} {count:5} {}", verdict.words());
        all += count;
        detected += if verdict.is_detected() { count } else { 0 };
        undetected += if verdict == damage::Verdict::Undetected { count } else { 0 };
    }
    let by_rule = all - detected - undetected;
    println!(
        "damages: {all}, {detected} detected, {by_rule} of no consequence by rule, {undetected} undetected"
    );
    ensure!(detected > 0, "nothing was damaged");
    ensure!(undetected == 0, "{undetected} damages were not detected");
    Ok(())
}

fn all_cuts(words: &[&str]) -> Result<()> {
    let (mut seed, mut steps) = (1, STEPS);
    let mut extent = Extent { all_survivals: true, again: AGAIN, ..Extent::whole(THREADS) };
    for pair in words.chunks(2) {
        match pair {
            ["--seed", value] => seed = value.parse().context("--seed is a number")?,
            ["--steps", value] => steps = value.parse().context("--steps is a number")?,
            ["--every", value] => extent.every = value.parse().context("--every is a number")?,
            ["--again", value] => extent.again = value.parse().context("--again is a number")?,
            ["--ways", ways @ ("two" | "all")] => extent.all_survivals = *ways == "all",
            _ => bail!(
                "usage: cuts [--seed S] [--steps N] [--every K] [--again K] [--ways two|all], or cuts --plant NAME|all"
            ),
        }
    }
    ensure!(extent.every > 0, "--every is at least 1");
    cut(seed, steps, extent)
}

fn cut(seed: u64, steps: usize, extent: Extent) -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(seed, steps, None, scratch.path())?;
    let report = cuts::run(&recording, extent, scratch.path())?;
    println!(
        "power cuts: seed {seed}, {} steps, {} calls, {} boundaries, {} cut, {} recoveries cut, {} cuts ({} of recoveries), {} reopened, {} failed, {} s",
        recording.script.steps.len(),
        recording.calls.len(),
        report.boundaries,
        report.cut,
        report.recoveries,
        report.cuts,
        report.cuts_of_recoveries,
        report.reopened,
        report.failures.len(),
        report.seconds,
    );
    ensure!(report.cut > 0, "there was nothing to cut");
    ensure!(report.failures.is_empty(), "{} cuts failed", report.failures.len());
    Ok(())
}
