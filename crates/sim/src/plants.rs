//! Which planted bugs each simulation must catch, and how one is planted before a run.
//!
//! The bugs themselves stand where they are planted. `cargo xtask sim mutants` counts the seeds that each takes.

use paceline_replica::plant;

use crate::consensus::Switch;
use crate::plan::Plan;
use crate::points::Simulation;

/// The bugs that a simulation must catch.
#[must_use]
pub fn of(simulation: Simulation) -> Vec<Switch> {
    match simulation {
        // A power cut takes nothing from the disks of a whole cell but where they lie, so it shows none of the replica's.
        Simulation::Cell => vec![Switch::LyingSync],
        Simulation::Consensus => Switch::all(),
    }
}

/// The bug of this name, if it can be planted: more of them than must be caught, so that one can be tried.
#[must_use]
pub fn named(simulation: Simulation, name: &str) -> Option<Switch> {
    let bug = Switch::all().into_iter().find(|bug| bug.name() == name)?;
    // Whole cells have no seam for answering reads; the switch would do nothing.
    (simulation == Simulation::Consensus || bug != Switch::LocalRead).then_some(bug)
}

/// Plants a bug in the cell that is about to run; consensus alone plants its own.
pub fn plant_in_cell(bug: Option<Switch>, plan: &mut Plan) {
    match bug {
        Some(Switch::Replica(bug)) => plant::plant(Some(bug)),
        Some(Switch::LyingSync) => plan.shape.lying_disks = true,
        Some(Switch::LocalRead) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_where_it_applies() {
        assert_eq!(named(Simulation::Cell, "lying-sync"), Some(Switch::LyingSync));
        assert_eq!(named(Simulation::Cell, "local-read"), None);
        assert_eq!(named(Simulation::Consensus, "local-read"), Some(Switch::LocalRead));
        for simulation in Simulation::ALL {
            assert!(of(simulation).into_iter().all(|bug| named(simulation, bug.name()) == Some(bug)));
            let names: Vec<_> = of(simulation).into_iter().map(Switch::name).collect();
            let once: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(once.len(), names.len(), "{names:?}");
        }
    }
}
