//! Why tasks of a job wait: what was asked, and what stands in the way with counts.

use std::collections::BTreeMap;

use paceline_cell::{Cell, Job};
use paceline_types::{Reason, Resources, TaskIndex};

use crate::best_fit::FreeNodes;

/// Why the pending tasks of a job wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The cause in one word.
    pub reason: Reason,
    /// What the first pending task needs.
    pub need: Resources,
    /// How many nodes say no, by the first rule that does.
    pub nodes: BTreeMap<Reason, u32>,
}

/// Explains the first pending task of a job; nothing when no task waits or one could be placed at once.
#[must_use]
pub fn explain_job(view: &Cell, job: &Job) -> Option<Waiting> {
    let first = job.pending_runs().next().map(|(_, range)| TaskIndex(range.first()))?;
    let need = job.need(first);
    let full = job.spec.max_running.is_some_and(|limit| job.on_nodes() >= limit);
    if full {
        return Some(Waiting { reason: Reason::MaxRunning, need, nodes: BTreeMap::new() });
    }
    let free = FreeNodes::new(view, &BTreeMap::new(), |_| true);
    if !free.candidates(&job.spec, &need).is_empty() {
        return None;
    }
    let nodes = free.refusals(&job.spec, &need);
    Some(Waiting { reason: cause(view, job, &need), need, nodes })
}

/// Nodes that match but are full, nodes that would do if they were larger, or no node that matches at all.
fn cause(view: &Cell, job: &Job, need: &Resources) -> Reason {
    let matching = |node: &&paceline_cell::Node| {
        paceline_rules::matches_constraints(&job.spec.constraints, node.labels())
            && paceline_rules::tolerates(&job.spec.tolerations, node.taints())
    };
    let mut seen = false;
    for node in view.nodes().filter(matching) {
        seen = true;
        if need.fits_in(&node.capacity) {
            return if node.draining { Reason::NodeDraining } else { Reason::NoFreeCapacity };
        }
    }
    if seen { Reason::NoNodeFits } else { Reason::NoNodeMatches }
}
