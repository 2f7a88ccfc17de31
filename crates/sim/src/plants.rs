//! Which planted bugs each simulation must catch, and how one is planted before a run.
//!
//! The bugs in code that production runs stand where they are planted, and in one table in `types`. `cargo xtask sim
//! mutants` counts the seeds that each takes.

use paceline_types::plant::{CaughtBy, Plant, plant};

use crate::plan::Plan;
use crate::points::Simulation;

/// One bug to plant, in the simulation or in the code under test, to see that it is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// A bug in code that production runs.
    Code(Plant),
    /// Syncs of the disk succeed and save nothing.
    LyingSync,
}

impl Switch {
    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code(bug) => bug.name(),
            Self::LyingSync => "lying-sync",
        }
    }
}

/// Every bug.
fn all() -> impl Iterator<Item = Switch> {
    Plant::ALL.into_iter().map(Switch::Code).chain([Switch::LyingSync])
}

/// The bugs that a simulation must catch.
#[must_use]
pub fn of(simulation: Simulation) -> Vec<Switch> {
    all().filter(|bug| is_caught(*bug, simulation)).collect()
}

fn is_caught(bug: Switch, simulation: Simulation) -> bool {
    let caught_by = match bug {
        Switch::Code(bug) => bug.caught_by(),
        Switch::LyingSync => CaughtBy::Both,
    };
    match simulation {
        Simulation::Cell => matches!(caught_by, CaughtBy::Cell | CaughtBy::Both),
        Simulation::Consensus => matches!(caught_by, CaughtBy::Consensus | CaughtBy::Both),
        Simulation::Graphs => caught_by == CaughtBy::Graphs,
    }
}

/// The bug of this name, whether or not the simulation must catch it: any can be tried.
#[must_use]
pub fn named(name: &str) -> Option<Switch> {
    all().find(|bug| bug.name() == name)
}

/// Plants a bug, or none, in the code that this process is about to run.
pub fn plant_in_code(bug: Option<Switch>) {
    plant(match bug {
        Some(Switch::Code(bug)) => Some(bug),
        Some(Switch::LyingSync) | None => None,
    });
}

/// Plants a bug in the cell that is about to run; consensus alone plants its own.
pub fn plant_in_cell(bug: Option<Switch>, plan: &mut Plan) {
    plant_in_code(bug);
    plan.shape.lying_disks |= bug == Some(Switch::LyingSync);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_and_some_simulation_or_power_cut_must_catch_it() {
        let names: std::collections::BTreeSet<_> = all().map(Switch::name).collect();
        assert_eq!(names.len(), all().count());
        for bug in all() {
            assert_eq!(named(bug.name()), Some(bug));
            let by_power_cuts = matches!(bug, Switch::Code(code) if code.caught_by() == CaughtBy::PowerCuts);
            let caught = Simulation::ALL.into_iter().any(|simulation| is_caught(bug, simulation));
            assert!(caught || by_power_cuts, "{}", bug.name());
        }
        assert_eq!(named("no-such-bug"), None);
    }
}
