//! What the hub is told and what it wants done: two closed enums.

use std::fmt;

use paceline_types::{AgentInstance, BootId, LinkSession, NodeEpoch, NodeId, NodeName, ShardName};

use super::brake::MassLoss;
use super::config::HubConfig;
use crate::message::{Hello, MasterMessage, ReportRun, ShardMessage};

/// A shard's stream, numbered by the shell and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubEvent {
    /// A shard's stream began with its Hello; the shell has checked the name against the certificate.
    ShardConnected {
        /// The stream.
        link: LinkId,
        /// The shard.
        name: ShardName,
        /// Where it listens for agents.
        address: String,
    },
    /// What a shard said after its Hello. The shell has checked the signature of every `NodeHello` against the
    /// cell, this shard and the certificate in it, and passes on only those that hold.
    ShardMessages {
        /// The stream.
        link: LinkId,
        /// In order.
        messages: Vec<ShardMessage>,
    },
    /// A shard's stream ended.
    ShardDisconnected {
        /// The stream.
        link: LinkId,
    },
    /// A stream takes so many bytes of orders from now on, whatever it took before. Wanted for
    /// [`crate::Hub::links_without_room`]. A node that has its turn may get more at once: one set is not parted.
    LinkRoom {
        /// The stream.
        link: LinkId,
        /// In bytes, as [`crate::master_message_bytes`] weighs them.
        bytes: usize,
    },
    /// The cell refused to register the shard.
    ShardRefused {
        /// The stream.
        link: LinkId,
        /// The refusal.
        message: String,
    },
    /// The cell's shard list changed in the view.
    ShardsChanged,
    /// A [`HubAction::Register`] was applied. Number and epoch are asked of the view, which may have moved on since.
    NodeRegistered {
        /// The node.
        node: NodeName,
        /// The session that asked.
        session: LinkSession,
    },
    /// The cell refused a [`HubAction::Register`].
    RegistrationRefused {
        /// The node.
        node: NodeName,
        /// The session that asked.
        session: LinkSession,
        /// The refusal, for the agent's log.
        message: String,
    },
    /// A [`HubAction::ProposeReport`] was applied from a committed entry, whatever it changed: exactly one of these
    /// for each of those, in order for a node.
    ReportApplied {
        /// The node.
        node: NodeName,
        /// The session of the proposal.
        session: LinkSession,
        /// The sequence of the proposal.
        sequence: u64,
    },
    /// What these nodes should have, or their records, changed in the view.
    NodesChanged {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// Other limits and intervals from now on; a shorter detection period from one old one later on.
    Reconfigured {
        /// All of them.
        config: HubConfig,
    },
    /// A [`HubAction::WriteOff`] has its answer, or gets none: exactly one of these for each.
    WriteOffSettled {
        /// The node.
        node: NodeName,
        /// The entry was applied, whatever the cell said to it. If not, it may be later, or never.
        applied: bool,
    },
    /// Whether a majority of the masters answers the leader; told before each [`HubEvent::Timer`]. None would mean that
    /// nothing can be decided, and until this was first told one does.
    Majority {
        /// It does.
        answers: bool,
    },
    /// A [`HubAction::ConfirmLeadership`] has its answer: exactly one of these for each. When it was confirmed, the view of
    /// this event is not older than the moment at which it was asked: everything that any master had committed by then is
    /// in it.
    LeadershipConfirmed {
        /// As in the action.
        round: u64,
        /// A majority said, after the action, that this master leads.
        confirmed: bool,
    },
    /// An operator says that what is silent is gone (`cell brake release`). Nothing happens while [`super::LossStatus`] says
    /// that nobody can be heard, nothing be decided, or a report round is on.
    ReleaseBrake,
    /// Time passed; wanted a few times per heartbeat interval.
    Timer,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubAction {
    /// Propose the shard to the cell; [`HubEvent::ShardsChanged`] or [`HubEvent::ShardRefused`] follows.
    RegisterShard {
        /// The stream that waits for it.
        link: LinkId,
        /// The shard.
        name: ShardName,
        /// Where it listens for agents.
        address: String,
    },
    /// Propose that a shard that has been silent for long leaves the list.
    RemoveShard {
        /// The shard.
        name: ShardName,
    },
    /// Propose the node of this Hello to the cell, new or changed. One at a time for a node, until
    /// [`HubEvent::NodeRegistered`] or [`HubEvent::RegistrationRefused`]: exactly one of these must follow.
    Register {
        /// Who it is.
        hello: Box<Hello>,
    },
    /// Propose what a node reported. The shell retries until it is applied or leadership is lost.
    ProposeReport(ReportProposal),
    /// Send to a shard, in order.
    Send {
        /// The stream.
        link: LinkId,
        /// At most [`crate::BATCH_BYTES_MAX`], unless one message alone is larger.
        messages: Vec<MasterMessage>,
    },
    /// Close a shard's stream; no [`HubEvent::ShardDisconnected`] is needed after it.
    Disconnect {
        /// The stream.
        link: LinkId,
        /// Why, for both sides' logs.
        reason: LinkEnd,
    },
    /// Propose the write-off of a silent node, once: when the outcome is not known, it is decided anew, and
    /// [`HubEvent::WriteOffSettled`] says so.
    WriteOff(WriteOff),
    /// Ask a majority, from now on, whether this master leads, and come back with a view that is as new as the question:
    /// leases wait for it.
    ConfirmLeadership {
        /// For the answer.
        round: u64,
    },
    /// Write-offs are slow from now on.
    BrakeOn {
        /// What is silent together.
        cause: MassLoss,
        /// How many nodes are silent.
        silent: u64,
    },
    /// Write-offs are as ever again.
    BrakeOff {
        /// Why.
        end: BrakeEnd,
    },
    /// A node that was suspect is up again: what found no place may find one there, though the cell has not changed.
    NodeUsable {
        /// The node.
        id: NodeId,
    },
    /// Something a person should read.
    Notice(Notice),
}

/// A node that has been silent for so long that something on it may run elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOff {
    /// The node's name, for the answer.
    pub name: NodeName,
    /// The node.
    pub id: NodeId,
    /// Its epoch in the view that was looked at.
    pub epoch: NodeEpoch,
    /// For how long.
    pub silent_ms: u64,
}

