//! The words on the command line, and nothing of what they lead to.

use anyhow::{Context, Result, bail};
use paceline_sim::consensus::MASTERS;
use paceline_sim::plan::Family;
use paceline_sim::plants::{self, Switch};
use paceline_sim::points::Simulation;

/// How to use it.
pub const USAGE: &str = "\
usage: paceline-sim cell --seed SEED [--plan FAMILY] [--plant BUG] [--trace] [--log FILTER]
       paceline-sim consensus --seed SEED [--plant BUG] [--trace] [--log FILTER]
       paceline-sim graphs --seed GRAPH [--leader 1-5] [--behind 1-5] [--plant BUG] [--trace] [--log FILTER]
       paceline-sim points|plants cell|consensus|graphs

  cell            the whole cell: masters, shards, agents, clients
  consensus       the masters' log alone, on faulty disks
  graphs          consensus on a graph of links between five masters: seeds 0 to 1023 are all graphs;
                  each master in turn leads when the links are cut, or the one of --leader;
                  the one of --behind was away before, and its log is behind
  points          print what a sweep of the simulation must reach in some of its seeds, one in a line
  plants          print the bugs that can be planted in it and must be caught, one in a line
  --plan FAMILY   swarm (the default: faults of a mix of its own), smoke (one killed leader)
                  or canary (disks that lie: the checks must find it)
  --plant BUG     plant a bug that must be caught; a wrong name lists them
  --trace         print what happens, with virtual times, to stderr
  --log FILTER    print what production code logs as well, for example info,paceline_master=debug
";

/// What was asked for.
pub enum Asked {
    /// One seed.
    Run(Run),
    /// The points of a simulation.
    Points(Simulation),
    /// The bugs that a simulation must catch.
    Plants(Simulation),
}

/// A seed to run.
pub struct Run {
    pub seed: u64,
    pub simulation: Simulation,
    /// Of a whole cell.
    pub family: Family,
    /// On a graph: who leads when the links are cut, from 0.
    pub leader: Option<usize>,
    /// On a graph: who was away before, from 0.
    pub behind: Option<usize>,
    /// The bug to plant, if any.
    pub plant: Option<Switch>,
    /// Events go to stderr.
    pub shown: bool,
    pub log: Option<String>,
}

impl Run {
    /// The line that runs it again, for a person who reads along.
    pub fn reproduce(&self) -> String {
        let Self { seed, simulation, family, plant, .. } = self;
        let mut line = format!("paceline-sim {} --seed {seed}", simulation.as_str());
        if *simulation == Simulation::Cell {
            line += &format!(" --plan {}", family.as_str());
        }
        for (option, master) in [("--leader", self.leader), ("--behind", self.behind)] {
            if let Some(master) = master {
                line += &format!(" {option} {}", master + 1);
            }
        }
        if let Some(bug) = plant {
            line += &format!(" --plant {}", bug.name());
        }
        line + " --trace"
    }
}

/// Reads the command line; what is wrong is named.
pub fn read(mut words: impl Iterator<Item = String>) -> Result<Asked> {
    let first = words.next().with_context(|| format!("a simulation is missing\n\n{USAGE}"))?;
    let list = match first.as_str() {
        "points" => Asked::Points,
        "plants" => Asked::Plants,
        name => return run(simulation(name)?, words).map(Asked::Run),
    };
    let name = words.next().with_context(|| format!("{first}: cell, consensus or graphs is expected"))?;
    if let Some(other) = words.next() {
        bail!("not an option of {first}: {other}\n\n{USAGE}");
    }
    Ok(list(simulation(&name)?))
}

fn simulation(name: &str) -> Result<Simulation> {
    let found = Simulation::ALL.into_iter().find(|simulation| simulation.as_str() == name);
    found.with_context(|| format!("not a simulation: {name}\n\n{USAGE}"))
}

fn run(simulation: Simulation, mut words: impl Iterator<Item = String>) -> Result<Run> {
    let (mut seed, mut family, mut plant, mut shown, mut log) = (None, Family::Swarm, None, false, None);
    let (mut leader, mut behind) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => {
                let text = words.next().context("--seed needs a number")?;
                seed = Some(text.parse().with_context(|| format!("--seed {text}: a number is expected"))?);
            }
            "--plan" if simulation == Simulation::Cell => {
                let text = words.next().context("--plan needs a word")?;
                let found = Family::ALL.into_iter().find(|family| family.as_str() == text);
                family =
                    found.with_context(|| format!("--plan {text}: swarm, smoke or canary is expected"))?;
            }
            "--leader" if simulation == Simulation::Graphs => leader = Some(master(&word, words.next())?),
            "--behind" if simulation == Simulation::Graphs => behind = Some(master(&word, words.next())?),
            "--plant" => plant = Some(bug(simulation, &words.next().context("--plant needs a bug")?)?),
            "--trace" => shown = true,
            "--log" => log = Some(words.next().context("--log needs a filter")?),
            other => bail!("not an option: {other}\n\n{USAGE}"),
        }
    }
    let seed = seed.with_context(|| format!("--seed is missing\n\n{USAGE}"))?;
    Ok(Run { seed, simulation, family, leader, behind, plant, shown, log })
}

/// A master by its number from 1.
fn master(option: &str, text: Option<String>) -> Result<usize> {
    let text = text.with_context(|| format!("{option} needs a number"))?;
    let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let master = number.filter(|master| *master < MASTERS);
    master.with_context(|| format!("{option} {text}: a number from 1 to {MASTERS} is expected"))
}

fn bug(simulation: Simulation, text: &str) -> Result<Switch> {
    plants::named(text).with_context(|| {
        let names: Vec<_> = plants::of(simulation).into_iter().map(Switch::name).collect();
        format!("--plant {text}: one of {} is expected", names.join(", "))
    })
}
