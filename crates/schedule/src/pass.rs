//! One pass: from a view to the assignments worth proposing.

use std::collections::BTreeMap;

use paceline_cell::{Cell, CommandBody, Job, Node};
use paceline_types::{Attempt, IndexRange, IndexSet, JobUid, NodeId, Resources, Revision};

use crate::best_fit::{FreeNodes, times};
use crate::reservations::Reservations;
use crate::round::{Cursor, Rounds, Seen, Stretch};

/// Names a proposal of this scheduler until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalId(u64);

/// An assignment to propose.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// To settle it with.
    pub id: ProposalId,
    /// What to propose: always an `Assign`.
    pub command: CommandBody,
}

/// Bounds of one pass.
#[derive(Clone, Copy, Debug)]
pub struct PassLimits {
    /// Tasks to place in one pass: a pass must not hold the leader's loop for long.
    pub tasks: u64,
    /// Proposals that may be unsettled; at the bound a pass proposes nothing.
    pub open_proposals: usize,
    /// Nodes to look at, over all jobs: what does not fit costs as much as what does. The next pass goes on with the
    /// class of tasks where this one stopped.
    pub visits: u64,
}

impl Default for PassLimits {
    fn default() -> Self {
        Self { tasks: 65_536, open_proposals: 4_096, visits: 1_000_000 }
    }
}

/// The state that outlives a pass: what was proposed and is not in the view yet, and where the last pass stopped.
#[derive(Default)]
pub struct Scheduler {
    reservations: Reservations,
    next_id: u64,
    rounds: Rounds,
    /// Proposals that gave their room back.
    releases: u64,
    /// Tasks that must not be placed yet, whatever the view says.
    held: BTreeMap<JobUid, IndexSet>,
}

impl Scheduler {
    /// For a new leader. It places only after applying the first entry of its own term.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The proposal was committed at this revision and applied without a refusal.
    pub fn committed(&mut self, id: ProposalId, entry: Revision) {
        self.reservations.committed(id, entry);
    }

    /// The proposal was refused, or it is certain that it never commits.
    pub fn released(&mut self, id: ProposalId) {
        self.reservations.release(id);
        self.releases += 1;
    }

    /// Places none of these from now on, until it is told otherwise: each call takes the place of the one before.
    pub fn hold_back(&mut self, held: BTreeMap<JobUid, IndexSet>) {
        self.held = held;
    }

    /// Whether the last pass stopped before it had looked at everything: another one is worth it at once.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.rounds.is_unfinished()
    }

    /// How many proposals are unsettled or not yet in a view that a pass has seen.
    #[must_use]
    pub fn open_proposals(&self) -> usize {
        self.reservations.len()
    }

    /// Places what can be placed now on usable nodes, oldest job first, within the limits.
    /// The proposals are in an order whose every prefix is feasible.
    pub fn pass(
        &mut self,
        view: &Cell,
        limits: &PassLimits,
        usable: impl Fn(&Node) -> bool,
    ) -> Vec<Proposal> {
        self.reservations.absorb(view.revision());
        if view.pending_jobs().next().is_none() {
            return Vec::new();
        }
        let seen = Seen { revision: view.revision(), releases: self.releases };
        let stretches = self.rounds.begin(seen);
        let free = FreeNodes::new(view, &self.reservations.by_node(), usable);
        let mut pass = Pass { free, tasks: limits.tasks, visits: limits.visits, proposals: Vec::new() };
        for stretch in stretches.into_iter().flatten() {
            for job in view.pending_jobs().filter(|job| stretch.touches(job.uid)) {
                let room = limits.open_proposals.saturating_sub(self.reservations.len());
                if pass.tasks == 0 || room == 0 || self.rounds.is_unfinished() {
                    return pass.proposals;
                }
                self.place_job(job, view, &mut pass, room, &stretch);
            }
        }
        pass.proposals
    }

    fn place_job(&mut self, job: &Job, view: &Cell, pass: &mut Pass<'_>, room: usize, stretch: &Stretch) {
        let claims = self.reservations.of_job(job.uid);
        let mut bounds = Bounds { tasks: admitted(job, &claims).min(pass.tasks), proposals: room };
        if bounds.tasks == 0 {
            // Before its tasks are looked at: a job of a million at its bound costs nothing.
            return;
        }
        let before = bounds.tasks;
        let taken = match self.held.get(&job.uid) {
            Some(held) => claims.ranges().iter().chain(held.ranges()).copied().collect(),
            None => claims,
        };
        for (class, ranges) in pending_classes(job, &taken) {
            let at = Cursor { job: job.uid, class: Some(class) };
            if !stretch.contains(at) {
                continue;
            }
            if bounds.tasks == 0 || bounds.proposals == 0 {
                break;
            }
            if pass.visits == 0 {
                self.rounds.stop_at(at);
                break;
            }
            for run in fill(job, &class, ranges, pass, &mut bounds) {
                let proposal = self.propose(job.uid, view, class.follows, run);
                pass.proposals.push(proposal);
            }
        }
        pass.tasks -= before - bounds.tasks;
    }

    fn propose(&mut self, job: JobUid, view: &Cell, follows: Attempt, run: Run) -> Proposal {
        let id = ProposalId(self.next_id);
        self.next_id += 1;
        self.reservations.hold(id, job, run.node, run.tasks.clone(), run.sum);
        let epoch = view.node(run.node).map(|node| node.epoch).unwrap_or_default();
        let command = CommandBody::Assign { job, follows, node: run.node, epoch, tasks: run.tasks };
        Proposal { id, command }
    }
}

