//! Why tasks of a job wait: what was asked, what stands in the way with counts, and the smallest change that
//! would have made it a yes.
//!
//! One look at each node, no state: whoever has a view can ask, a follower too. Every verdict is `rules`'.

mod words;

use std::collections::BTreeMap;

use paceline_cell::{Cell, Job, Node};
use paceline_rules::{
    Constraint, NodeTerms, Taint, feasible, matches_constraints, simulates_alike, tolerates,
};
use paceline_types::{NodeId, NodeName, Reason, ResourceKind, Resources, TaskIndex};

/// What a kind of resource that is wholly missing counts in [`Distance::short_parts`].
const PARTS: u128 = 1_000_000;

/// Why the pending tasks of a job wait; it explains the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The cause in one word; none when a node has room, heard of or not.
    pub reason: Reason,
    /// How many tasks wait.
    pub tasks: u32,
    /// The first of them.
    pub first: TaskIndex,
    /// What it needs.
    pub need: Resources,
    /// How many nodes say no, by the first rule that does.
    pub nodes: BTreeMap<Reason, u32>,
    /// How many nodes have room and are heard of: the next pass takes one.
    pub ready: u32,
    /// How many nodes would do but are not heard of.
    pub silent: u32,
    /// What would help.
    pub change: Change,
}

/// The smallest change that would make it a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// None: a pass will place it.
    None,
    /// The job runs as many tasks as it admits itself.
    RaiseMaxRunning {
        /// What it admits.
        limit: u32,
    },
    /// None: a node has room, and its last attempt may still hold a lease, which is waited out.
    OutwaitLease,
    /// There is no node at all.
    AddNode,
    /// Nodes would do, and nobody hears them.
    HearNodes,
    /// What keeps it from the node that comes closest. Never empty.
    Nearest {
        /// The node.
        node: NodeName,
        /// All that stands in the way there.
        obstacles: Vec<Obstacle>,
    },
}

/// One thing that keeps a task from a node. The order is that of preference: what passes by itself first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It is large enough, and has only so much free.
    Full {
        /// What is free.
        free: Resources,
    },
    /// It takes no new work.
    Draining,
    /// A taint that the job does not tolerate.
    Taint(Taint),
    /// A term that does not hold on its labels.
    Constraint(Constraint),
    /// It is too small even when it is empty.
    TooSmall {
        /// What it has.
        capacity: Resources,
    },
    /// It runs real tasks, and the job only pretends.
    Real,
    /// It only pretends to run tasks, and the job is a real one.
    Simulates,
}

/// Smallest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    obstacles: usize,
    /// The hardest of them.
    hardest: Option<Hardness>,
    /// What is missing of each kind, in millionths of the need, summed.
    short_parts: u64,
    /// A stable order among equals.
    node: NodeId,
}

/// Explains the first pending task of a job; nothing when no task waits. `heard` says whether a node is heard of, as
/// far as the caller knows; it is asked about nodes that would do.
#[must_use]
pub fn explain_job(view: &Cell, job: &Job, heard: impl Fn(&Node) -> bool) -> Option<Waiting> {
    let first = job.pending_runs().next().map(|(_, range)| TaskIndex(range.first()))?;
    let mut waiting = Waiting {
        reason: Reason::None,
        tasks: job.count(paceline_types::TaskState::Pending),
        first,
        need: job.need(first),
        nodes: BTreeMap::new(),
        ready: 0,
        silent: 0,
        change: Change::None,
    };
    if let Some(limit) = job.spec.max_running.filter(|&limit| job.on_nodes() >= limit) {
        waiting.reason = Reason::MaxRunning;
        waiting.change = Change::RaiseMaxRunning { limit };
        return Some(waiting);
    }
    waiting.look_at_nodes(view, job, heard);
    let ended = job.task(first).map_or(Reason::None, |task| task.reason);
    if waiting.change == Change::None && job.spec.at_most_one && ended.leaves_lease_out() {
        waiting.change = Change::OutwaitLease;
    }
    Some(waiting)
}

impl Waiting {
    fn look_at_nodes(&mut self, view: &Cell, job: &Job, heard: impl Fn(&Node) -> bool) {
        let mut nearest: Option<(Distance, &Node)> = None;
        let mut causes = Causes::default();
        for node in view.nodes() {
            let free = node.capacity.saturating_sub(&node.used);
            let terms = NodeTerms { free, draining: keeps_off(node), ..node.terms() };
            let Err(reason) = feasible(&job.spec, &self.need, &terms) else {
                // A lost node takes no work because nobody hears it.
                *(if heard(node) && !node.lost { &mut self.ready } else { &mut self.silent }) += 1;
                continue;
            };
            *self.nodes.entry(reason).or_insert(0) += 1;
            causes.look_at(job, &self.need, node);
            let distance = self.distance(job, node, free);
            if nearest.is_none_or(|(least, _)| distance < least) {
                nearest = Some((distance, node));
            }
        }
        (self.reason, self.change) = match nearest {
            _ if self.ready > 0 => (Reason::None, Change::None),
            _ if self.silent > 0 => (Reason::None, Change::HearNodes),
            None => (Reason::NoNodeMatches, Change::AddNode),
            Some((_, node)) => {
                let free = node.capacity.saturating_sub(&node.used);
                let obstacles = obstacles(job, &self.need, node, free);
                debug_assert_eq!(obstacles.len(), self.distance(job, node, free).obstacles);
                (causes.reason(), Change::Nearest { node: node.name.clone(), obstacles })
            }
        };
    }

