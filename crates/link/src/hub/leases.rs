//! Leases for `at_most_one`: who asked, and the answer once a majority has confirmed that this master leads.
//!
//! A lease is a linearizable read: the leader asks a majority *after* the request came, and looks afterwards at a view
//! that is not older than its question. So whatever a lease covers was assigned to its node at some moment after its
//! agent asked; and since the lease counts from when the agent asked, no lease for an attempt lasts longer than its length
//! after the entry that took the attempt from the node, whoever led then, was paused or was deposed meanwhile. The wait
//! before the next attempt is all that is left to do, and it is not done here (`master`, and `patience_ms` of `rules`).
//!
//! ```text
//! NodeLeaseRequest ─► asked ──┐ no round under way          confirmed, view as new as the question
//!                             └► round ─► ConfirmLeadership ─────────────────────────► diff, then Lease
//! ```
//!
//! A round serves everybody who asked before it began, so the cost is that of nodes, never of tasks; at most one is
//! under way. Nobody waits for a refusal: the agent asks again.

use std::collections::BTreeMap;

use paceline_types::{LEASE_MS, LinkSession, NodeName};

use super::Hub;
use super::assigned::Assigned;
use super::event::{HubAction, LinkId};
use super::room::Room;
use crate::message::{AgentOrder, Lease};

/// Requests that wait for a round and those of the round, one per node: bounded by the nodes of the hub.
#[derive(Debug, Default)]
pub(super) struct Leases {
    asked: BTreeMap<NodeName, Asked>,
    /// The round under way, and for whom it is.
    round: Option<BTreeMap<NodeName, Asked>>,
    /// The number of the last round.
    rounds: u64,
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    session: LinkSession,
    number: u64,
}

impl Hub {
    /// An agent asked; of two requests that wait the later counts.
    pub(super) fn lease_asked(&mut self, link: LinkId, name: NodeName, session: LinkSession, number: u64) {
        let up = |session: &&mut super::node::Session| session.is_up() && session.link == Some(link);
        if self.session_mut(&name, session).filter(up).is_some() {
            self.leases.asked.insert(name, Asked { session, number });
            self.next_round();
        }
    }

    fn next_round(&mut self) {
        if self.leases.round.is_none() && !self.leases.asked.is_empty() {
            self.leases.round = Some(std::mem::take(&mut self.leases.asked));
            self.leases.rounds += 1;
            self.outbox.act(HubAction::ConfirmLeadership { round: self.leases.rounds });
        }
    }

    pub(super) fn leadership_confirmed(&mut self, round: u64, confirmed: bool, view: &dyn Assigned) {
        if round != self.leases.rounds {
            return;
        }
        let asked = self.leases.round.take().unwrap_or_default();
        for (name, asked) in asked.into_iter().filter(|_| confirmed) {
            self.grant(&name, asked, view);
        }
        self.next_round();
    }

    /// Grants what the view says. The agent takes a lease for everything that no order of its session ends, so whatever
    /// the view has ended must have been said before, on the same stream.
    fn grant(&mut self, name: &NodeName, asked: Asked, view: &dyn Assigned) {
        let Some(record) = view.node(name).filter(|record| !record.lost) else { return };
        let Some(session) = self.session_mut(name, asked.session) else { return };
        let is_his = session.welcomed == Some((record.id, record.epoch))
            && (record.instance, record.boot) == (session.instance, session.boot);
        let Some(link) = session.link.filter(|_| is_his) else { return };
        self.tell_owed(name, view);
        let told = self.session_mut(name, asked.session).is_some_and(|session| session.told.knows_full_set());
        if told && !self.links.room_mut(link).is_some_and(|room: &mut Room| room.keeps_waiting(name)) {
            let lease = Lease { number: asked.number, token: view.fence(), duration_ms: LEASE_MS };
            self.outbox.order(link, name, asked.session, AgentOrder::Lease(lease));
        }
    }
}
