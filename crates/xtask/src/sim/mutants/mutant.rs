//! What is known of one planted bug: its figures, what is wrong with them, its line in the table.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::SEEDS_MAX;
use crate::sim::outcome::Outcome;

/// Letters that are kept of how a run failed in another way than by a check.
const OTHERWISE_LETTERS_MAX: usize = 300;

/// One bug in one simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutant {
    pub simulation: String,
    pub plant: String,
    /// The first seed of the sweep.
    first: u64,
    /// Seeds that ran with the bug.
    pub seeds: u64,
    /// Those that a check caught it in, and that hold without it.
    pub caught: u64,
    /// The lowest of them.
    caught_first: Option<u64>,
    /// How many seeds each check caught it in.
    caught_by: BTreeMap<String, u64>,
    /// Seeds that ended badly without any check having found something, and how one of them did.
    otherwise: u64,
    otherwise_said: String,
    /// Seeds in which a check finds something without the bug as well.
    unplanted: Vec<u64>,
}

impl Mutant {
    /// Nothing known yet.
    pub fn new(simulation: &str, plant: &str, first: u64) -> Self {
        Self {
            simulation: simulation.to_owned(),
            plant: plant.to_owned(),
            first,
            seeds: 0,
            caught: 0,
            caught_first: None,
            caught_by: BTreeMap::new(),
            otherwise: 0,
            otherwise_said: String::new(),
            unplanted: Vec::new(),
        }
    }

    /// Checks found something in a seed that holds without the bug, or does not.
    pub fn caught(&mut self, outcome: &Outcome, holds_without: bool) {
        if !holds_without {
            self.unplanted.push(outcome.seed);
            return;
        }
        self.caught += 1;
        self.caught_first = Some(self.caught_first.map_or(outcome.seed, |first| first.min(outcome.seed)));
        for check in outcome.caught_by() {
            *self.caught_by.entry(check).or_default() += 1;
        }
    }

    /// A seed ended badly, and no check says why.
    pub fn failed_otherwise(&mut self, outcome: &Outcome) {
        self.otherwise += 1;
        if self.otherwise_said.is_empty() {
            self.otherwise_said = outcome.wrong.join(" | ").chars().take(OTHERWISE_LETTERS_MAX).collect();
        }
    }

    /// The number of seeds after which it is caught with even odds, from the rate of one sweep.
    pub fn estimate(&self) -> Option<f64> {
        (self.caught > 0).then(|| LN_2 * self.seeds as f64 / self.caught as f64)
    }

    /// Seeds until the first that caught it, that one included.
    fn until_caught(&self) -> Option<u64> {
        self.caught_first.map(|seed| seed - self.first + 1)
    }

    /// Why it does not count as caught, if it does not.
    pub fn problem(&self) -> Option<String> {
        let Self { simulation, plant, seeds, otherwise, otherwise_said, .. } = self;
        if let Some(seed) = self.unplanted.first() {
            return Some(format!(
                "{simulation} seed {seed} fails without {plant} as well: look at that first"
            ));
        }
        let Some(estimate) = self.estimate() else {
            let ended = match otherwise {
                0 => String::new(),
                _ => format!("; {otherwise} ended otherwise: {otherwise_said}"),
            };
            return Some(format!("{simulation} {plant}: not caught within {seeds} seeds{ended}"));
        };
        (estimate > SEEDS_MAX as f64).then(|| {
            format!("{simulation} {plant}: {estimate:.0} seeds to catch it, {SEEDS_MAX} are allowed")
        })
    }

    /// For the ledger and for programs.
    pub fn to_json(&self) -> Value {
        json!({
            "simulation": self.simulation,
            "plant": self.plant,
            "first_seed": self.first,
            "seeds": self.seeds,
            "caught": self.caught,
            "caught_first": self.caught_first,
            "until_caught": self.until_caught(),
            "estimate": self.estimate().map(|seeds| (seeds * 10.0).round() / 10.0),
            "caught_by": self.caught_by,
            "otherwise": self.otherwise,
            "otherwise_said": self.otherwise_said,
            "unplanted": self.unplanted,
        })
    }

    /// Reads it back.
    pub fn from_json(value: &Value) -> Result<Self> {
        let missing = |name: &str| format!("`{name}` of a planted bug is missing");
        let text = |name: &str| value[name].as_str().with_context(|| missing(name)).map(str::to_owned);
        let number = |name: &str| value[name].as_u64().with_context(|| missing(name));
        let checks = value["caught_by"].as_object().with_context(|| missing("caught_by"))?;
        let unplanted = value["unplanted"].as_array().with_context(|| missing("unplanted"))?;
        Ok(Self {
            simulation: text("simulation")?,
            plant: text("plant")?,
            first: number("first_seed")?,
            seeds: number("seeds")?,
            caught: number("caught")?,
            caught_first: value["caught_first"].as_u64(),
            caught_by: checks
                .iter()
                .filter_map(|(check, count)| Some((check.clone(), count.as_u64()?)))
                .collect(),
            otherwise: number("otherwise")?,
            otherwise_said: text("otherwise_said")?,
            unplanted: unplanted.iter().filter_map(Value::as_u64).collect(),
        })
    }

    fn row(&self) -> String {
        let shown = |figure: Option<String>| figure.unwrap_or_else(|| "–".to_owned());
        let mut checks: Vec<_> = self.caught_by.iter().collect();
        checks.sort_by_key(|(check, count)| (std::cmp::Reverse(**count), (*check).clone()));
        let mut found: Vec<_> = checks.iter().map(|(check, count)| format!("{check} {count}")).collect();
        if self.otherwise > 0 {
            found.push(format!("(ended otherwise: {})", self.otherwise));
        }
        format!(
            "| `{}` | {} | {} of {} | {} | {} | {} |",
            self.plant,
            self.simulation,
            self.caught,
            self.seeds,
            shown(self.until_caught().map(|seeds| seeds.to_string())),
            shown(self.estimate().map(|seeds| format!("{seeds:.1}"))),
            found.join(", "),
        )
    }
}

/// All of them as a table of Markdown.
pub fn table(mutants: &[Mutant]) -> String {
    let head = "| bug | simulation | seeds that catch it | first after | even odds after | checks that find it |\n\
                |---|---|---|---|---|---|";
    let rows = mutants.iter().map(Mutant::row);
    std::iter::once(head.to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
}
