//! The leader's half of the links: hears shards, registers nodes, turns reports into proposals, acknowledges what
//! was applied, sends every node what it should have. Made when a leader may propose, dropped with leadership.
//!
//! It never decides what is true: facts come back through [`Assigned`], the leader's applied view, and an
//! acknowledgement leaves only for what that view or [`HubEvent::ReportApplied`] vouches for.
//!
//! ```text
//! ShardMessages ─► admit ─► Register ─► NodeRegistered ─► Welcome
//!                 reports ─► ProposeReport ─► ReportApplied ─► Acknowledge, then the Full set
//! NodesChanged ──► orders ─► Diff
//! lease requests ─► ConfirmLeadership ─► LeadershipConfirmed ─► Lease
//! Timer ─► silence ─► round over? brake off? ─► WriteOff ─► WriteOffSettled
//! ```

mod admit;
mod assigned;
mod brake;
mod config;
mod event;
mod leases;
mod links;
mod liveness;
mod loss;
mod node;
mod orders;
mod outbox;
mod reconfigure;
mod reports;
mod room;

use std::collections::BTreeMap;

use paceline_types::{AttemptId, LinkSession, NodeId, NodeName, ShardName};

pub use assigned::{Assigned, Known, NodeRecord, Standing};
pub use brake::MassLoss;
pub use config::HubConfig;
pub use event::{BrakeEnd, HubAction, HubEvent, LinkEnd, LinkId, Notice, ReportProposal, WriteOff};
pub use liveness::{Liveness, NodeCounts};
pub use loss::{BrakeStatus, LossStatus};

use links::Links;
use node::Node;
use outbox::Outbox;

/// Everything that the leader knows of links. Bounded: see [`HubConfig`].
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    /// When the first event came: before `silence_ms` from then on, nothing follows from never having heard of a node.
    started_ms: Option<u64>,
    links: Links,
    nodes: BTreeMap<NodeName, Node>,
    names: BTreeMap<NodeId, NodeName>,
    outbox: Outbox,
    /// Bytes of reports that wait, over all sessions: an upper estimate, made exact now and then.
    waiting_bytes: usize,
    /// A shorter detection period that is not applied yet.
    shorter: Option<reconfigure::Shorter>,
    loss: loss::Loss,
    leases: leases::Leases,
}

impl Hub {
    /// A hub that has heard nothing yet.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Self {
            links: Links::default(),
            started_ms: None,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            outbox: Outbox::default(),
            waiting_bytes: 0,
            shorter: None,
            loss: loss::Loss::default(),
            leases: leases::Leases::default(),
            config,
        }
    }

    /// Takes one event; `view` is the leader's applied view and never older than what the event says was applied.
    pub fn handle(&mut self, event: HubEvent, view: &dyn Assigned, now_ms: u64) -> Vec<HubAction> {
        let started_ms = match self.started_ms {
            Some(started_ms) => started_ms,
            None => {
                self.started_ms = Some(now_ms);
                self.take_office(view, now_ms);
                now_ms
            }
        };
        match event {
            HubEvent::ShardConnected { link, name, address } => {
                self.shard_connected(link, name, address, view, now_ms);
            }
            HubEvent::ShardMessages { link, messages } => self.shard_messages(link, messages, view, now_ms),
            HubEvent::LinkRoom { link, bytes } => self.link_room(link, bytes, view),
            HubEvent::ShardDisconnected { link } => self.shard_disconnected(link, now_ms),
            HubEvent::ShardRefused { link, message } => {
                self.end_link(link, LinkEnd::Refused { message }, now_ms)
            }
            HubEvent::ShardsChanged => self.shards_changed(view, now_ms),
            HubEvent::NodeRegistered { node, session } => {
                self.registration_applied(&node, session, view, now_ms);
            }
            HubEvent::RegistrationRefused { node, session, message } => {
                self.registration_refused(&node, session, &message, view, now_ms);
            }
            HubEvent::ReportApplied { node, session, sequence } => {
                self.report_applied(&node, session, sequence, view);
            }
            HubEvent::NodesChanged { nodes } => self.nodes_changed(&nodes, view, now_ms),
            HubEvent::Reconfigured { config } => self.reconfigured(config, now_ms),
            HubEvent::WriteOffSettled { node, applied } => {
                self.write_off_settled(&node, applied, view, now_ms);
            }
            HubEvent::Majority { answers } => self.majority(answers, now_ms),
            HubEvent::LeadershipConfirmed { round, confirmed } => {
                self.leadership_confirmed(round, confirmed, view);
            }
            HubEvent::ReleaseBrake => self.release_brake(),
            HubEvent::Timer => {
                self.timer(view, started_ms, now_ms);
                self.review_loss(view, now_ms);
            }
        }
        self.outbox.take()
    }

    /// Where to reach a node's agent: its link and session, when it is up.
    #[must_use]
    pub fn route(&self, node: &NodeName) -> Option<(LinkId, LinkSession)> {
        let session = self.nodes.get(node)?.session.as_ref()?;
        Some((session.link?, session.number))
    }

    /// The shard that a node's agent is connected to.
    #[must_use]
    pub fn shard_of(&self, node: &NodeName) -> Option<&ShardName> {
        let (link, _) = self.route(node)?;
        self.links.name(link)
    }

    /// Connected shards and how many nodes each brought.
    #[must_use]
    pub fn shards(&self) -> BTreeMap<ShardName, u64> {
        let mut shards: BTreeMap<_, u64> = self.links.names().map(|name| (name.clone(), 0)).collect();
        for node in self.nodes.keys() {
            if let Some(nodes) = self.shard_of(node).and_then(|shard| shards.get_mut(shard)) {
                *nodes += 1;
            }
        }
        shards
    }

    /// The process id of a live attempt, when its agent told one.
    #[must_use]
    pub fn pid(&self, node: NodeId, attempt: &AttemptId) -> Option<u32> {
        let node = self.nodes.get(self.names.get(&node)?)?;
        node.pids.get(attempt).copied()
    }
}