/// Why the brake is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakeEnd {
    /// So many nodes came back or were removed that the rest is no mass loss.
    FewSilent,
    /// An operator said so.
    Released,
}

impl fmt::Display for BrakeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FewSilent => "few enough nodes are silent",
            Self::Released => "an operator released it",
        })
    }
}

/// Facts of a node that would change the cell: what the cell knows already is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportProposal {
    /// The node's name, for the answer.
    pub name: NodeName,
    /// The node.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: NodeEpoch,
    /// The session, for the answer.
    pub session: LinkSession,
    /// The report's sequence, for the answer.
    pub sequence: u64,
    /// At most [`crate::BATCH_BYTES_MAX`]; without process ids.
    pub runs: Vec<ReportRun>,
}

/// Why the hub closes a shard's stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// The same shard connected again.
    #[error("the shard connected again on another stream")]
    Superseded,
    /// Nothing was heard for too long.
    #[error("silent for {silent_ms} ms, at most {limit_ms} ms are allowed")]
    Silent {
        /// How long.
        silent_ms: u64,
        /// The detection period.
        limit_ms: u64,
    },
    /// The cell refused the shard.
    #[error("the cell refused the shard: {message}")]
    Refused {
        /// The refusal.
        message: String,
    },
    /// A second Hello on a stream.
    #[error("a second Hello on one stream")]
    SecondHello,
    /// Too many links.
    #[error("the leader serves {limit} shards at most")]
    TooManyLinks {
        /// The bound.
        limit: usize,
    },
}

/// Something a person should read: two machines that claim one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The same data folder under two kernels at once: one of them is a copy, or the machine was just booted anew.
    TwoBoots {
        /// The node.
        node: NodeName,
        /// The boot that the cell knows.
        known: BootId,
        /// The boot that is held back.
        held: BootId,
        /// Until the known one has been silent for so long.
        wait_ms: u64,
    },
    /// Another data folder claims the node: the cell has it under the first one, or that one's agent is there.
    TwoInstances {
        /// The node.
        node: NodeName,
        /// The folder that the cell knows.
        known: AgentInstance,
        /// The folder that is refused.
        refused: AgentInstance,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoBoots { node, known, held, wait_ms } => write!(
                f,
                "node {node}: its data folder speaks from boot {held} while boot {known} may still be alive; \
                 held back until {known} has been silent for {wait_ms} ms more (a booted machine, or a copied folder)"
            ),
            Self::TwoInstances { node, known, refused } => write!(
                f,
                "node {node}: agent instance {refused} claims it, but it is that of instance {known}; refused \
                 (two machines with one certificate? when the first is gone: node replace {node})"
            ),
        }
    }
}
