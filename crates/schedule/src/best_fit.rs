//! Best fit: the fullest node that still has room, so that large tasks find whole nodes later.
//!
//! The score is a struct of integers whose field order is the policy; the node number is last, because a stable
//! order among equals packs better than a random one (PLACEMENT notes on FGD, ATC'23).

use std::collections::BTreeMap;

use paceline_cell::{Cell, Node};
use paceline_rules::{JobSpec, NodeTerms, feasible};
use paceline_types::{NodeId, Reason, ResourceKind, Resources};

/// What a whole cell-wide maximum of one kind counts in [`Score::left_parts`].
const PARTS: u128 = 1_000_000;

/// Smallest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// What is left after the placement, each kind in millionths of the largest node's capacity, summed.
    left_parts: u64,
    /// A stable order among equals.
    node: NodeId,
}

/// Free resources by node as the pass goes on: the view's, less reservations, less what the pass placed.
pub(crate) struct FreeNodes<'a> {
    nodes: BTreeMap<NodeId, (&'a Node, Resources)>,
    largest: Resources,
}

impl<'a> FreeNodes<'a> {
    /// The usable nodes of a view, less what is reserved for proposals that the view does not show yet.
    pub(crate) fn new(
        view: &'a Cell,
        reserved: &BTreeMap<NodeId, Resources>,
        usable: impl Fn(&Node) -> bool,
    ) -> Self {
        let mut largest = Resources::ZERO;
        let mut nodes = BTreeMap::new();
        for node in view.nodes().filter(|node| usable(node)) {
            largest = maximum(&largest, &node.capacity);
            let taken = reserved.get(&node.id).copied().unwrap_or(Resources::ZERO);
            let free = node.capacity.saturating_sub(&node.used).saturating_sub(&taken);
            nodes.insert(node.id, (node, free));
        }
        Self { nodes, largest }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Takes `need` from a node, `count` times over. The caller has checked that it fits.
    pub(crate) fn take(&mut self, id: NodeId, need: &Resources, count: u64) {
        if let Some((_, free)) = self.nodes.get_mut(&id) {
            *free = free.saturating_sub(&times(need, count));
        }
    }

    /// The nodes that may run a task of this need, the best first, with how many of it each can hold.
    pub(crate) fn candidates(&self, job: &JobSpec, need: &Resources) -> Vec<(&'a Node, u64)> {
        let mut scored: Vec<(Score, &'a Node, u64)> = Vec::new();
        for (&id, &(node, free)) in &self.nodes {
            if verdict(job, need, node, free).is_ok() {
                let left = free.saturating_sub(need);
                scored.push((Score { left_parts: self.parts(&left), node: id }, node, copies(need, &free)));
            }
        }
        scored.sort_unstable_by_key(|(score, _, _)| *score);
        scored.into_iter().map(|(_, node, copies)| (node, copies)).collect()
    }

    fn parts(&self, left: &Resources) -> u64 {
        let part = |kind| match u128::from(self.largest.of(kind)) {
            0 => 0,
            largest => u128::from(left.of(kind)) * PARTS / largest,
        };
        let sum: u128 = ResourceKind::ALL.into_iter().map(part).sum();
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

fn verdict(job: &JobSpec, need: &Resources, node: &Node, free: Resources) -> Result<(), Reason> {
    feasible(job, need, &NodeTerms { free, ..node.terms() })
}

/// How many times `need` goes into `free`.
fn copies(need: &Resources, free: &Resources) -> u64 {
    let wanted = ResourceKind::ALL.into_iter().filter(|&kind| need.of(kind) > 0);
    wanted.map(|kind| free.of(kind) / need.of(kind)).min().unwrap_or(u64::MAX)
}

pub(crate) fn times(need: &Resources, count: u64) -> Resources {
    Resources::new(need.cpu_milli().saturating_mul(count), need.memory_bytes().saturating_mul(count))
}

fn maximum(a: &Resources, b: &Resources) -> Resources {
    Resources::new(a.cpu_milli().max(b.cpu_milli()), a.memory_bytes().max(b.memory_bytes()))
}
