//! The words after `cargo xtask sim`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::binary::Profile;
use super::mutants;
use super::sweep::{Extent, Plan};

/// How to use it.
pub const USAGE: &str = "\
usage: cargo xtask sim [cell|consensus|graphs] --seeds N | --budget 15m | --seed X
       cargo xtask sim coverage [cell|consensus|graphs] --seeds N | --budget 15m
       cargo xtask sim mutants [cell|consensus|graphs] [--seeds N] [--budget 2h] [--plant BUG]
       cargo xtask sim report [--write]
       cargo xtask sim tests

  graphs           five masters on each graph of links: --seeds 1024 --first-seed 0 is all of them
  --seeds N        so many seeds, from the first on
  --budget TIME    as many as fit into 90s, 15m or 2h; seeds that the ledger has are passed over
  --seed X         one seed, traced
  --first-seed S   where to begin (1)
  --resume         pass over the seeds (or bugs) that the ledger of these sources has, and count them
  --anew           with --budget: pass over none
  --profile sim    build with more optimisation first, for hours of seeds
  -- WORDS         words for each seed's process, such as --plan smoke; nothing goes into the ledger
  coverage         how many seeds reached each point; fails where none did
  mutants          how many seeds it takes to catch each planted bug; fails where one is not caught
  tests            the seeds that are part of `cargo xtask test`, alone
  report           what the ledger of these sources says; --write puts it into docs/internals/campaigns.md
";

/// Which simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simulation {
    /// The whole cell.
    Cell,
    /// Consensus alone.
    Consensus,
    /// Consensus on every graph of links between five masters: seeds 0 to 1,023 are all of them.
    Graphs,
}

impl Simulation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cell, Self::Consensus, Self::Graphs];

    /// Its word, here and there.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Consensus => "consensus",
            Self::Graphs => "graphs",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// One seed, traced.
    One { simulation: Simulation, seed: u64, passed_on: Vec<String> },
    /// Many.
    Sweep(Plan),
    /// Many, for the points that they reach.
    Coverage(Vec<Plan>),
    /// Many with each planted bug.
    Mutants(mutants::Plan),
    /// The seeds of `cargo xtask test`.
    Tests,
    /// What the ledger says.
    Report { write: bool },
}

/// Words that were read and not yet made sense of.
#[derive(Default)]
struct Words {
    simulation: Option<Simulation>,
    one: Option<u64>,
    seeds: Option<u64>,
    budget: Option<Duration>,
    first: Option<u64>,
    plant: Option<String>,
    resume: bool,
    anew: bool,
    write: bool,
    profile: Option<Profile>,
    passed_on: Vec<String>,
}

/// Reads them; what is wrong is named.
pub fn read(words: &[&str]) -> Result<(Asked, Profile)> {
    let (verb, rest) = match words {
        [verb @ ("coverage" | "mutants" | "report" | "tests"), rest @ ..] => (*verb, rest),
        rest => ("", rest),
    };
    let mut words = Words::read(rest)?;
    let profile = words.profile.take().unwrap_or(Profile::Dev);
    let asked = match verb {
        "coverage" => words.coverage(),
        "mutants" => words.mutants(),
        "report" => words.report(),
        "tests" => words.only(&[]).map(|()| Asked::Tests),
        _ => words.sweep(),
    };
    Ok((asked.map_err(|error| anyhow!("{error:#}\n\n{USAGE}"))?, profile))
}

impl Words {
    fn read(words: &[&str]) -> Result<Self> {
        let mut read = Self::default();
        let (ours, passed_on) = match words.iter().position(|word| *word == "--") {
            Some(at) => (&words[..at], &words[at + 1..]),
            None => (words, &[][..]),
        };
        read.passed_on = passed_on.iter().map(|word| (*word).to_owned()).collect();
        let mut ours = ours.iter().copied();
        while let Some(word) = ours.next() {
            let known = Simulation::ALL.into_iter().find(|simulation| simulation.as_str() == word);
            match word {
                _ if known.is_some() => read.simulation = known,
                "--seed" => read.one = Some(number(word, ours.next())?),
                "--seeds" => read.seeds = Some(number(word, ours.next())?),
                "--budget" => read.budget = Some(time(word, ours.next())?),
                "--first-seed" => read.first = Some(number(word, ours.next())?),
                "--plant" => read.plant = Some(ours.next().context("--plant needs a bug")?.to_owned()),
                "--resume" => read.resume = true,
                "--anew" => read.anew = true,
                "--write" => read.write = true,
                "--profile" => read.profile = Some(profile(ours.next())?),
                _ => bail!("not a word of `sim`: {word}\n\n{USAGE}"),
            }
        }
        Ok(read)
    }

