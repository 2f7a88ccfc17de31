//! Whether the simulation catches the bugs that are planted in it, and after how many seeds.
//!
//! Each bug has a sweep of its own over the same seeds, and where none of them catches it the sweep goes on up to the
//! bound. A seed counts as catching only where a check found something and the same seed holds without the bug: what
//! fails in both is a failure of the product, and it is said so.

mod mutant;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use serde_json::json;

pub use self::mutant::{Mutant, table};
use super::arguments::Simulation;
use super::crew::{Task, Work};
use super::ledger::Ledger;
use super::outcome::Outcome;
use super::screen::{Progress, span};

/// Seeds of a sweep for one bug, where nothing else is asked for: a bug that one seed in ten shows is then met five times.
pub const SWEEP_SEEDS: u64 = 50;
/// A bug that is not caught within so many seeds is missed.
pub const SEEDS_MAX: u64 = 2_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub simulations: Vec<Simulation>,
    /// This bug alone.
    pub plant: Option<String>,
    /// Seeds of a sweep.
    pub seeds: u64,
    /// Time for all, of which each bug has its share.
    pub budget: Option<Duration>,
    pub first: u64,
    /// Bugs that the ledger knows to be caught are not hunted again.
    pub resumes: bool,
}

/// The sweep for one bug.
#[derive(Debug)]
struct Hunt {
    mutant: Mutant,
    issued: u64,
    /// It came out of the ledger, or went into it.
    is_written: bool,
}

/// All hunts, one after the other.
#[derive(Debug)]
pub struct Hunts {
    plan: Plan,
    hunts: Vec<Hunt>,
    /// The hunt that is given seeds.
    at: usize,
    began: Instant,
    /// When the share of that hunt is spent.
    until: Option<Instant>,
    /// Whether a seed holds without any bug.
    controls: BTreeMap<(Simulation, u64), bool>,
    /// Seeds that caught something, by hunt, and wait for their control.
    waiting: Vec<(usize, Outcome)>,
    ledger: Ledger,
    problem: Option<Error>,
}

impl Hunts {
    /// For these bugs of these simulations.
    pub fn new(plan: Plan, plants: &[(Simulation, Vec<String>)], ledger: Ledger) -> Result<Self> {
        let mut hunts = Vec::new();
        for (simulation, names) in plants {
            let wanted = names.iter().filter(|name| plan.plant.as_ref().is_none_or(|plant| plant == *name));
            for name in wanted {
                let known = ledger.campaign.mutants.get(&(simulation.as_str().to_owned(), name.clone()));
                let known = known.map(Mutant::from_json).transpose()?;
                let known = known.filter(|known| plan.resumes && known.problem().is_none());
                let is_written = known.is_some();
                let mutant = known.unwrap_or_else(|| Mutant::new(simulation.as_str(), name, plan.first));
                hunts.push(Hunt { mutant, issued: 0, is_written });
            }
        }
        if hunts.is_empty() {
            let all: BTreeSet<_> = plants.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
            let all = Vec::from_iter(all).join(", ");
            bail!("--plant {}: one of {all} is expected", plan.plant.as_deref().unwrap_or_default());
        }
        let (began, until) = (Instant::now(), None);
        let (controls, waiting) = (BTreeMap::new(), Vec::new());
        let mut hunts = Self { plan, hunts, at: 0, began, until, controls, waiting, ledger, problem: None };
        hunts.share_time();
        Ok(hunts)
    }

    /// The time that is left, shared by those that are left.
    fn share_time(&mut self) {
        let left = u32::try_from(self.hunts.len().saturating_sub(self.at)).unwrap_or(u32::MAX).max(1);
        let spent = self.began.elapsed();
        self.until = self.plan.budget.map(|budget| Instant::now() + budget.saturating_sub(spent) / left);
    }

    /// What is known in the end, in the order of the tables; an error where the ledger could not be kept.
    pub fn end(mut self) -> Result<Vec<Mutant>> {
        self.write_down();
        match self.problem {
            Some(error) => Err(error),
            None => Ok(self.hunts.into_iter().map(|hunt| hunt.mutant).collect()),
        }
    }

    fn position(&self, task: &Task) -> Option<usize> {
        let plant = task.plant.as_deref()?;
        let is_it = |hunt: &Hunt| hunt.mutant.simulation == task.simulation && hunt.mutant.plant == plant;
        self.hunts.iter().position(is_it)
    }

