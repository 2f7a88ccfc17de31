//! To the leader: one stream, batches cut from the agents' tables, a bounded number of them in flight.

use std::collections::{BTreeSet, VecDeque};

use paceline_types::plant::{Plant, is_planted};
use paceline_types::{LinkSession, NodeName};

use super::ShardLogic;
use super::event::{LeaderEnd, ShardAction};
use crate::hub::LinkId;
use crate::message::{AgentOrder, ShardMessage};
use crate::weight::{BATCH_BYTES_MAX, hello_bytes};

/// A `NodeGone` on the wire, about.
const GONE_BYTES: usize = 96;
/// A request for a lease, about.
const LEASE_REQUEST_BYTES: usize = 96;
/// Names and tags around a report.
const REPORT_ENVELOPE_BYTES: usize = 160;

/// However short heartbeats are: the leader looks at its clocks twice a second.
const LEADER_SILENCE_MS_MIN: u64 = 2_000;

/// The leader's stream, if there is one.
#[derive(Debug)]
pub(super) struct Upward {
    leader: Option<Leader>,
    heartbeat_ms: u64,
    in_flight_max: u64,
}

#[derive(Debug)]
struct Leader {
    link: LinkId,
    welcomed: bool,
    /// Batches that the stream has not taken.
    in_flight: u64,
    /// Nodes with news, each once, in turn.
    turn: VecDeque<NodeName>,
    waiting: BTreeSet<NodeName>,
    gone: VecDeque<(NodeName, LinkSession)>,
    news_bytes: usize,
    flush_ms: Option<u64>,
    sent_ms: u64,
    heard_ms: u64,
}

impl Upward {
    pub(super) fn new(heartbeat_ms: u64, in_flight_max: u64) -> Self {
        Self { leader: None, heartbeat_ms, in_flight_max }
    }

    pub(super) fn welcomed(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.welcomed)
    }

    pub(super) fn speaks_to(&self, link: LinkId) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.link == link)
    }

    pub(super) fn disconnected(&mut self, link: LinkId) {
        self.leader.take_if(|leader| leader.link == link);
    }

    pub(super) fn took(&mut self, link: LinkId, batches: u64) {
        if let Some(leader) = self.leader.as_mut().filter(|leader| leader.link == link) {
            leader.in_flight = leader.in_flight.saturating_sub(batches);
        }
    }

    /// The leader said something.
    pub(super) fn heard(&mut self, now_ms: u64) {
        if let Some(leader) = &mut self.leader {
            leader.heard_ms = now_ms;
        }
    }

    /// After so much silence another master is asked: a healthy leader speaks three times per heartbeat.
    fn leader_silence_ms(&self) -> u64 {
        (self.heartbeat_ms + self.heartbeat_ms / 2).max(LEADER_SILENCE_MS_MIN)
    }

    /// The leader accepted the shard; says whether that is new on this stream.
    pub(super) fn welcome(&mut self, heartbeat_ms: u64) -> bool {
        self.heartbeat_ms = heartbeat_ms;
        let new = self.leader.as_mut().map(|leader| !std::mem::replace(&mut leader.welcomed, true));
        new.unwrap_or(false)
    }

    /// A node has something to say, to be sent by `flush_ms`. Without a leader nothing is kept: a new one hears all.
    pub(super) fn news(&mut self, node: NodeName, bytes: usize, flush_ms: u64) {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.welcomed) else { return };
        leader.news_bytes = leader.news_bytes.saturating_add(bytes);
        leader.flush_ms = Some(leader.flush_ms.map_or(flush_ms, |due_ms| due_ms.min(flush_ms)));
        if leader.waiting.insert(node.clone()) {
            leader.turn.push_back(node);
        }
    }

    /// When something is due; nothing while credit is away, because an event brings that back.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        let leader = self.leader.as_ref()?;
        let silent_ms = leader.heard_ms + self.leader_silence_ms() + 1;
        Some(self.batch_due_ms(leader).map_or(silent_ms, |due_ms| due_ms.min(silent_ms)))
    }

    fn batch_due_ms(&self, leader: &Leader) -> Option<u64> {
        if !leader.welcomed {
            return None;
        }
        let idle_ms = leader.sent_ms + self.heartbeat_ms;
        let due_ms = leader.flush_ms.map_or(idle_ms, |flush_ms| flush_ms.min(idle_ms));
        (leader.in_flight < self.in_flight_max).then_some(due_ms)
    }
}

impl ShardLogic {
    pub(super) fn leader_connected(&mut self, link: LinkId, now_ms: u64) {
        let leader = Leader {
            link,
            welcomed: false,
            in_flight: 1,
            turn: VecDeque::new(),
            waiting: BTreeSet::new(),
            gone: VecDeque::new(),
            news_bytes: 0,
            flush_ms: None,
            sent_ms: now_ms,
            heard_ms: now_ms,
        };
        if let Some(old) = self.upward.leader.replace(leader) {
            self.actions
                .push(ShardAction::DisconnectLeader { link: old.link, reason: LeaderEnd::Superseded });
        }
        let hello = ShardMessage::Hello { name: self.name.clone(), address: self.address.clone() };
        self.actions.push(ShardAction::ToLeader { link, messages: vec![hello] });
    }