    /// Fails where a word is there that this use has no use for.
    fn only(&self, taken: &[&str]) -> Result<()> {
        let given = [
            ("--seed", self.one.is_some()),
            ("--seeds", self.seeds.is_some()),
            ("--budget", self.budget.is_some()),
            ("--first-seed", self.first.is_some()),
            ("--plant", self.plant.is_some()),
            ("--resume", self.resume),
            ("--anew", self.anew),
            ("--write", self.write),
            ("--", !self.passed_on.is_empty()),
            ("cell|consensus|graphs", self.simulation.is_some()),
        ];
        match given.into_iter().find(|(name, is_given)| *is_given && !taken.contains(name)) {
            Some((name, _)) => bail!("{name} means nothing here"),
            None => Ok(()),
        }
    }

    fn plan(&self, simulation: Simulation) -> Result<Plan> {
        let (extent, resumes) = match (self.seeds, self.budget) {
            (Some(seeds), None) if self.anew => bail!("--anew belongs to --budget; --seeds {seeds} runs all"),
            (Some(seeds), None) => (Extent::Count(seeds), self.resume),
            (None, Some(budget)) => (Extent::Budget(budget), !self.anew && self.passed_on.is_empty()),
            (Some(_), Some(_)) => bail!("only one of --seed, --seeds and --budget is expected"),
            (None, None) => bail!("how many seeds is missing"),
        };
        if self.resume && (self.anew || !self.passed_on.is_empty()) {
            bail!("--resume goes neither with --anew nor with words after --, which no ledger has");
        }
        let first = self.first.unwrap_or(1);
        Ok(Plan { simulation, extent, first, resumes, passed_on: self.passed_on.clone() })
    }

    fn sweep(self) -> Result<Asked> {
        let simulation = self.simulation.unwrap_or(Simulation::Cell);
        let Some(seed) = self.one else {
            self.only(&[
                "cell|consensus|graphs",
                "--seeds",
                "--budget",
                "--first-seed",
                "--resume",
                "--anew",
                "--",
            ])?;
            return Ok(Asked::Sweep(self.plan(simulation)?));
        };
        if self.seeds.is_some() || self.budget.is_some() {
            bail!("only one of --seed, --seeds and --budget is expected");
        }
        self.only(&["cell|consensus|graphs", "--seed", "--"])?;
        Ok(Asked::One { simulation, seed, passed_on: self.passed_on })
    }

    fn coverage(self) -> Result<Asked> {
        self.only(&["cell|consensus|graphs", "--seeds", "--budget", "--first-seed", "--resume", "--anew"])?;
        let plans = self.simulations().into_iter().map(|simulation| self.plan(simulation));
        Ok(Asked::Coverage(plans.collect::<Result<_>>()?))
    }

    fn mutants(self) -> Result<Asked> {
        self.only(&["cell|consensus|graphs", "--seeds", "--budget", "--first-seed", "--resume", "--plant"])?;
        if self.seeds == Some(0) {
            bail!("--seeds 0: at least one seed is expected");
        }
        Ok(Asked::Mutants(mutants::Plan {
            simulations: self.simulations(),
            plant: self.plant,
            seeds: self.seeds.unwrap_or(mutants::SWEEP_SEEDS),
            budget: self.budget,
            first: self.first.unwrap_or(1),
            resumes: self.resume,
        }))
    }

    fn report(self) -> Result<Asked> {
        self.only(&["--write"])?;
        Ok(Asked::Report { write: self.write })
    }

    /// Both, where none is named.
    fn simulations(&self) -> Vec<Simulation> {
        self.simulation.map_or_else(|| Simulation::ALL.to_vec(), |simulation| vec![simulation])
    }
}

fn number(name: &str, text: Option<&str>) -> Result<u64> {
    let text = text.with_context(|| format!("{name} needs a number"))?;
    text.parse().with_context(|| format!("{name} {text}: a number is expected"))
}

