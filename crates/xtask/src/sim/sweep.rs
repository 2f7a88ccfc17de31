//! Many seeds of one simulation: which is next, what they came to, and the ledger that grows meanwhile.
//!
//! Every hundredth seed runs twice and must do the same to the byte. Seeds that the ledger of these sources has are passed
//! over where that is asked for; then what it says of them counts as if they had run now.

use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use serde_json::{Value, json};

use super::arguments::Simulation;
use super::cpu;
use super::crew::{Task, Work};
use super::ledger::Ledger;
use super::outcome::Outcome;
use super::screen::{self, Progress, span};
use super::tally::Tally;

/// One seed in so many runs twice.
const REPLAY_EVERY: u64 = 100;
/// A line of the ledger has so many seeds at most, or those of so much time: what a killed campaign loses.
const CHUNK_SEEDS: u64 = 50;
const CHUNK_TIME: Duration = Duration::from_secs(60);

/// How many seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// So many.
    Count(u64),
    /// As many as fit into this time.
    Budget(Duration),
}

/// What is swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub simulation: Simulation,
    pub extent: Extent,
    /// The first seed.
    pub first: u64,
    /// Seeds that the ledger has count, and do not run again.
    pub resumes: bool,
    /// Words that each seed's process is given as they are.
    pub passed_on: Vec<String>,
}

/// A sweep under way.
#[derive(Debug)]
pub struct Sweep {
    plan: Plan,
    /// The table of the simulation.
    points: Vec<String>,
    profile: &'static str,
    /// None where the seeds run with words of their own: they are others than the ledger means.
    ledger: Option<Ledger>,
    began: Instant,
    /// Seeds looked at, those passed over included.
    looked_at: u64,
    /// Seeds that are under way.
    under_way: u64,
    /// Seeds that ran and ended.
    ran: u64,
    /// What counts for the summary.
    tally: Tally,
    /// What the ledger does not have yet.
    chunk: Tally,
    chunk_began: Instant,
    /// Processes that ended since then.
    chunk_runs: u64,
    cpu_mark: f64,
    /// The first run of a seed whose second is under way.
    firsts: Vec<Outcome>,
    problem: Option<Error>,
}

impl Sweep {
    /// About to begin.
    pub fn new(
        plan: Plan,
        points: Vec<String>,
        profile: &'static str,
        ledger: Option<Ledger>,
    ) -> Result<Self> {
        let known = ledger.as_ref().filter(|_| plan.resumes);
        let known = known.and_then(|ledger| ledger.campaign.sweeps.get(plan.simulation.as_str()));
        let now = Instant::now();
        Ok(Self {
            tally: known.cloned().unwrap_or_default(),
            plan,
            points,
            profile,
            ledger,
            began: now,
            looked_at: 0,
            under_way: 0,
            ran: 0,
            chunk: Tally::default(),
            chunk_began: now,
            chunk_runs: 0,
            cpu_mark: cpu::of_children()?,
            firsts: Vec::new(),
            problem: None,
        })
    }

    fn judge(&mut self, outcome: &Outcome) {
        (self.ran, self.under_way) = (self.ran + 1, self.under_way - 1);
        if !outcome.held() {
            screen::line(&format!("seed {} failed", outcome.seed));
        }
        self.tally.add(outcome);
        let known = self.ledger.as_ref().and_then(|ledger| {
            ledger.campaign.sweeps.get(self.plan.simulation.as_str()).map(|known| &known.seeds)
        });
        // A seed counts once, unless it says something new.
        if !outcome.held() || known.is_none_or(|known| !known.contains(outcome.seed)) {
            self.chunk.add(outcome);
        }
    }

    /// The chunk goes into the ledger and a new one begins.
    fn close_chunk(&mut self) {
        let now = match cpu::of_children() {
            Ok(now) => now,
            Err(error) => return self.fail(error),
        };
        let (took, counted) = (now - self.cpu_mark, self.chunk.seeds.count() + self.chunk.replayed);
        self.tally.cpu_seconds += took;
        // The ledger has the time of what it did not have before.
        self.chunk.cpu_seconds = took * counted as f64 / self.chunk_runs.max(counted).max(1) as f64;
        (self.cpu_mark, self.chunk_began, self.chunk_runs) = (now, Instant::now(), 0);
        let chunk = std::mem::take(&mut self.chunk);
        if let Some(ledger) = self.ledger.as_mut().filter(|_| counted > 0)
            && let Err(error) = ledger.append_seeds(self.plan.simulation.as_str(), self.profile, &chunk)
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }

