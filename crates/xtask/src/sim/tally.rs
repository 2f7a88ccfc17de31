//! What seeds came to: counts, failures, points reached, time. Of one chunk, one sweep or a whole campaign; sums of
//! each other, with a JSON form that the ledger keeps.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::outcome::Outcome;
use super::seeds::Seeds;

/// Lines that are kept of what a seed says is wrong, and letters of each: the first ones tell, and a ledger stays small.
const WRONG_LINES_MAX: usize = 12;
const WRONG_LETTERS_MAX: usize = 500;

/// Sums over seeds that have finished.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Those that finished, failed ones included.
    pub seeds: Seeds,
    /// What was wrong, by seed.
    pub failed: BTreeMap<u64, Vec<String>>,
    /// How many ran a second time.
    pub replayed: u64,
    /// Those that did not do the same.
    pub differed: BTreeSet<u64>,
    /// How many seeds reached each point.
    pub points: BTreeMap<String, u64>,
    /// What they counted, added up.
    pub counts: BTreeMap<String, u64>,
    /// Processor time of all of it.
    pub cpu_seconds: f64,
}

impl Tally {
    /// A seed has finished.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds.add(outcome.seed);
        for point in outcome.points() {
            *self.points.entry(point.to_owned()).or_default() += 1;
        }
        for (name, count) in outcome.counts() {
            *self.counts.entry(name.to_owned()).or_default() += count;
        }
        if !outcome.held() {
            let lines = outcome.wrong.iter().map(|line| line.chars().take(WRONG_LETTERS_MAX).collect());
            let mut lines: Vec<String> = lines.collect();
            // The last line says how to see it again.
            if let Some(last) = lines.pop() {
                lines.truncate(WRONG_LINES_MAX - 1);
                lines.push(last);
            }
            self.failed.insert(outcome.seed, lines);
        }
    }

    /// A seed ran twice; both must have said the same, digest and all.
    pub fn replayed(&mut self, first: &Outcome, second: &Outcome) {
        self.replayed += 1;
        if first.line != second.line {
            self.differed.insert(first.seed);
        }
    }

    /// Adds what other seeds came to.
    pub fn merge(&mut self, other: &Self) {
        self.seeds.add_all(&other.seeds);
        self.failed.extend(other.failed.iter().map(|(seed, wrong)| (*seed, wrong.clone())));
        self.replayed += other.replayed;
        self.differed.extend(&other.differed);
        for (sums, more) in [(&mut self.points, &other.points), (&mut self.counts, &other.counts)] {
            for (name, count) in more {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        self.cpu_seconds += other.cpu_seconds;
    }

    /// How many held.
    pub fn held(&self) -> u64 {
        self.seeds.count() - self.failed.len() as u64
    }

    /// Runs, second ones included, for an hour of one core.
    pub fn per_core_hour(&self) -> f64 {
        let hours = self.cpu_seconds / 3_600.0;
        if hours > 0.0 { ((self.seeds.count() + self.replayed) as f64 / hours).round() } else { 0.0 }
    }

    /// The points of a table that no seed reached.
    pub fn missing<'a>(&self, table: &'a [String]) -> Vec<&'a str> {
        table.iter().filter(|point| !self.points.contains_key(*point)).map(String::as_str).collect()
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

    /// Good only where seeds ran and all held.
    pub fn verdict(&self) -> Result<()> {
        if self.seeds.count() == 0 {
            bail!("no seed ran to its end");
        }
        if !self.failed.is_empty() || !self.differed.is_empty() {
            bail!(
                "{} of {} seeds failed, {} did not repeat",
                self.failed.len(),
                self.seeds.count(),
                self.differed.len()
            );
        }
        Ok(())
    }

    /// For the ledger, which keeps why a seed failed, and for programs.
    pub fn to_json(&self) -> Value {
        json!({
            "seeds": self.seeds.to_string(),
            "failed": self.failed.iter().map(|(seed, wrong)| (seed.to_string(), wrong)).collect::<BTreeMap<_, _>>(),
            "replayed": self.replayed,
            "differed": self.differed,
            "sometimes": self.points,
            "counts": self.counts,
            "cpu_seconds": (self.cpu_seconds * 100.0).round() / 100.0,
        })
    }

    /// Reads it back.
    pub fn from_json(value: &Value) -> Result<Self> {
        let seeds = Seeds::parse(value["seeds"].as_str().context("`seeds` is missing")?)?;
        let mut failed = BTreeMap::new();
        for (seed, wrong) in value["failed"].as_object().context("`failed` is missing")? {
            let lines = wrong.as_array().into_iter().flatten().filter_map(Value::as_str);
            let seed = seed.parse().with_context(|| format!("failed seed `{seed}`: a number is expected"))?;
            failed.insert(seed, lines.map(str::to_owned).collect());
        }
        let differed = value["differed"].as_array().context("`differed` is missing")?;
        let sums = |name: &str| {
            let sums = value[name].as_object().with_context(|| format!("`{name}` is missing"))?;
            let read = |(name, count): (&String, &Value)| Some((name.clone(), count.as_u64()?));
            anyhow::Ok(sums.iter().filter_map(read).collect())
        };
        Ok(Self {
            seeds,
            failed,
            replayed: value["replayed"].as_u64().context("`replayed` is missing")?,
            differed: differed.iter().filter_map(Value::as_u64).collect(),
            points: sums("sometimes")?,
            counts: sums("counts")?,
            cpu_seconds: value["cpu_seconds"].as_f64().context("`cpu_seconds` is missing")?,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::command::Finished;

    /// A seed that ended so and reached the point `p`.
    pub fn outcome(seed: u64, verdict: &str, digest: u64) -> Outcome {
        let stdout = format!(
            r#"{{"seed":{seed},"verdict":"{verdict}","digest":{digest},"sometimes":["p"],"counts":{{"jobs":2}}}}"#
        );
        let finished = Finished { status: ExitStatus::from_raw(0), stdout };
        Outcome::of(seed, None, "sim", Ok(finished))
    }

    #[test]
    fn one_failure_or_one_difference_fails_a_sweep_and_none_at_all_too() {
        let mut tally = Tally::default();
        assert!(tally.verdict().is_err(), "nothing ran");
        tally.add(&outcome(1, "held", 5));
        assert!(tally.verdict().is_ok());
        tally.replayed(&outcome(1, "held", 5), &outcome(1, "held", 5));
        assert!(tally.verdict().is_ok());
        tally.replayed(&outcome(1, "held", 5), &outcome(1, "held", 6));
        assert!(tally.verdict().is_err() && tally.failures()[0].contains("seed 1"));
        let mut tally = Tally::default();
        tally.add(&outcome(2, "violated", 5));
        assert!(tally.verdict().is_err());
        assert_eq!((tally.held(), tally.points["p"]), (0, 1));
    }

    #[test]
    fn sums_of_chunks_are_the_whole_and_their_text_is_read_back() {
        let (mut whole, mut sum) = (Tally::default(), Tally::default());
        for chunk in [[1, 2], [3, 4], [9, 5]] {
            let mut part = Tally { cpu_seconds: 1.25, ..Tally::default() };
            for seed in chunk {
                let verdict = if seed == 4 { "violated" } else { "held" };
                part.add(&outcome(seed, verdict, 5));
                whole.add(&outcome(seed, verdict, 5));
            }
            part.replayed(&outcome(chunk[0], "held", 5), &outcome(chunk[0], "held", chunk[0]));
            whole.replayed(&outcome(chunk[0], "held", 5), &outcome(chunk[0], "held", chunk[0]));
            let text = part.to_json().to_string();
            let read = Tally::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read, part);
            sum.merge(&read);
        }
        whole.cpu_seconds = 3.75;
        assert_eq!(sum, whole);
        assert_eq!((sum.held(), sum.seeds.to_string().as_str()), (5, "1-5,9"));
        assert_eq!(sum.per_core_hour(), 8_640.0);
        let table = ["p", "q"].map(str::to_owned);
        assert_eq!(sum.missing(&table), ["q"]);
    }

    #[test]
    fn what_is_kept_of_a_failure_is_bounded_and_ends_with_how_to_see_it_again() {
        let mut tally = Tally::default();
        let mut seed = outcome(1, "violated", 5);
        seed.wrong = vec!["x".repeat(100_000); 1_000];
        seed.wrong.push("to reproduce: so".to_owned());
        tally.add(&seed);
        assert!(tally.to_json().to_string().len() < 8_000);
        assert_eq!(tally.failed[&1].last().unwrap(), "to reproduce: so");
    }

    #[test]
    fn a_field_that_is_missing_is_named() {
        for name in ["seeds", "failed", "replayed", "differed", "sometimes", "counts", "cpu_seconds"] {
            let mut value = Tally::default().to_json();
            value.as_object_mut().unwrap().remove(name);
            let error = format!("{:#}", Tally::from_json(&value).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
    }
}
