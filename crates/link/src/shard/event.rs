//! What a shard is told and what it wants done: two closed enums, and its limits.

use paceline_types::{LinkSession, NodeName};

use crate::hub::LinkId;
use crate::message::{AgentMessage, AgentOrder, LogRequest, MasterMessage, ShardMessage};

/// An agent's stream, numbered by the shell and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// For which nodes a connection may speak, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An agent: this node.
    Node(String),
    /// An agent group: nodes whose names begin so.
    Prefix(String),
}

impl Claim {
    /// Whether a Hello for this node may come through the connection.
    #[must_use]
    pub fn covers(&self, node: &NodeName) -> bool {
        match self {
            Self::Node(name) => node.as_str() == name,
            Self::Prefix(prefix) => node.as_str().starts_with(prefix.as_str()),
        }
    }
}

/// Limits and intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// How often an agent, and the shard itself, must be heard, until a leader says otherwise.
    pub heartbeat_ms: u64,
    /// Silence after which a session is over, until a leader says otherwise.
    pub silence_ms: u64,
    /// An agent's Hello must come this soon: longer than any handshake, short enough that idle strangers go.
    pub hello_within_ms: u64,
    /// News wait so long for company before a batch leaves.
    pub flush_ms: u64,
    /// Batches that the leader's stream has not taken yet; the network's buffer comes on top.
    pub batches_in_flight_max: u64,
    /// Agents at once, with or without a Hello.
    pub agents_max: usize,
    /// Attempts in one agent's table.
    pub attempts_per_agent_max: usize,
    /// Attempts in all tables.
    pub attempts_max: usize,
    /// Ended sessions that the leader was not told of yet.
    pub gone_max: usize,
    /// When a refused agent may come again.
    pub refused_retry_ms: u64,
}

impl Default for ShardLimits {
    fn default() -> Self {
        Self {
            heartbeat_ms: 3_000,
            silence_ms: 10_000,
            hello_within_ms: 10_000,
            flush_ms: 5,
            batches_in_flight_max: 8,
            agents_max: 20_000,
            attempts_per_agent_max: 131_072,
            attempts_max: 4_000_000,
            gone_max: 40_000,
            refused_retry_ms: 5_000,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardEvent {
    /// An authenticated agent opened its stream.
    AgentConnected {
        /// The stream.
        connection: ConnectionId,
        /// What its certificate lets it speak for.
        claim: Claim,
    },
    /// An agent said something.
    AgentMessage {
        /// The stream.
        connection: ConnectionId,
        /// What it said.
        message: AgentMessage,
    },
    /// An agent's stream ended.
    AgentDisconnected {
        /// The stream.
        connection: ConnectionId,
    },
    /// An agent does not take its orders: the shell's queue for it is full.
    AgentStalled {
        /// The stream.
        connection: ConnectionId,
    },
    /// A stream to a leader is open; nothing was said on it.
    LeaderConnected {
        /// The stream.
        link: LinkId,
    },
    /// The leader's stream took batches of ours.
    LeaderTook {
        /// The stream.
        link: LinkId,
        /// How many more.
        batches: u64,
    },
    /// A leader said something.
    LeaderMessages {
        /// The stream.
        link: LinkId,
        /// In order.
        messages: Vec<MasterMessage>,
    },
    /// The stream to the leader ended. Agents stay; orders pause.
    LeaderDisconnected {
        /// The stream.
        link: LinkId,
    },
    /// The shard is about to end: agents are to go elsewhere.
    Leave,
    /// Time passed: see [`super::ShardLogic::wake_ms`].
    Timer,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardAction {
    /// Send to an agent.
    ToAgent {
        /// The stream.
        connection: ConnectionId,
        /// What.
        order: AgentOrder,
    },
    /// Close an agent's stream after what was sent to it; no `AgentDisconnected` is needed after it.
    DisconnectAgent {
        /// The stream.
        connection: ConnectionId,
        /// Why, for both sides' logs.
        reason: AgentEnd,
    },
    /// Send a batch to the leader; [`ShardEvent::LeaderTook`] gives its credit back.
    ToLeader {
        /// The stream.
        link: LinkId,
        /// In order.
        messages: Vec<ShardMessage>,
    },
    /// Close the leader's stream and open another; no `LeaderDisconnected` is needed after it.
    DisconnectLeader {
        /// The stream.
        link: LinkId,
        /// Why, for the log.
        reason: LeaderEnd,
    },
    /// Ask the agent of a session for a piece of a task's output, on a stream of its own.
    FetchLog {
        /// The agent's stream.
        connection: ConnectionId,
        /// What is asked.
        request: LogRequest,
    },
}

/// Why a shard closes an agent's stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentEnd {
    /// No Hello in time.
    #[error("no Hello within {limit_ms} ms")]
    NoHello {
        /// The bound.
        limit_ms: u64,
    },
    /// Something before the Hello, or a second Hello.
    #[error("the first message, and no other, must be Hello")]
    OutOfTurn,
    /// The certificate is another node's.
    #[error("the certificate does not speak for node {node}")]
    NotYourNode {
        /// The node of the Hello.
        node: NodeName,
    },
    /// A higher session of the same agent came.
    #[error("session {by} of the same agent took its place")]
    Superseded {
        /// The higher one.
        by: LinkSession,
    },
    /// Its session is not the highest, or another agent has the node.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// Nothing was heard for too long.
    #[error("silent for more than {limit_ms} ms")]
    Silent {
        /// The detection period.
        limit_ms: u64,
    },
    /// It does not take its orders.
    #[error("it does not take its orders; RESYNC: connect again")]
    Stalled,
    /// The sequence of a report did not rise.
    #[error("report {sequence} after report {last}: sequences must rise")]
    Sequence {
        /// The last one.
        last: u64,
        /// The one after it.
        sequence: u64,
    },
    /// A table is full.
    #[error("more than {limit} attempts in {whose}")]
    TableFull {
        /// Whose table.
        whose: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Too many agents.
    #[error("the shard serves {limit} agents at most")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The shard ends.
    #[error("the shard is leaving; connect to another")]
    Leaving,
}

/// Why a shard closes its stream to a leader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaderEnd {
    /// A newer stream took its place.
    #[error("a newer stream took its place")]
    Superseded,
    /// Nothing was heard: the leader is paused, cut off, or did not accept the shard.
    #[error("silent for more than {limit_ms} ms")]
    Silent {
        /// One and a half heartbeats, or two seconds if that is more.
        limit_ms: u64,
    },
    /// Too many ended sessions wait to be told; a new stream starts from the sessions that are.
    #[error("more than {limit} ended sessions wait; starting anew")]
    Behind {
        /// The bound.
        limit: usize,
    },
}
