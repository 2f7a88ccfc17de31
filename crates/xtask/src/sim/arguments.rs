//! The words after `cargo xtask sim`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How to use it.
pub const USAGE: &str = "\
usage: cargo xtask sim [cell|consensus] (--seeds N [--first-seed S] | --budget 15m [--first-seed S] | --seed X)
                       [-- WORDS FOR EACH SEED]";

/// How many seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// This one, traced.
    One(u64),
    /// So many.
    Count(u64),
    /// As many as fit into this time.
    Budget(Duration),
}

/// Which simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulation {
    /// The whole cell.
    Cell,
    /// Consensus alone.
    Consensus,
}

impl Simulation {
    /// Its word, here and there.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Consensus => "consensus",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    pub simulation: Simulation,
    pub extent: Extent,
    /// The first seed of many.
    pub first: u64,
    /// Words that each seed's process is given as they are.
    pub passed_on: Vec<String>,
}

impl Arguments {
    /// Reads them; what is wrong is named.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let (ours, passed_on) = match words.iter().position(|word| *word == "--") {
            Some(at) => (&words[..at], words[at + 1..].iter().map(|word| (*word).to_owned()).collect()),
            None => (words, Vec::new()),
        };
        let (mut simulation, mut extent, mut first) = (Simulation::Cell, None, 1);
        let mut ours = ours.iter().copied();
        while let Some(word) = ours.next() {
            let asked = match word {
                "cell" => {
                    simulation = Simulation::Cell;
                    continue;
                }
                "consensus" => {
                    simulation = Simulation::Consensus;
                    continue;
                }
                "--first-seed" => {
                    first = number(word, ours.next())?;
                    continue;
                }
                "--seed" => Extent::One(number(word, ours.next())?),
                "--seeds" => Extent::Count(number(word, ours.next())?),
                "--budget" => Extent::Budget(time(word, ours.next())?),
                _ => bail!("not a word of `sim`: {word}\n\n{USAGE}"),
            };
            if extent.replace(asked).is_some() {
                bail!("{word}: only one of --seed, --seeds and --budget is expected\n\n{USAGE}");
            }
        }
        let extent = extent.with_context(|| format!("how many seeds is missing\n\n{USAGE}"))?;
        Ok(Self { simulation, extent, first, passed_on })
    }
}

fn number(name: &str, text: Option<&str>) -> Result<u64> {
    let text = text.with_context(|| format!("{name} needs a number"))?;
    text.parse().with_context(|| format!("{name} {text}: a number is expected"))
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

    #[test]
    fn the_words_are_read_in_any_order() {
        let read = |text: &str| Arguments::parse(&text.split(' ').collect::<Vec<_>>());
        let wanted = Arguments {
            simulation: Simulation::Consensus,
            extent: Extent::Count(30),
            first: 7,
            passed_on: vec!["--plan".into(), "smoke".into()],
        };
        assert_eq!(read("--seeds 30 consensus --first-seed 7 -- --plan smoke").unwrap(), wanted);
        assert_eq!(read("--budget 15m").unwrap().extent, Extent::Budget(Duration::from_secs(900)));
        assert_eq!(read("--seed 4").unwrap().extent, Extent::One(4));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("--seeds", "--seeds needs a number"),
            ("--seeds many", "--seeds many: a number"),
            ("--budget 15", "--budget 15: a time"),
            ("--budget 99999999999999999999h", "a time"),
            ("--seeds 1 --seed 2", "only one"),
            ("--fast", "not a word of `sim`: --fast"),
            ("cell", "how many seeds is missing"),
        ] {
            let error = Arguments::parse(&text.split(' ').collect::<Vec<_>>()).unwrap_err();
            assert!(format!("{error:#}").contains(named), "{text}: {error:#}");
        }
    }
}
