//! `cargo xtask sim`: many seeds of the simulation, each a process of its own, on all cores at once.
//!
//! Failing seeds are listed with the line that reproduces each. What was shown is kept in a ledger under the hash of the
//! sources that were built, so that a campaign can go on another day. It knows the simulation by its command line and by
//! the JSON of its last line only.

mod arguments;
mod binary;
mod cpu;
mod crew;
mod ledger;
mod mutants;
mod outcome;
mod report;
mod screen;
mod seeds;
mod sources;
mod sweep;
mod tally;

use anyhow::{Context, Result, bail};

use self::arguments::{Asked, Simulation};
use self::binary::{Binary, Profile};
use self::crew::{Crew, Task};
use self::ledger::{Campaign, Ledger};
use self::mutants::Hunts;
use self::sweep::{Extent, Plan, Sweep, Swept};
use crate::command;
use crate::workspace::Workspace;

/// Seeds of `cargo xtask test`: 300, of which a whole cell takes about three times what consensus alone does.
const TEST_SEEDS: [(Simulation, u64); 2] = [(Simulation::Consensus, 200), (Simulation::Cell, 100)];

/// Runs what the words after `sim` ask for.
pub fn run(workspace: &Workspace, words: &[&str]) -> Result<()> {
    let (asked, profile) = arguments::read(words)?;
    let binary = Binary::build(workspace, profile)?;
    match asked {
        Asked::One { simulation, seed, passed_on } => {
            one(&binary, &Task { simulation: simulation.as_str(), seed, plant: None, passed_on })
        }
        Asked::Sweep(plan) => {
            let crew = Crew::new(binary.path.clone())?;
            let swept = sweep(&binary, &crew, plan, true)?;
            println!("{}", swept.summary(&binary.sources, crew.workers()));
            crew.check_not_interrupted()?;
            swept.tally.verdict()
        }
        Asked::Coverage(plans) => coverage(&binary, plans),
        Asked::Mutants(plan) => hunt(&binary, plan),
        Asked::Tests => test_seeds(&binary),
        Asked::Report { write } => {
            let campaign = Campaign::read(&ledger::folder()?, &binary.sources)?;
            let points = |one: Simulation| Ok((one, binary.list("points", one.as_str())?));
            let tables: Result<Vec<_>> = Simulation::ALL.into_iter().map(points).collect();
            let page = report::page(&campaign, &binary.sources, &tables?)?;
            print!("{page}");
            if write { report::write(workspace, &page) } else { Ok(()) }
        }
    }
}

/// The seeds of `cargo xtask test`, with the binary that its build has just left.
pub fn test(workspace: &Workspace) -> Result<()> {
    test_seeds(&Binary::of_last_build(workspace, Profile::Dev)?)
}

/// They run whatever the ledger has, for a test that passes without running shows nothing, and go into none.
fn test_seeds(binary: &Binary) -> Result<()> {
    let crew = Crew::new(binary.path.clone())?;
    let mut problems = Vec::new();
    for (simulation, seeds) in TEST_SEEDS {
        let extent = Extent::Count(seeds);
        let plan = Plan { simulation, extent, first: 1, resumes: false, passed_on: Vec::new() };
        let swept = sweep(binary, &crew, plan, false)?;
        println!("{}", swept.summary(&binary.sources, crew.workers()));
        crew.check_not_interrupted()?;
        if let Err(problem) = swept.tally.verdict() {
            problems.push(format!("{}: {problem:#}", simulation.as_str()));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// One seed, for a person who reads along.
fn one(binary: &Binary, task: &Task) -> Result<()> {
    let mut command = task.command(&binary.path);
    command.arg("--trace");
    eprintln!("$ {}", command::line(&command));
    let status = command.status().with_context(|| format!("could not start {}", binary.path.display()))?;
    if !status.success() {
        bail!("seed {} failed", task.seed);
    }
    Ok(())
}

/// Sweeps, and prints the failures. Seeds with words of their own are never in a ledger.
fn sweep(binary: &Binary, crew: &Crew, plan: Plan, with_ledger: bool) -> Result<Swept> {
    let points = binary.list("points", plan.simulation.as_str())?;
    let with_ledger = with_ledger && plan.passed_on.is_empty();
    let ledger = with_ledger.then(|| Ledger::open(&ledger::folder()?, &binary.sources)).transpose()?;
    let mut sweep = Sweep::new(plan, points, binary.profile.as_str(), ledger)?;
    crew.run(&mut sweep);
    let swept = sweep.end()?;
    for line in swept.tally.failures() {
        println!("{line}");
    }
    Ok(swept)
}

/// Sweeps, and fails where a point was never reached.
fn coverage(binary: &Binary, plans: Vec<Plan>) -> Result<()> {
    let crew = Crew::new(binary.path.clone())?;
    let mut problems = Vec::new();
    let share = u32::try_from(plans.len()).unwrap_or(u32::MAX).max(1);
    for mut plan in plans {
        // The time is for all of them.
        if let Extent::Budget(budget) = plan.extent {
            plan.extent = Extent::Budget(budget / share);
        }
        let name = plan.simulation.as_str();
        let swept = sweep(binary, &crew, plan, true)?;
        println!("{}", report::hits(&swept.tally, &swept.points));
        println!("{}", swept.summary(&binary.sources, crew.workers()));
        crew.check_not_interrupted()?;
        let verdicts = [swept.tally.verdict(), swept.covered()];
        problems.extend(
            verdicts.into_iter().filter_map(Result::err).map(|problem| format!("{name}: {problem:#}")),
        );
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

/// Hunts planted bugs.
fn hunt(binary: &Binary, plan: mutants::Plan) -> Result<()> {
    let named = |simulation: Simulation| Ok((simulation, binary.list("plants", simulation.as_str())?));
    let plants: Result<Vec<_>> = plan.simulations.iter().map(|simulation| named(*simulation)).collect();
    let ledger = Ledger::open(&ledger::folder()?, &binary.sources)?;
    let mut hunts = Hunts::new(plan, &plants?, ledger)?;
    let crew = Crew::new(binary.path.clone())?;
    crew.run(&mut hunts);
    let found = hunts.end()?;
    println!("{}", mutants::table(&found));
    println!("{}", mutants::summary(&found, &binary.sources));
    crew.check_not_interrupted()?;
    mutants::verdict(&found)
}
