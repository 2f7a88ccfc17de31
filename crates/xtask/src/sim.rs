//! `cargo xtask sim`: many seeds of the simulation, each a process of its own, on all cores at once.
//!
//! Failing seeds are listed with the line that reproduces each. Every hundredth seed runs twice and must do the same to
//! the byte. It knows the simulation by its command line and by the JSON of its last line only.

mod arguments;
mod outcome;
mod tally;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::arguments::{Arguments, Extent};
use self::outcome::Outcome;
use self::tally::Tally;
use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// A seed takes seconds; one that takes this long hangs, and that is a failure too.
const SEED_LIMIT: Duration = Duration::from_secs(900);
/// One seed in so many runs twice.
const REPLAY_EVERY: u64 = 100;
/// How often a line says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Runs what the words after `sim` ask for.
pub fn run(workspace: &Workspace, words: &[&str]) -> Result<()> {
    let arguments = Arguments::parse(words)?;
    let binary = build(workspace)?;
    match arguments.extent {
        Extent::One(seed) => one(&binary, &arguments, seed),
        Extent::Count(_) | Extent::Budget(_) => many(&binary, &arguments),
    }
}

/// With the packages of tests and demo, so that nothing is compiled twice.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let environment = setup::ensure(workspace)?;
    let mut build = environment.cargo(workspace);
    build.args(["build", "--workspace", "--locked", "--bins"]);
    // The one test brings the tests' features in, as for the demo.
    command::run(build.args(["--test", "tree"]))?;
    Ok(workspace.target_dir()?.join("debug/paceline-sim"))
}

fn seed_command(binary: &Path, arguments: &Arguments, seed: u64) -> Command {
    let mut command = Command::new(binary);
    command.args([arguments.simulation.as_str(), "--seed", &seed.to_string()]).args(&arguments.passed_on);
    command
}

/// One seed, for a person who reads along.
fn one(binary: &Path, arguments: &Arguments, seed: u64) -> Result<()> {
    let mut command = seed_command(binary, arguments, seed);
    command.arg("--trace");
    eprintln!("$ {}", command::line(&command));
    let status = command.status().with_context(|| format!("could not start {}", binary.display()))?;
    if !status.success() {
        bail!("seed {seed} failed");
    }
    Ok(())
}

/// What the workers share.
struct Sweep<'a> {
    binary: &'a Path,
    arguments: &'a Arguments,
    next: AtomicU64,
    until: Option<Instant>,
    interrupted: Arc<AtomicBool>,
    tally: Mutex<Tally>,
}

fn many(binary: &Path, arguments: &Arguments) -> Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).context("cannot watch for signals")?;
    }
    let until = match arguments.extent {
        Extent::Budget(budget) => Some(Instant::now() + budget),
        Extent::One(_) | Extent::Count(_) => None,
    };
    let sweep = Sweep {
        binary,
        arguments,
        next: AtomicU64::new(0),
        until,
        interrupted,
        tally: Mutex::new(Tally::new()),
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| sweep.work());
        }
        scope.spawn(|| sweep.say());
    });
    let interrupted = sweep.is_interrupted();
    let tally = sweep.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    for line in tally.failures() {
        println!("{line}");
    }
    println!("{}", tally.summary(arguments.simulation.as_str(), arguments.first, workers));
    if interrupted {
        bail!("interrupted");
    }
    tally.verdict()
}

impl Sweep<'_> {
    fn is_interrupted(&self) -> bool {
        // ORDERING: Relaxed, a lone flag; nothing else is published with it.
        self.interrupted.load(Ordering::Relaxed)
    }

    fn tally<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next seed, until there are enough.
    fn take(&self) -> Option<u64> {
        if self.is_interrupted() || self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        // ORDERING: Relaxed, it only hands out numbers.
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let wanted = match self.arguments.extent {
            Extent::Count(count) => at < count,
            Extent::Budget(_) | Extent::One(_) => true,
        };
        wanted.then(|| self.arguments.first.saturating_add(at))
    }

    fn work(&self) {
        while let Some(seed) = self.take() {
            let first = self.run(seed);
            if seed.is_multiple_of(REPLAY_EVERY) && first.held() {
                let second = self.run(seed);
                self.tally(|tally| tally.replayed(&first, &second));
            }
            if !self.is_interrupted() {
                self.tally(|tally| tally.add(first));
            }
        }
        self.tally(Tally::worker_done);
    }

    fn run(&self, seed: u64) -> Outcome {
        let mut command = seed_command(self.binary, self.arguments, seed);
        let started = Instant::now();
        let line = command::line(&command);
        let finished = command::run_bounded(&mut command, SEED_LIMIT, &self.interrupted);
        Outcome::of(seed, &line, finished, started.elapsed())
    }

    /// How far it is, until the workers have ended.
    fn say(&self) {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let mut said = Instant::now();
        while self.tally(|tally| tally.workers_done()) < workers {
            thread::sleep(Duration::from_millis(100));
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                eprintln!("{}", self.tally(|tally| tally.progress()));
            }
        }
    }
}