fn profile(text: Option<&str>) -> Result<Profile> {
    let known = [Profile::Dev, Profile::Sim].into_iter().find(|profile| Some(profile.as_str()) == text);
    known.with_context(|| format!("--profile {}: dev or sim is expected", text.unwrap_or_default()))
}

/// `90s`, `15m` or `2h`.
fn time(name: &str, text: Option<&str>) -> Result<Duration> {
    let text = text.with_context(|| format!("{name} needs a time such as 15m"))?;
    let wrong = || format!("{name} {text}: a time such as 90s, 15m or 2h is expected");
    let (digits, unit_s) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        _ => bail!(wrong()),
    };
    let count: u64 = digits.parse().with_context(wrong)?;
    Ok(Duration::from_secs(count.checked_mul(unit_s).with_context(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked> {
        super::read(&text.split_whitespace().collect::<Vec<_>>()).map(|(asked, _)| asked)
    }

    fn plan(simulation: Simulation, extent: Extent, first: u64) -> Plan {
        Plan { simulation, extent, first, resumes: false, passed_on: Vec::new() }
    }

    #[test]
    fn the_words_are_read_in_any_order() {
        let wanted = Plan {
            passed_on: vec!["--plan".into(), "smoke".into()],
            ..plan(Simulation::Consensus, Extent::Count(30), 7)
        };
        let text = "--seeds 30 consensus --first-seed 7 -- --plan smoke";
        assert_eq!(read(text).unwrap(), Asked::Sweep(wanted));
        let one = Asked::One { simulation: Simulation::Cell, seed: 4, passed_on: Vec::new() };
        assert_eq!(read("--seed 4").unwrap(), one);
        let profile = super::read(&["--seeds", "1", "--profile", "sim"]).unwrap().1;
        assert_eq!(profile, Profile::Sim);
    }

    #[test]
    fn a_budget_goes_on_where_the_ledger_stands_and_a_count_only_where_it_is_told_to() {
        let resumes = |text: &str| match read(text).unwrap() {
            Asked::Sweep(plan) => plan.resumes,
            other => panic!("{other:?}"),
        };
        assert!(resumes("--budget 15m") && !resumes("--budget 15m --anew"));
        assert!(!resumes("--budget 15m -- --plan smoke"), "the ledger has no such seeds");
        assert!(resumes("--seeds 9 --resume") && !resumes("--seeds 9"));
    }

    #[test]
    fn coverage_and_mutants_are_of_all_simulations_unless_one_is_named() {
        let all = Simulation::ALL.map(|simulation| plan(simulation, Extent::Count(5), 1)).to_vec();
        assert_eq!(read("coverage --seeds 5").unwrap(), Asked::Coverage(all));
        let Asked::Mutants(mutants) = read("mutants consensus --plant x --budget 2h").unwrap() else {
            panic!()
        };
        assert_eq!((mutants.simulations, mutants.plant), (vec![Simulation::Consensus], Some("x".into())));
        assert_eq!(mutants.budget, Some(Duration::from_secs(7_200)));
        assert_eq!(read("report --write").unwrap(), Asked::Report { write: true });
        assert_eq!(read("tests").unwrap(), Asked::Tests);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("--seeds", "--seeds needs a number"),
            ("--seeds many", "--seeds many: a number"),
            ("--budget 15", "--budget 15: a time"),
            ("--budget 99999999999999999999h", "a time"),
            ("--seeds 1 --seed 2", "only one"),
            ("--seeds 1 --budget 2m", "only one"),
            ("--fast", "not a word of `sim`: --fast"),
            ("cell", "how many seeds is missing"),
            ("--seed 2 --resume", "--resume means nothing here"),
            ("--seeds 2 --anew", "--anew belongs to --budget"),
            ("--seeds 2 --resume -- --plan smoke", "--resume goes neither"),
            ("--seeds 2 --plant x", "--plant means nothing here"),
            ("coverage --seeds 2 -- --plan smoke", "-- means nothing here"),
            ("mutants --seeds 0", "at least one"),
            ("report --seeds 2", "--seeds means nothing here"),
            ("tests cell", "cell|consensus|graphs means nothing here"),
            ("--seeds 2 --profile release", "--profile release: dev or sim"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
