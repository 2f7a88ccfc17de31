//! The store under power cuts: a recorded trace, cut at its boundaries, reopened each time.
//!
//! `driver` does the steps of a `script` on a real store while the shim records; `trace` and `volume` say what a cut may
//! leave; `reopen` opens it as a master does; `judge` holds it against what was acknowledged. `cargo test` runs a sample;
//! `cargo xtask powercut` runs all of it.

#[path = "../../../diskshim/src/record.rs"]
mod record;

mod cuts;
mod damage;
mod driver;
mod judge;
mod machine;
mod random;
mod recording;
mod reopen;
mod script;
mod trace;
mod volume;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

/// The sample's trace and how much of it is cut.
const SAMPLE: (u64, usize, usize) = (1, 150, 4);
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
        ["live", store, marks, seed, steps, from] => live(store, marks, [seed, steps, from]),
        ["cuts", rest @ ..] => all_cuts(rest),
        ["damage", each] => each
            .parse()
            .context("how many of each kind is a number")
            .and_then(|each| damaged(each, DAMAGED_STEPS)),
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

fn live(store: &str, marks: &str, numbers: [&str; 3]) -> Result<()> {
    let [seed, steps, from] = numbers.map(|number| number.parse::<u64>());
    driver::live(Path::new(store), Path::new(marks), seed?, steps? as usize, from? as usize)
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
    cut(
        seed,
        steps,
        cuts::Extent { every, all_survivals: false, threads: THREADS, syncs: cuts::Syncs::All },
    )?;
    canary()?;
    damaged(1, steps)
}

/// A disk on which syncs do nothing must be found out, and so must a mark that is never synced, or the judge sees nothing.
fn canary() -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(SAMPLE.0, CANARY_STEPS, scratch.path())?;
    let cut = |every, syncs| {
        let extent = cuts::Extent { every, all_survivals: false, threads: THREADS, syncs };
        cuts::run(&recording, extent, scratch.path())
    };
    let report = cut(20, cuts::Syncs::None)?;
    println!("canary: {} of {} cuts without syncs were found out", report.failures.len(), report.cuts);
    ensure!(report.failures.len() * 4 > report.cuts, "cuts of a disk that never syncs passed");
    let report = cut(10, cuts::Syncs::NotOfTheMark)?;
    println!(
        "canary: {} of {} cuts without syncs of the mark were found out",
        report.failures.len(),
        report.cuts
    );
    let seen = report.failures.iter().any(|failure| failure.contains("the mark on the disk promises vote"));
    ensure!(seen, "cuts of a mark that is never synced passed");
    Ok(())
}

/// So many damages of each kind for each class of file.
fn damaged(each: usize, steps: usize) -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(SAMPLE.0, steps, scratch.path())?;
    let counts = damage::run(&recording, each, scratch.path())?;
    let mut total = damage::Count::default();
    for (class, count) in counts {
        println!(
            "{class:26} {:5} detected {:5} harmless {:5} undetected",
            count.detected, count.harmless, count.undetected
        );
        total.detected += count.detected;
        total.harmless += count.harmless;
        total.undetected += count.undetected;
    }
    let all = total.detected + total.harmless + total.undetected;
    println!(
        "damages: {all}, {} detected, {} harmless, {} undetected",
        total.detected, total.harmless, total.undetected
    );
    ensure!(total.detected > 0, "nothing was damaged");
    ensure!(total.undetected == 0, "{} damages were not detected", total.undetected);
    Ok(())
}

fn all_cuts(words: &[&str]) -> Result<()> {
    let (mut seed, mut steps, mut every, mut all_survivals) = (1, STEPS, 1, true);
    for pair in words.chunks(2) {
        match pair {
            ["--seed", value] => seed = value.parse().context("--seed is a number")?,
            ["--steps", value] => steps = value.parse().context("--steps is a number")?,
            ["--every", value] => every = value.parse().context("--every is a number")?,
            ["--ways", ways @ ("two" | "all")] => all_survivals = *ways == "all",
            _ => bail!("usage: cuts [--seed S] [--steps N] [--every K] [--ways two|all]"),
        }
    }
    cut(seed, steps, cuts::Extent { every, all_survivals, threads: THREADS, syncs: cuts::Syncs::All })
}

fn cut(seed: u64, steps: usize, extent: cuts::Extent) -> Result<()> {
    let scratch = scratch()?;
    let recording = recording::record(seed, steps, scratch.path())?;
    let report = cuts::run(&recording, extent, scratch.path())?;
    println!(
        "power cuts: seed {seed}, {} steps, {} calls, {} boundaries, {} cut, {} cuts, {} reopened, {} failed, {} s",
        recording.script.steps.len(),
        recording.calls.len(),
        report.boundaries,
        report.cut,
        report.cuts,
        report.reopened,
        report.failures.len(),
        report.seconds,
    );
    ensure!(report.cut > 0, "there was nothing to cut");
    ensure!(report.failures.is_empty(), "{} cuts failed", report.failures.len());
    Ok(())
}
