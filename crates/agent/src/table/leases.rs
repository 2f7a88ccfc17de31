//! Leases of the node's `at_most_one` attempts: when to ask, what a grant covers.
//!
//! A lease counts from when it was asked for, by the machine's boot clock. It covers what its token vouches for: attempts
//! of its generation that were assigned by its revision, unless this session's orders end them. Before the session's first
//! full set nothing is covered, because until then nobody told what has ended meanwhile.

use std::collections::VecDeque;

use paceline_link::message::Lease as Granted;
use paceline_runtime::Lease;
use paceline_types::{AttemptId, FenceToken};

use super::record::{Phase, Record};
use super::{Action, AgentTable, Decision};

/// Requests whose answers may still come. An older one is not worth waiting for: its lease would be half over.
const ASKED_MAX: usize = 4;

/// What was asked and what is held.
#[derive(Debug, Default)]
pub(super) struct Leases {
    last: u64,
    /// Number and time of the latest requests.
    asked: VecDeque<(u64, u64)>,
    /// The lease in force, with what it covers.
    held: Option<(FenceToken, Lease)>,
    /// Something waits for a lease that the one in force does not cover, and nobody asked since it was noticed.
    uncovered: bool,
    /// Something may need a lease: without it nobody looks at the records, and most nodes never need one.
    needed: bool,
}

impl Leases {
    /// A new session: nothing that was asked before is answered in it.
    pub(super) fn restart(&mut self) {
        self.asked.clear();
        self.last = 0;
    }

    fn covers(&self, record: &Record) -> Option<Lease> {
        let (token, lease) = self.held?;
        let vouched = token.generation == record.generation && record.assigned <= token.revision;
        (vouched && record.wants_lease()).then_some(lease)
    }
}

impl AgentTable {
    /// Whether to ask for a lease: something must have one, and the session has told what must end.
    #[must_use]
    pub fn wants_lease(&mut self) -> bool {
        self.leases.needed &= self.records.values().any(Record::wants_lease);
        self.leases.needed && self.seen_whole
    }

    /// Whether something waits that no lease covers yet, so that asking should not wait either.
    #[must_use]
    pub const fn wants_lease_now(&self) -> bool {
        self.leases.uncovered && self.seen_whole
    }

    /// A request is sent at this time of the boot clock; its number.
    pub fn ask_lease(&mut self, now_boot_ms: u64) -> u64 {
        let leases = &mut self.leases;
        leases.last += 1;
        leases.uncovered = false;
        if leases.asked.len() == ASKED_MAX {
            leases.asked.pop_front();
        }
        leases.asked.push_back((leases.last, now_boot_ms));
        leases.last
    }

    /// A lease was granted.
    pub fn on_lease(&mut self, granted: &Granted) -> Decision {
        let mut decision = Decision::default();
        if granted.token < self.fence {
            decision.stale_below = Some(self.fence);
            return decision;
        }
        let asked = self.leases.asked.iter().find(|(number, _)| *number == granted.number);
        let Some(&(number, asked_boot_ms)) = asked.filter(|_| self.seen_whole) else { return decision };
        self.leases.asked.retain(|(later, _)| *later > number);
        let lease = Lease { asked_boot_ms, duration_ms: granted.duration_ms };
        self.leases.held = Some((granted.token, lease));
        let attempts: Vec<_> = self.records.keys().copied().collect();
        for attempt in attempts {
            self.renew(attempt, &mut decision);
        }
        self.review_leases();
        decision
    }

    /// Tells the runtime of the lease in force, if that covers the attempt and the runtime has it.
    pub(super) fn renew(&mut self, attempt: AttemptId, decision: &mut Decision) {
        let Some(record) = self.records.get(&attempt) else { return };
        if let (Phase::Started { .. }, Some(lease)) = (record.phase, self.leases.covers(record)) {
            decision.actions.push(Action::Renew { attempt, lease });
        }
    }

    /// Notes from its specification whether an attempt needs a lease.
    pub(super) fn note_leased(&mut self, attempt: AttemptId) {
        if let Some(record) = self.records.get_mut(&attempt)
            && let Some(Ok(spec)) = self.specs.find(attempt.job)
        {
            record.leased = spec.at_most_one;
            self.leases.needed |= spec.at_most_one;
        }
    }

    /// Looks whether anything waits for a lease that the one in force does not cover.
    pub(super) fn review_leases(&mut self) {
        let uncovered = |record: &Record| record.wants_lease() && self.leases.covers(record).is_none();
        self.leases.uncovered = self.leases.needed && self.records.values().any(uncovered);
    }
}
