//! What the ledger of the present sources says, as a page for people: it is what is committed of a campaign.
//!
//! The page lies under `docs/` and not beside the simulation's sources, because writing it must not change their hash.

use std::fs;

use anyhow::{Context, Result};

use super::arguments::Simulation;
use super::ledger::Campaign;
use super::mutants::{Mutant, table};
use super::tally::Tally;
use crate::workspace::Workspace;

/// Where the page lies.
const PAGE: &str = "docs/internals/campaigns.md";

/// The page of a campaign; `points` are the tables of both simulations.
pub fn page(campaign: &Campaign, sources: &str, points: &[(Simulation, Vec<String>)]) -> Result<String> {
    let mut page = format!(
        "# What campaigns have shown\n\n\
         Written by `cargo xtask sim report --write`; [simulation.md](simulation.md) tells how campaigns run. \
         It holds for the sources with the hash `{sources}`.\n\n\
         | simulation | seeds | held | failed | run twice, the same | seeds per core-hour | points reached |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (simulation, table) in points {
        let tally = campaign.sweeps.get(simulation.as_str()).cloned().unwrap_or_default();
        page += &row(*simulation, &tally, table);
    }
    for (simulation, table) in points {
        let tally = campaign.sweeps.get(simulation.as_str()).cloned().unwrap_or_default();
        page += &format!("\n## Points of `{}`\n\n{}\n", simulation.as_str(), hits(&tally, table));
    }
    let mutants: Vec<Mutant> = campaign.mutants.values().map(Mutant::from_json).collect::<Result<_>>()?;
    if !mutants.is_empty() {
        page += &format!("\n## Planted bugs\n\n{}\n", table(&mutants));
    }
    Ok(page)
}

fn row(simulation: Simulation, tally: &Tally, points: &[String]) -> String {
    format!(
        "| {} | {} | {} | {} | {} of {} | {} | {} of {} |\n",
        simulation.as_str(),
        tally.seeds,
        tally.held(),
        tally.failed.len(),
        tally.replayed - tally.differed.len() as u64,
        tally.replayed,
        tally.per_core_hour(),
        points.len() - tally.missing(points).len(),
        points.len(),
    )
}

/// Each point of a table with the number of seeds that reached it.
pub fn hits(tally: &Tally, points: &[String]) -> String {
    let row = |point: &String| format!("| {point} | {} |", tally.points.get(point).copied().unwrap_or(0));
    let rows = points.iter().map(row);
    let head = ["| point | seeds that reached it |".to_owned(), "|---|---|".to_owned()];
    head.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// Puts the page into the tree.
pub fn write(workspace: &Workspace, page: &str) -> Result<()> {
    let path = workspace.root.join(PAGE);
    fs::write(&path, page).with_context(|| format!("could not write {}", path.display()))?;
    eprintln!("written: {PAGE}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tally::tests::outcome;
    use super::*;

    #[test]
    fn the_page_has_every_simulation_point_and_bug() {
        let mut campaign = Campaign::default();
        let mut tally = Tally { cpu_seconds: 36.0, ..Tally::default() };
        (1..=9).for_each(|seed| tally.add(&outcome(seed, if seed == 4 { "violated" } else { "held" }, 5)));
        tally.replayed(&outcome(1, "held", 5), &outcome(1, "held", 5));
        campaign.sweeps.insert("cell".into(), tally);
        let bug = Mutant::new("cell", "lying-sync", 1).to_json();
        campaign.mutants.insert(("cell".into(), "lying-sync".into()), bug);
        let table = vec!["never".to_owned(), "p".to_owned()];
        let points = Simulation::ALL.map(|simulation| (simulation, table.clone()));
        let page = page(&campaign, "aa", &points).unwrap();
        for line in [
            "with the hash `aa`",
            "| cell | 1-9 | 8 | 1 | 1 of 1 | 1000 | 1 of 2 |",
            "| consensus |  | 0 | 0 | 0 of 0 | 0 | 0 of 2 |",
            "| never | 0 |",
            "| p | 9 |",
            "| `lying-sync` | cell | 0 of 0 | – | – |  |",
        ] {
            assert!(page.contains(line), "{line}:\n{page}");
        }
    }
}
