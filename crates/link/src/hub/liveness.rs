//! Which nodes are up and which suspect. Soft: it never enters the log, a write-off would.

use paceline_types::{LinkSession, NodeName, ShardName};

use super::Hub;
use super::assigned::Assigned;
use super::event::LinkId;
use super::node::Session;

/// What the leader knows of a node's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Its session speaks through a connected shard, and the cell has the node as the session says.
    Up,
    /// Its session ended, or its shard was lost, less than a detection period ago; or the leader is that new.
    Unheard,
    /// Back after suspicion; its table is not in the cell yet, so nobody knows what still runs there.
    Returning,
    /// Silent for a detection period, or its shard said that it is gone.
    Suspect {
        /// When it was last known to be up.
        since_ms: u64,
    },
    /// Suspect, and written off: what was on it may run elsewhere.
    Lost {
        /// When it was last known to be up.
        since_ms: u64,
    },
}

/// Nodes by what the hub knows of them; which of the suspect ones are lost is in the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Up.
    pub up: u64,
    /// Neither up nor suspect yet.
    pub unheard: u64,
    /// Suspect.
    pub suspect: u64,
    /// Returning.
    pub returning: u64,
}

impl Hub {
    /// What is known of one node of the cell, whether or not it was ever heard of.
    #[must_use]
    pub fn liveness(&self, name: &NodeName, now_ms: u64) -> Liveness {
        let started_ms = self.started_ms.unwrap_or(now_ms);
        let Some(node) = self.nodes.get(name) else { return self.since(started_ms, now_ms) };
        if node.session.as_ref().is_some_and(Session::is_up) {
            return if node.returning { Liveness::Returning } else { Liveness::Up };
        }
        match node.suspect_since_ms {
            Some(since_ms) => Liveness::Suspect { since_ms },
            None => self.since(node.ended_ms.unwrap_or(started_ms), now_ms),
        }
    }

    /// The same for a node that the view has as lost or not.
    #[must_use]
    pub fn presence(&self, name: &NodeName, lost: bool, now_ms: u64) -> Liveness {
        match self.liveness(name, now_ms) {
            Liveness::Suspect { since_ms } if lost => Liveness::Lost { since_ms },
            // A new leader has not heard it, but the one before wrote it off.
            Liveness::Unheard if lost => {
                Liveness::Lost { since_ms: self.silent_since(name).unwrap_or(now_ms) }
            }
            liveness => liveness,
        }
    }

    fn silent_since(&self, name: &NodeName) -> Option<u64> {
        self.nodes.get(name)?.ended_ms
    }

    /// How many nodes are what.
    #[must_use]
    pub fn counts(&self, now_ms: u64) -> NodeCounts {
        let mut counts = NodeCounts::default();
        for name in self.nodes.keys() {
            match self.liveness(name, now_ms) {
                Liveness::Up => counts.up += 1,
                Liveness::Unheard => counts.unheard += 1,
                Liveness::Returning => counts.returning += 1,
                Liveness::Suspect { .. } | Liveness::Lost { .. } => counts.suspect += 1,
            }
        }
        counts
    }

    /// A shard says that an agent's session ended.
    pub(super) fn node_gone(&mut self, link: LinkId, name: &NodeName, number: LinkSession, now_ms: u64) {
        if self.session_mut(name, number).is_some_and(|session| session.link == Some(link)) {
            self.session_over(name, now_ms);
            if let Some(node) = self.nodes.get_mut(name) {
                node.suspect_since_ms = Some(now_ms);
            }
        }
    }

    /// A shard's stream ended: its nodes may come back through another one, so they are not suspect yet.
    pub(super) fn sessions_lost(&mut self, link: LinkId, shard: &ShardName, now_ms: u64) {
        let on_link = |session: &Session| session.link == Some(link);
        let names: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.session.as_ref().is_some_and(on_link))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.session_over(&name, now_ms);
            if let Some(node) = self.nodes.get_mut(&name) {
                node.lost_with = Some(shard.clone());
            }
        }
    }

    /// The session is not connected any more; its number and its reports in flight stay.
    pub(super) fn session_over(&mut self, name: &NodeName, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.speaks() {
            node.spoke_ms = Some(now_ms);
        }
        node.not_up(now_ms);
        if let Some(session) = &mut node.session {
            session.end();
        }
    }

    pub(super) fn timer(&mut self, view: &dyn Assigned, started_ms: u64, now_ms: u64) {
        self.shorten(now_ms);
        self.waiting_bytes = self.waiting_sum();
        self.check_links(view, now_ms);
        let silence_ms = self.config.silence_ms;
        self.nodes.retain(|name, node| {
            let Some(ended_ms) = node.ended_ms else { return true };
            if now_ms.saturating_sub(ended_ms.max(started_ms)) < silence_ms {
                return true;
            }
            node.suspect_since_ms.get_or_insert(ended_ms);
            // One that is being registered is not in the view yet.
            let speaks = node.session.as_ref().is_some_and(|session| session.link.is_some());
            speaks || node.registering || node.writing_off || view.node(name).is_some()
        });
        let nodes = &self.nodes;
        self.names.retain(|_, name| nodes.contains_key(name));
    }

    fn since(&self, since_ms: u64, now_ms: u64) -> Liveness {
        let silent = now_ms.saturating_sub(since_ms) >= self.config.silence_ms;
        if silent { Liveness::Suspect { since_ms } } else { Liveness::Unheard }
    }
}
