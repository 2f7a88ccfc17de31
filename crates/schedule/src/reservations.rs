//! What was proposed and is not in the view yet, so that no pass hands it out twice.
//!
//! A reservation ends when the view reaches the revision of its entry (absorbed), or when it was refused or its
//! outcome is known not to come (released). Loss of leadership drops the whole scheduler.

use std::collections::BTreeMap;

use paceline_types::{IndexSet, JobUid, NodeId, Resources, Revision};

use crate::pass::ProposalId;

/// One proposal's claim.
struct Reservation {
    job: JobUid,
    node: NodeId,
    tasks: IndexSet,
    sum: Resources,
    /// Set once the entry is committed: the view that reaches it shows the claim itself.
    entry: Option<Revision>,
}

/// All claims that the view does not show yet.
#[derive(Default)]
pub(crate) struct Reservations {
    open: BTreeMap<ProposalId, Reservation>,
}

impl Reservations {
    pub(crate) fn hold(
        &mut self,
        id: ProposalId,
        job: JobUid,
        node: NodeId,
        tasks: IndexSet,
        sum: Resources,
    ) {
        self.open.insert(id, Reservation { job, node, tasks, sum, entry: None });
    }

    /// The entry is committed at this revision; the claim ends with the first view that has reached it.
    pub(crate) fn committed(&mut self, id: ProposalId, entry: Revision) {
        if let Some(reservation) = self.open.get_mut(&id) {
            reservation.entry = Some(entry);
        }
    }

    pub(crate) fn release(&mut self, id: ProposalId) {
        self.open.remove(&id);
    }

    /// Ends every claim that a view at this revision shows.
    pub(crate) fn absorb(&mut self, view: Revision) {
        self.open.retain(|_, reservation| reservation.entry.is_none_or(|entry| entry > view));
    }

    pub(crate) fn by_node(&self) -> BTreeMap<NodeId, Resources> {
        let mut sums: BTreeMap<NodeId, Resources> = BTreeMap::new();
        for reservation in self.open.values() {
            let sum = sums.entry(reservation.node).or_default();
            *sum = sum.checked_add(&reservation.sum).unwrap_or(*sum);
        }
        sums
    }

    /// The tasks of one job that are proposed already.
    pub(crate) fn of_job(&self, job: JobUid) -> IndexSet {
        let held = self.open.values().filter(|held| held.job == job);
        held.flat_map(|held| held.tasks.ranges().iter().copied()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}
