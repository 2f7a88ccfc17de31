//! Runs seeds on all cores at once, each as a process of its own, and hands back what each came to.
//!
//! Which seed is next and what an outcome means is the work's business. An interrupt ends the seeds under way and drops
//! what they would have said.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::outcome::Outcome;
use super::screen::{Progress, Screen};
use crate::command;

/// A seed takes seconds; one that takes this long hangs, and that is a failure too.
const SEED_LIMIT: Duration = Duration::from_secs(900);
/// How often it is seen whether all have ended: short for whoever waits, and cheap.
const LOOK: Duration = Duration::from_millis(50);

/// One process to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The simulation's word.
    pub simulation: &'static str,
    pub seed: u64,
    /// The bug that is planted in it.
    pub plant: Option<String>,
    /// Words that it is given as they are.
    pub passed_on: Vec<String>,
}

impl Task {
    /// As a command.
    pub fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.args([self.simulation, "--seed", &self.seed.to_string()]);
        if let Some(plant) = &self.plant {
            command.args(["--plant", plant]);
        }
        command.args(&self.passed_on);
        command
    }

    /// The line for a person who wants to see it again, traced.
    pub fn reproduce(&self) -> String {
        let plant = self.plant.iter().flat_map(|plant| ["--plant", plant]);
        let words: Vec<&str> = plant.chain(self.passed_on.iter().map(String::as_str)).collect();
        let dashes = if words.is_empty() { "" } else { " -- " };
        format!("cargo xtask sim {} --seed {}{dashes}{}", self.simulation, self.seed, words.join(" "))
    }
}

/// What there is to run.
pub trait Work: Send {
    /// The next process, until there are enough.
    fn next(&mut self) -> Option<Task>;
    /// One has ended. A task that is given back runs next.
    fn done(&mut self, task: &Task, outcome: Outcome) -> Option<Task>;
    /// How far it is.
    fn progress(&self) -> Progress;
}

/// Who runs them.
#[derive(Debug)]
pub struct Crew {
    binary: PathBuf,
    workers: usize,
    interrupted: Arc<AtomicBool>,
}

impl Crew {
    /// One worker for each core; SIGINT and SIGTERM end the work from now on.
    pub fn new(binary: PathBuf) -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, interrupted.clone()).context("cannot watch for signals")?;
        }
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { binary, workers, interrupted })
    }

    /// How many run at once.
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// Runs until the work has no more, or somebody interrupts.
    pub fn run(&self, work: &mut impl Work) {
        let work = Mutex::new(work);
        let working = AtomicUsize::new(self.workers);
        thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| {
                    self.work(&work);
                    // ORDERING: Relaxed, it only ends the display; joining the threads publishes the rest.
                    working.fetch_sub(1, Ordering::Relaxed);
                });
            }
            let mut screen = Screen::new();
            // ORDERING: Relaxed, see above.
            while working.load(Ordering::Relaxed) > 0 {
                thread::sleep(LOOK);
                screen.show(|| lock(&work).progress());
            }
            screen.clear();
        });
    }

    /// An error where somebody did.
    pub fn check_not_interrupted(&self) -> Result<()> {
        if self.is_interrupted() {
            bail!("interrupted");
        }
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        // ORDERING: Relaxed, a lone flag; nothing else is published with it.
        self.interrupted.load(Ordering::Relaxed)
    }

    fn work(&self, work: &Mutex<&mut impl Work>) {
        let mut follow_up = None;
        while !self.is_interrupted() {
            let Some(task) = follow_up.take().or_else(|| lock(work).next()) else { return };
            let mut command = task.command(&self.binary);
            let finished = command::run_bounded(&mut command, SEED_LIMIT, &self.interrupted);
            // The terminal's interrupt reaches the seeds as well: how they ended says nothing.
            if !self.is_interrupted() {
                let outcome = Outcome::of(task.seed, task.plant.as_deref(), &task.reproduce(), finished);
                follow_up = lock(work).done(&task, outcome);
            }
        }
    }
}

fn lock<'a, W>(work: &'a Mutex<W>) -> MutexGuard<'a, W> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seeds whose process is `/bin/echo`; the third is followed by another.
    struct Ten {
        next: u64,
        ended: Vec<u64>,
        stop_at: Option<Arc<AtomicBool>>,
    }

    fn task(seed: u64) -> Task {
        Task { simulation: "cell", seed, plant: None, passed_on: vec!["x".into()] }
    }

    impl Work for Ten {
        fn next(&mut self) -> Option<Task> {
            self.next += 1;
            (self.next <= 10).then(|| task(self.next))
        }

        fn done(&mut self, task: &Task, outcome: Outcome) -> Option<Task> {
            assert_eq!(task.seed, outcome.seed);
            self.ended.push(task.seed);
            if let Some(stop) = &self.stop_at {
                stop.store(true, Ordering::Relaxed);
            }
            (task.seed == 3).then(|| self::task(300))
        }

        fn progress(&self) -> Progress {
            Progress { fraction: 0.0, words: String::new() }
        }
    }

    fn crew(interrupted: bool) -> Crew {
        let interrupted = Arc::new(AtomicBool::new(interrupted));
        Crew { binary: "/bin/echo".into(), workers: 3, interrupted }
    }

    #[test]
    fn every_task_runs_once_and_so_do_those_that_follow() {
        let mut ten = Ten { next: 0, ended: Vec::new(), stop_at: None };
        let crew = crew(false);
        crew.run(&mut ten);
        ten.ended.sort_unstable();
        assert_eq!(ten.ended, (1..=10).chain([300]).collect::<Vec<_>>());
        assert!(crew.check_not_interrupted().is_ok());
    }

    #[test]
    fn an_interrupt_ends_the_work_and_what_was_under_way_is_not_judged() {
        let crew = crew(false);
        let mut ten = Ten { next: 0, ended: Vec::new(), stop_at: Some(crew.interrupted.clone()) };
        crew.run(&mut ten);
        assert_eq!(ten.ended.len(), 1);
        assert!(crew.check_not_interrupted().is_err());
    }

    #[test]
    fn a_task_is_a_command_line_of_the_simulation() {
        let task = Task { plant: Some("local-read".into()), ..task(7) };
        let line = command::line(&task.command(Path::new("paceline-sim")));
        assert_eq!(line, "paceline-sim cell --seed 7 --plant local-read x");
        assert_eq!(task.reproduce(), "cargo xtask sim cell --seed 7 -- --plant local-read x");
        let plain = Task { plant: None, passed_on: Vec::new(), ..task };
        assert_eq!(plain.reproduce(), "cargo xtask sim cell --seed 7");
    }
}