/// A pass under way.
struct Pass<'v> {
    free: FreeNodes<'v>,
    tasks: u64,
    visits: u64,
    proposals: Vec<Proposal>,
}

/// What a job may still use of the pass.
struct Bounds {
    tasks: u64,
    proposals: usize,
}

/// Tasks that no rule can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    follows: Attempt,
    need: Resources,
}

/// k tasks on one node.
struct Run {
    node: NodeId,
    tasks: IndexSet,
    sum: Resources,
}

/// How many more tasks of the job may go onto nodes.
fn admitted(job: &Job, claims: &IndexSet) -> u64 {
    u64::from(job.room_to_run()).saturating_sub(claims.count())
}

/// Every pending task that is not taken, by class, in ranges: the cost is that of ranges, not of tasks.
fn pending_classes(job: &Job, taken: &IndexSet) -> BTreeMap<Class, Vec<IndexRange>> {
    let mut classes: BTreeMap<Class, Vec<IndexRange>> = BTreeMap::new();
    for (follows, pending) in job.pending_runs() {
        for open in without(pending, taken) {
            for (range, need) in job.need_runs(open) {
                classes.entry(Class { follows, need }).or_default().push(range);
            }
        }
    }
    classes
}

/// What is left of a range, rising.
fn without(range: IndexRange, taken: &IndexSet) -> Vec<IndexRange> {
    let mut left = Vec::new();
    let mut next = Some(range.first());
    let first = taken.ranges().partition_point(|taken| taken.last() < range.first());
    for taken in taken.ranges()[first..].iter().take_while(|taken| taken.first() <= range.last()) {
        if let (Some(begin), Some(end)) = (next, taken.first().checked_sub(1)) {
            left.extend(IndexRange::new(begin, end));
        }
        next = taken.last().checked_add(1);
    }
    left.extend(next.and_then(|begin| IndexRange::new(begin, range.last())));
    left
}

/// Fills the best node, then the next best, until the tasks or the nodes run out.
/// After a task is placed its node is fuller and so still the best: one scan serves a whole class.
fn fill(
    job: &Job,
    class: &Class,
    ranges: Vec<IndexRange>,
    pass: &mut Pass<'_>,
    bounds: &mut Bounds,
) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut waiting = Waiting { ranges: ranges.into_iter(), current: None };
    pass.visits = pass.visits.saturating_sub(pass.free.len());
    for (node, copies) in pass.free.candidates(&job.spec, &class.need) {
        if bounds.proposals == 0 {
            break;
        }
        let tasks = waiting.take(copies.min(bounds.tasks));
        let count = tasks.count();
        if count == 0 {
            break;
        }
        pass.free.take(node.id, &class.need, count);
        bounds.tasks -= count;
        bounds.proposals -= 1;
        runs.push(Run { node: node.id, tasks, sum: times(&class.need, count) });
    }
    runs
}

/// Tasks of a class that were not placed yet.
struct Waiting {
    ranges: std::vec::IntoIter<IndexRange>,
    current: Option<IndexRange>,
}

impl Waiting {
    /// The next tasks, at most `count` of them.
    fn take(&mut self, count: u64) -> IndexSet {
        let mut taken = Vec::new();
        let mut left = count;
        while left > 0 {
            let Some(range) = self.current.take().or_else(|| self.ranges.next()) else { break };
            let part = u32::try_from(left - 1).unwrap_or(u32::MAX);
            let last = range.first().saturating_add(part).min(range.last());
            self.current = last.checked_add(1).and_then(|begin| IndexRange::new(begin, range.last()));
            let Some(cut) = IndexRange::new(range.first(), last) else { break };
            left -= cut.count();
            taken.push(cut);
        }
        taken.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::TaskIndex;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_left_of_a_range_is_what_was_not_taken(
            first in 0_u32..50, length in 1_u32..50, taken in proptest::collection::btree_set(0_u32..120, 0..60),
        ) {
            let range = IndexRange::new(first, first + length - 1).expect("rising");
            let taken: IndexSet = taken.into_iter().map(TaskIndex).collect();
            let left: Vec<u32> = without(range, &taken).iter().flat_map(IndexRange::iter).map(|i| i.0).collect();
            let expected: Vec<u32> = range.iter().filter(|&index| !taken.contains(index)).map(|i| i.0).collect();
            prop_assert_eq!(left, expected);
        }

        #[test]
        fn waiting_tasks_are_taken_once_and_in_order(counts in proptest::collection::vec(0_u64..7, 1..20)) {
            let ranges = vec![IndexRange::new(0, 4).expect("rising"), IndexRange::new(9, 20).expect("rising")];
            let all: Vec<u32> = ranges.iter().flat_map(IndexRange::iter).map(|i| i.0).collect();
            let mut waiting = Waiting { ranges: ranges.into_iter(), current: None };
            let taken: Vec<u32> =
                counts.iter().flat_map(|&count| waiting.take(count).iter().collect::<Vec<_>>()).map(|i| i.0).collect();
            let wanted = usize::try_from(counts.iter().sum::<u64>()).expect("small").min(all.len());
            prop_assert_eq!(&taken[..], &all[..wanted]);
        }
    }
}