    /// What it came to; an error where the ledger could not be kept.
    pub fn end(mut self) -> Result<Swept> {
        self.close_chunk();
        let Self { plan, points, began, ran, tally, problem, .. } = self;
        match problem {
            Some(error) => Err(error),
            None => Ok(Swept { plan, points, ran, took: began.elapsed(), tally }),
        }
    }
}

impl Work for Sweep {
    fn next(&mut self) -> Option<Task> {
        let simulation = self.plan.simulation.as_str();
        loop {
            let is_over = match self.plan.extent {
                Extent::Count(count) => self.looked_at >= count,
                Extent::Budget(budget) => self.began.elapsed() >= budget,
            };
            if is_over || self.problem.is_some() {
                return None;
            }
            let seed = self.plan.first.checked_add(self.looked_at)?;
            self.looked_at += 1;
            let known = self.ledger.as_ref().filter(|_| self.plan.resumes);
            let known = known.and_then(|ledger| ledger.campaign.sweeps.get(simulation));
            if known.is_none_or(|known| !known.seeds.contains(seed)) {
                self.under_way += 1;
                return Some(Task { simulation, seed, plant: None, passed_on: self.plan.passed_on.clone() });
            }
        }
    }

    fn done(&mut self, task: &Task, outcome: Outcome) -> Option<Task> {
        let mut follow_up = None;
        self.chunk_runs += 1;
        if let Some(at) = self.firsts.iter().position(|first| first.seed == task.seed) {
            let first = self.firsts.swap_remove(at);
            for tally in [&mut self.tally, &mut self.chunk] {
                tally.replayed(&first, &outcome);
            }
            self.judge(&first);
        } else if task.seed.is_multiple_of(REPLAY_EVERY) && outcome.held() {
            self.firsts.push(outcome);
            follow_up = Some(task.clone());
        } else {
            self.judge(&outcome);
        }
        if self.chunk.seeds.count() >= CHUNK_SEEDS || self.chunk_began.elapsed() >= CHUNK_TIME {
            self.close_chunk();
        }
        follow_up
    }

    fn progress(&self) -> Progress {
        let (elapsed, failed) = (self.began.elapsed(), self.tally.failed.len());
        let done = self.tally.seeds.count();
        let (fraction, left) = match self.plan.extent {
            Extent::Budget(budget) => {
                (elapsed.as_secs_f64() / budget.as_secs_f64(), budget.saturating_sub(elapsed))
            }
            Extent::Count(count) => {
                let ended = self.looked_at - self.under_way;
                // What was passed over took no time, and what comes is taken to run.
                let for_each = elapsed.div_f64(self.ran.max(1) as f64);
                (ended as f64 / count as f64, for_each.mul_f64((count - ended) as f64))
            }
        };
        let (elapsed, left) = (span(elapsed), span(left));
        let name = self.plan.simulation.as_str();
        Progress {
            fraction,
            words: format!("{name}: {done} seeds, {failed} failed, {elapsed}, about {left} left"),
        }
    }
}

/// A sweep that has ended.
#[derive(Debug)]
pub struct Swept {
    plan: Plan,
    /// The table of the simulation.
    pub points: Vec<String>,
    /// Seeds that ran now; the tally has those of the ledger as well where it resumed.
    pub ran: u64,
    took: Duration,
    pub tally: Tally,
}

impl Swept {
    /// Good only where every point of the table was reached by some seed.
    pub fn covered(&self) -> Result<()> {
        let missing = self.tally.missing(&self.points);
        if !missing.is_empty() {
            bail!("never reached: {}", missing.join("; "));
        }
        Ok(())
    }

    /// The last line, for programs.
    pub fn summary(&self, sources: &str, workers: usize) -> Value {
        let Self { tally, points, .. } = self;
        json!({
            "simulation": self.plan.simulation.as_str(),
            "sources": sources,
            "first_seed": self.plan.first,
            "ran": self.ran,
            "seeds": tally.seeds.count(),
            "held": tally.held(),
            "failed": tally.failed.keys().collect::<Vec<_>>(),
            "replayed": tally.replayed,
            "differed": tally.differed,
            "points_reached": points.len() - tally.missing(points).len(),
            "points_missing": tally.missing(points),
            "workers": workers,
            "seconds": self.took.as_secs(),
            "cpu_seconds": tally.cpu_seconds.round(),
            "seeds_per_core_hour": tally.per_core_hour(),
        })
    }
}

#[cfg(test)]
mod tests;