    /// A seed with a bug has ended. The control that it needs, if it does.
    fn hunted(&mut self, at: usize, task: &Task, outcome: Outcome) -> Option<Task> {
        let mutant = &mut self.hunts[at].mutant;
        mutant.seeds += 1;
        if outcome.held() {
            return None;
        }
        if outcome.caught_by().is_empty() {
            mutant.failed_otherwise(&outcome);
            return None;
        }
        let key = (simulation(task), task.seed);
        if let Some(held) = self.controls.get(&key) {
            mutant.caught(&outcome, *held);
            return None;
        }
        let is_under_way = self.waiting.iter().any(|(at, waiting)| {
            waiting.seed == task.seed && self.hunts[*at].mutant.simulation == task.simulation
        });
        self.waiting.push((at, outcome));
        (!is_under_way).then(|| Task { plant: None, ..task.clone() })
    }

    /// A seed without any bug has ended.
    fn controlled(&mut self, task: &Task, held: bool) {
        self.controls.insert((simulation(task), task.seed), held);
        let (hunts, waiting) = (&mut self.hunts, std::mem::take(&mut self.waiting));
        for (at, outcome) in waiting {
            let mutant = &mut hunts[at].mutant;
            if outcome.seed == task.seed && mutant.simulation == task.simulation {
                mutant.caught(&outcome, held);
            } else {
                self.waiting.push((at, outcome));
            }
        }
    }

    /// Hunts that are over go into the ledger.
    fn write_down(&mut self) {
        let waiting: BTreeSet<usize> = self.waiting.iter().map(|(at, _)| *at).collect();
        for (at, hunt) in self.hunts.iter_mut().enumerate().take(self.at) {
            let mutant = &hunt.mutant;
            if hunt.is_written || mutant.seeds == 0 || mutant.seeds < hunt.issued || waiting.contains(&at) {
                continue;
            }
            hunt.is_written = true;
            let written = self.ledger.append_mutant(&mutant.simulation, &mutant.plant, &mutant.to_json());
            if let Err(error) = written {
                self.problem.get_or_insert(error);
            }
        }
    }
}

impl Work for Hunts {
    fn next(&mut self) -> Option<Task> {
        loop {
            if self.problem.is_some() {
                return None;
            }
            let hunt = self.hunts.get_mut(self.at)?;
            let in_time = self.until.is_none_or(|until| Instant::now() < until);
            let wanted =
                if hunt.mutant.caught > 0 { self.plan.seeds } else { self.plan.seeds.max(SEEDS_MAX) };
            if !hunt.is_written && in_time && hunt.issued < wanted {
                let seed = self.plan.first.checked_add(hunt.issued)?;
                hunt.issued += 1;
                let plant = Some(hunt.mutant.plant.clone());
                let simulation = simulation_of(&hunt.mutant.simulation);
                return Some(Task { simulation: simulation.as_str(), seed, plant, passed_on: Vec::new() });
            }
            self.at += 1;
            self.share_time();
        }
    }

    fn done(&mut self, task: &Task, outcome: Outcome) -> Option<Task> {
        let follow_up = match self.position(task) {
            Some(at) => self.hunted(at, task, outcome),
            None => {
                self.controlled(task, outcome.held());
                None
            }
        };
        self.write_down();
        follow_up
    }

    fn progress(&self) -> Progress {
        let (count, caught) =
            (self.hunts.len(), self.hunts.iter().filter(|hunt| hunt.mutant.caught > 0).count());
        let now = self.hunts.get(self.at.min(count - 1)).map(|hunt| &hunt.mutant);
        let now = now
            .map(|one| format!("{} {} caught by {} of {}", one.simulation, one.plant, one.caught, one.seeds));
        let words = format!(
            "{caught} of {count} bugs caught in {}; {}",
            span(self.began.elapsed()),
            now.unwrap_or_default()
        );
        Progress { fraction: self.at as f64 / count as f64, words }
    }
}

fn simulation(task: &Task) -> Simulation {
    simulation_of(task.simulation)
}

fn simulation_of(word: &str) -> Simulation {
    let found = Simulation::ALL.into_iter().find(|simulation| simulation.as_str() == word);
    found.expect("hunts are only made for simulations")
}

/// The last line, for programs.
pub fn summary(mutants: &[Mutant], sources: &str) -> String {
    let caught = mutants.iter().filter(|mutant| mutant.problem().is_none()).count();
    let all: Vec<_> = mutants.iter().map(Mutant::to_json).collect();
    json!({ "sources": sources, "bugs": mutants.len(), "caught": caught, "mutants": all }).to_string()
}

/// Good only where every bug is caught, and not by what is wrong anyway.
pub fn verdict(mutants: &[Mutant]) -> Result<()> {
    let problems: Vec<_> = mutants.iter().filter_map(Mutant::problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} planted bugs are not caught as they must be:\n  {}",
        problems.len(),
        mutants.len(),
        problems.join("\n  ")
    );
}

#[cfg(test)]
mod tests;
