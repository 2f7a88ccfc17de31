//! What a sweep came to: counts, failures, points reached, speed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::outcome::Outcome;

/// Sums over the seeds that have finished.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    held: u64,
    /// By seed.
    failed: BTreeMap<u64, Vec<String>>,
    replayed: u64,
    differed: Vec<u64>,
    points: BTreeMap<String, u64>,
    counts: BTreeMap<String, u64>,
    busy: Duration,
    workers_done: usize,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            held: 0,
            failed: BTreeMap::new(),
            replayed: 0,
            differed: Vec::new(),
            points: BTreeMap::new(),
            counts: BTreeMap::new(),
            busy: Duration::ZERO,
            workers_done: 0,
        }
    }

    /// A seed has finished.
    pub fn add(&mut self, outcome: Outcome) {
        self.busy += outcome.took;
        for point in outcome.points() {
            *self.points.entry(point.to_owned()).or_default() += 1;
        }
        for (name, count) in outcome.counts() {
            *self.counts.entry(name.to_owned()).or_default() += count;
        }
        if outcome.held() {
            self.held += 1;
        } else {
            eprintln!("seed {} failed", outcome.seed);
            self.failed.insert(outcome.seed, outcome.wrong);
        }
    }

    /// A seed ran twice; both must have said the same, digest and all.
    pub fn replayed(&mut self, first: &Outcome, second: &Outcome) {
        self.busy += second.took;
        self.replayed += 1;
        if first.line != second.line {
            self.differed.push(first.seed);
        }
    }

    /// A worker has no more seeds.
    pub fn worker_done(&mut self) {
        self.workers_done += 1;
    }

    /// How many have none.
    pub const fn workers_done(&self) -> usize {
        self.workers_done
    }

    fn seeds(&self) -> u64 {
        self.held + self.failed.len() as u64
    }

    /// One line for whoever waits.
    pub fn progress(&self) -> String {
        let seconds = self.began.elapsed().as_secs();
        format!("{} seeds in {seconds} s, {} failed", self.seeds(), self.failed.len())
    }

    /// Every failure, with the line that reproduces it.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.failed.iter().flat_map(|(seed, wrong)| {
            std::iter::once(format!("seed {seed} failed:"))
                .chain(wrong.iter().map(|line| format!("  {line}")))
        });
        let differed = self.differed.iter().map(|seed| format!("seed {seed} did not do the same twice"));
        failed.chain(differed).collect()
    }

    /// The last line, for programs.
    pub fn summary(&self, simulation: &str, first: u64, workers: usize) -> String {
        let busy_hours = self.busy.as_secs_f64() / 3_600.0;
        let per_hour =
            if busy_hours > 0.0 { (self.seeds() + self.replayed) as f64 / busy_hours } else { 0.0 };
        let summary = json!({
            "simulation": simulation,
            "first_seed": first,
            "seeds": self.seeds(),
            "held": self.held,
            "failed": self.failed.keys().collect::<Vec<_>>(),
            "replayed": self.replayed,
            "differed": self.differed,
            "sometimes": self.points,
            "counts": self.counts,
            "workers": workers,
            "seconds": self.began.elapsed().as_secs(),
            "seeds_per_core_hour": per_hour.round(),
        });
        summary.to_string()
    }

    /// Good only where seeds ran and all held.
    pub fn verdict(&self) -> Result<()> {
        if self.seeds() == 0 {
            bail!("no seed ran to its end");
        }
        if !self.failed.is_empty() || !self.differed.is_empty() {
            bail!(
                "{} of {} seeds failed, {} did not repeat",
                self.failed.len(),
                self.seeds(),
                self.differed.len()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::command::Finished;

    fn outcome(seed: u64, verdict: &str, digest: u64) -> Outcome {
        let stdout =
            format!(r#"{{"seed":{seed},"verdict":"{verdict}","digest":{digest},"sometimes":["p"]}}"#);
        let finished = Finished { status: ExitStatus::from_raw(0), stdout };
        Outcome::of(seed, "sim", Ok(finished), Duration::from_secs(2))
    }

    #[test]
    fn one_failure_or_one_difference_fails_a_sweep_and_none_at_all_too() {
        let mut tally = Tally::new();
        assert!(tally.verdict().is_err(), "nothing ran");
        tally.add(outcome(1, "held", 5));
        assert!(tally.verdict().is_ok());
        tally.replayed(&outcome(1, "held", 5), &outcome(1, "held", 5));
        assert!(tally.verdict().is_ok());
        tally.replayed(&outcome(1, "held", 5), &outcome(1, "held", 6));
        assert!(tally.verdict().is_err() && tally.failures()[0].contains("seed 1"));
        let mut tally = Tally::new();
        tally.add(outcome(2, "violated", 5));
        assert!(tally.verdict().is_err());
        let summary: serde_json::Value = serde_json::from_str(&tally.summary("cell", 1, 2)).unwrap();
        assert_eq!((&summary["failed"][0], &summary["sometimes"]["p"]), (&2.into(), &1.into()));
    }
}
