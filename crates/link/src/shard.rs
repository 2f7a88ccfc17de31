//! What a link shard decides: which agents it serves, what goes up to the leader and what down to them.
//!
//! Nothing is queued on the way up: reports are merged into each agent's table, and a batch is cut from the tables
//! whenever the leader takes one. So a slow leader makes batches denser, never longer queues, and a new leader gets
//! every table by the same path that forwards a single report.
//!
//! ```text
//! AgentMessage ─► agents: sessions, tables ─► upward: batches, credit ─► ToLeader
//! MasterMessage ─► routed by (node, session) ─► ToAgent
//! ```

mod agent;
mod agents;
mod downward;
mod event;
mod table;
mod upward;

use paceline_types::ShardName;

pub use event::{AgentEnd, Claim, ConnectionId, LeaderEnd, ShardAction, ShardEvent, ShardLimits};

use crate::message::ShardList;
use agents::Agents;
use upward::Upward;

/// The whole state of a link shard; soft (A-6).
#[derive(Debug)]
pub struct ShardLogic {
    limits: ShardLimits,
    name: ShardName,
    address: String,
    agents: Agents,
    upward: Upward,
    /// The shards of the cell, as the last leader told.
    shards: Option<ShardList>,
    /// Agents are being sent away: none is accepted.
    leaving: bool,
    next_check_ms: u64,
    actions: Vec<ShardAction>,
}

impl ShardLogic {
    /// A shard that nobody is connected to. `address` is where agents reach it.
    #[must_use]
    pub fn new(name: ShardName, address: String, limits: ShardLimits) -> Self {
        Self {
            upward: Upward::new(limits.heartbeat_ms, limits.batches_in_flight_max),
            agents: Agents::new(limits.silence_ms),
            shards: None,
            leaving: false,
            next_check_ms: 0,
            actions: Vec::new(),
            limits,
            name,
            address,
        }
    }

    /// Takes one event. `now_ms` is monotonic.
    pub fn handle(&mut self, event: ShardEvent, now_ms: u64) -> Vec<ShardAction> {
        match event {
            ShardEvent::AgentConnected { connection, claim } => {
                self.agent_connected(connection, claim, now_ms)
            }
            ShardEvent::AgentMessage { connection, message } => {
                self.agent_message(connection, message, now_ms)
            }
            ShardEvent::AgentDisconnected { connection } => self.agent_gone(connection),
            ShardEvent::AgentStalled { connection } => self.end_agent(connection, AgentEnd::Stalled),
            ShardEvent::LeaderConnected { link } => self.leader_connected(link, now_ms),
            ShardEvent::LeaderTook { link, batches } => self.upward.took(link, batches),
            ShardEvent::LeaderMessages { link, messages } => self.leader_messages(link, messages, now_ms),
            ShardEvent::LeaderDisconnected { link } => self.upward.disconnected(link),
            ShardEvent::Leave => self.leave(),
            ShardEvent::Timer => {}
        }
        if now_ms >= self.next_check_ms {
            self.check_agents(now_ms);
            self.next_check_ms = now_ms + self.agents.check_interval_ms();
        }
        self.check_leader(now_ms);
        self.flush(now_ms);
        std::mem::take(&mut self.actions)
    }

    /// When the next [`ShardEvent::Timer`] is wanted at the latest.
    #[must_use]
    pub fn wake_ms(&self) -> u64 {
        self.upward.wake_ms().map_or(self.next_check_ms, |wake_ms| wake_ms.min(self.next_check_ms))
    }

    /// Whether a leader has accepted the shard.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.upward.welcomed()
    }

    /// How many agents have a session.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.sessions()
    }

    /// Attempts in all tables.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.agents.attempts()
    }
}