    /// A session that the leader knows ended.
    pub(super) fn tell_gone(&mut self, node: NodeName, session: LinkSession) {
        let Some(leader) = self.upward.leader.as_mut().filter(|leader| leader.welcomed) else { return };
        leader.gone.push_back((node, session));
        let limit = self.limits.gone_max;
        if leader.gone.len() > limit {
            let link = leader.link;
            self.upward.leader = None;
            self.actions.push(ShardAction::DisconnectLeader { link, reason: LeaderEnd::Behind { limit } });
        }
    }

    /// Gives up a leader that has been silent for too long. Agents stay.
    pub(super) fn check_leader(&mut self, now_ms: u64) {
        let limit_ms = self.upward.leader_silence_ms();
        let silent = |leader: &mut Leader| now_ms.saturating_sub(leader.heard_ms) > limit_ms;
        if let Some(leader) = self.upward.leader.take_if(silent) {
            let reason = LeaderEnd::Silent { limit_ms };
            self.actions.push(ShardAction::DisconnectLeader { link: leader.link, reason });
        }
    }

    /// Sends what is due, as far as credit goes.
    pub(super) fn flush(&mut self, now_ms: u64) {
        let (heartbeat_ms, in_flight_max) = (self.upward.heartbeat_ms, self.upward.in_flight_max);
        if let Some(leader) = self.upward.leader.as_mut().filter(|leader| !leader.gone.is_empty()) {
            leader.flush_ms.get_or_insert(now_ms + self.limits.flush_ms);
        }
        loop {
            let Some(leader) = self.upward.leader.as_ref().filter(|leader| leader.welcomed) else { return };
            let due = leader.flush_ms.is_some_and(|due_ms| due_ms <= now_ms)
                || leader.news_bytes >= BATCH_BYTES_MAX
                || now_ms.saturating_sub(leader.sent_ms) >= heartbeat_ms;
            if leader.in_flight >= in_flight_max || !due {
                return;
            }
            let messages = self.batch();
            let Some(leader) = self.upward.leader.as_mut() else { return };
            leader.in_flight += 1;
            leader.sent_ms = now_ms;
            leader.news_bytes = 0;
            leader.flush_ms =
                if leader.turn.is_empty() && leader.gone.is_empty() { None } else { Some(now_ms) };
            self.actions.push(ShardAction::ToLeader { link: leader.link, messages });
        }
    }

    /// One batch: ended sessions first, then nodes in turn; `Alive` when there is nothing.
    fn batch(&mut self) -> Vec<ShardMessage> {
        let mut messages = Vec::new();
        let mut minted = Vec::new();
        let mut bytes = 0;
        let Some(leader) = self.upward.leader.as_mut() else { return messages };
        while bytes < BATCH_BYTES_MAX {
            let Some((node, session)) = leader.gone.pop_front() else { break };
            bytes += GONE_BYTES;
            messages.push(ShardMessage::NodeGone { node, session });
        }
        while bytes < BATCH_BYTES_MAX {
            let Some(node) = leader.turn.pop_front() else { break };
            leader.waiting.remove(&node);
            let Some(session) = self.agents.session_mut(&node) else { continue };
            if !session.introduced {
                session.introduced = true;
                bytes += hello_bytes(&session.hello);
                messages.push(ShardMessage::NodeHello(Box::new(session.hello.clone())));
            }
            if let Some(piece) = session.table.piece(session.forwarded, BATCH_BYTES_MAX.saturating_sub(bytes))
            {
                session.forwarded = piece.report.sequence;
                bytes += piece.bytes + REPORT_ENVELOPE_BYTES;
                if is_planted(Plant::WatermarkMintedByShard) {
                    minted.push((node.clone(), session.forwarded));
                }
                let (session, report) = (session.hello.session, piece.report);
                messages.push(ShardMessage::NodeReport { node: node.clone(), session, report });
            }
            if let Some(number) = session.lease.take() {
                bytes += LEASE_REQUEST_BYTES;
                let session = session.hello.session;
                messages.push(ShardMessage::NodeLeaseRequest { node: node.clone(), session, number });
            }
            if session.has_news() && leader.waiting.insert(node.clone()) {
                leader.turn.push_back(node);
            }
        }
        if messages.is_empty() {
            messages.push(ShardMessage::Alive);
        }
        for (node, sequence) in minted {
            let Some(connection) = self.agents.connection(&node) else { continue };
            self.agents.acknowledged(&node, sequence);
            let order = AgentOrder::Acknowledge { sequence };
            self.actions.push(ShardAction::ToAgent { connection, order });
        }
        messages
    }
}