    /// Counts what [`obstacles`] names, without a copy: it is done for every node that says no.
    fn distance(&self, job: &Job, node: &Node, free: Resources) -> Distance {
        let small = !self.need.fits_in(&node.capacity);
        let full = !small && !self.need.fits_in(&free);
        let taints = node.taints().iter().filter(|taint| !tolerated(job, taint)).count();
        let terms = job.spec.constraints.iter().filter(|term| !met(term, node)).count();
        let other_kind = simulates_alike(&job.spec, node.simulates()).is_err();
        let hardness = [
            (full, Hardness::Full),
            (keeps_off(node), Hardness::Draining),
            (taints > 0, Hardness::Taint),
            (terms > 0, Hardness::Constraint),
            (small, Hardness::TooSmall),
            (other_kind, Hardness::OtherKind),
        ];
        let hardest = hardness.into_iter().filter(|(is, _)| *is).map(|(_, hardness)| hardness).max();
        let single = [full, keeps_off(node), small, other_kind].into_iter().filter(|is| *is).count();
        let room = if self.need.fits_in(&node.capacity) { free } else { node.capacity };
        let short = self.need.saturating_sub(&room);
        let part = |kind| match u128::from(self.need.of(kind)) {
            0 => 0,
            need => u128::from(short.of(kind)) * PARTS / need,
        };
        let parts: u128 = ResourceKind::ALL.into_iter().map(part).sum();
        Distance {
            obstacles: single + taints + terms,
            hardest,
            short_parts: u64::try_from(parts).unwrap_or(u64::MAX),
            node: node.id,
        }
    }
}

/// How much has to happen until an obstacle is gone, least first; the order of [`Obstacle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hardness {
    Full,
    Draining,
    Taint,
    Constraint,
    TooSmall,
    OtherKind,
}

/// An operator keeps work off the node; `node resume` takes either back.
fn keeps_off(node: &Node) -> bool {
    node.draining || node.replaceable
}

fn tolerated(job: &Job, taint: &Taint) -> bool {
    tolerates(&job.spec.tolerations, std::slice::from_ref(taint))
}

fn met(term: &Constraint, node: &Node) -> bool {
    matches_constraints(std::slice::from_ref(term), node.labels())
}

/// All that keeps a task from a node, what passes by itself first.
fn obstacles(job: &Job, need: &Resources, node: &Node, free: Resources) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if !need.fits_in(&node.capacity) {
        obstacles.push(Obstacle::TooSmall { capacity: node.capacity });
    } else if !need.fits_in(&free) {
        obstacles.push(Obstacle::Full { free });
    }
    if keeps_off(node) {
        obstacles.push(Obstacle::Draining);
    }
    let taints = node.taints().iter().filter(|taint| !tolerated(job, taint));
    obstacles.extend(taints.cloned().map(Obstacle::Taint));
    let terms = job.spec.constraints.iter().filter(|term| !met(term, node));
    obstacles.extend(terms.cloned().map(Obstacle::Constraint));
    if simulates_alike(&job.spec, node.simulates()).is_err() {
        obstacles.push(if node.simulates() { Obstacle::Simulates } else { Obstacle::Real });
    }
    obstacles.sort();
    obstacles
}

/// What is true of some node that says no.
#[derive(Default)]
struct Causes {
    /// It is of the job's kind, and labels and taints fit.
    matches: bool,
    /// So does its size, once it is empty.
    fits: bool,
    /// And it takes work.
    takes_work: bool,
}

impl Causes {
    fn look_at(&mut self, job: &Job, need: &Resources, node: &Node) {
        let matches = simulates_alike(&job.spec, node.simulates()).is_ok()
            && matches_constraints(&job.spec.constraints, node.labels())
            && tolerates(&job.spec.tolerations, node.taints());
        let fits = matches && need.fits_in(&node.capacity);
        self.matches |= matches;
        self.fits |= fits;
        self.takes_work |= fits && !keeps_off(node);
    }

    const fn reason(&self) -> Reason {
        match (self.matches, self.fits, self.takes_work) {
            (_, _, true) => Reason::NoFreeCapacity,
            (_, true, _) => Reason::NodeDraining,
            (true, ..) => Reason::NoNodeFits,
            _ => Reason::NoNodeMatches,
        }
    }
}
