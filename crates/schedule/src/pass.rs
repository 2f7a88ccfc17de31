//! One pass: from a view to the assignments worth proposing.

use std::collections::BTreeMap;

use paceline_cell::{Cell, CommandBody, Job};
use paceline_types::{Attempt, IndexSet, JobUid, NodeId, Resources, Revision, TaskIndex};

use crate::best_fit::{FreeNodes, times};
use crate::reservations::Reservations;

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
}

impl Default for PassLimits {
    fn default() -> Self {
        Self { tasks: 65_536, open_proposals: 4_096 }
    }
}

/// The state that outlives a pass: what was proposed and is not in the view yet.
#[derive(Default)]
pub struct Scheduler {
    reservations: Reservations,
    next_id: u64,
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
    }

    /// How many proposals are unsettled or not yet in a view that a pass has seen.
    #[must_use]
    pub fn open_proposals(&self) -> usize {
        self.reservations.len()
    }

    /// Places what can be placed now, oldest job first, within the limits.
    /// The proposals are in an order whose every prefix is feasible.
    pub fn pass(&mut self, view: &Cell, limits: &PassLimits) -> Vec<Proposal> {
        self.reservations.absorb(view.revision());
        let mut free = FreeNodes::new(view, &self.reservations.by_node());
        let mut budget = limits.tasks;
        let mut proposals = Vec::new();
        for job in view.pending_jobs() {
            let room = limits.open_proposals.saturating_sub(self.reservations.len());
            if budget == 0 || room == 0 {
                break;
            }
            self.place_job(
                job,
                view,
                &mut free,
                &mut Bounds { tasks: &mut budget, proposals: room },
                &mut proposals,
            );
        }
        proposals
    }

    fn place_job(
        &mut self,
        job: &Job,
        view: &Cell,
        free: &mut FreeNodes<'_>,
        bounds: &mut Bounds<'_>,
        proposals: &mut Vec<Proposal>,
    ) {
        let claims = self.reservations.of_job(job.uid);
        let admitted = admitted(job, &claims).min(*bounds.tasks);
        let groups = pending_groups(job, &claims, admitted);
        for (class, tasks) in groups {
            for run in fill(job, &class, tasks, free, bounds) {
                proposals.push(self.propose(job.uid, view, class.follows, run));
            }
        }
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

/// What a job may still use of the pass.
struct Bounds<'a> {
    tasks: &'a mut u64,
    proposals: usize,
}

/// Tasks that no rule can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
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
    let on_nodes = u64::from(job.on_nodes()) + claims.count();
    job.spec.max_running.map_or(u64::MAX, |limit| u64::from(limit).saturating_sub(on_nodes))
}

/// The first `limit` pending tasks that are not claimed, by class.
fn pending_groups(job: &Job, claims: &IndexSet, limit: u64) -> BTreeMap<Class, Vec<TaskIndex>> {
    let mut groups: BTreeMap<Class, Vec<TaskIndex>> = BTreeMap::new();
    let mut left = limit;
    for (follows, range) in job.pending_runs() {
        for index in range.iter() {
            if left == 0 {
                return groups;
            }
            if !claims.contains(index) {
                left -= 1;
                groups.entry(Class { follows, need: job.need(index) }).or_default().push(index);
            }
        }
    }
    groups
}

/// Fills the best node, then the next best, until the tasks or the nodes run out.
/// After a task is placed its node is fuller and so still the best: one scan serves a whole class.
fn fill(
    job: &Job,
    class: &Class,
    tasks: Vec<TaskIndex>,
    free: &mut FreeNodes<'_>,
    bounds: &mut Bounds<'_>,
) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut tasks = tasks.into_iter();
    for (node, copies) in free.candidates(&job.spec, &class.need) {
        if bounds.proposals == 0 {
            break;
        }
        let count = copies.min(tasks.len() as u64);
        if count == 0 {
            break;
        }
        let set: IndexSet = tasks.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        free.take(node.id, &class.need, count);
        *bounds.tasks -= count;
        bounds.proposals -= 1;
        runs.push(Run { node: node.id, tasks: set, sum: times(&class.need, count) });
    }
    runs
}
