//! What the leader's loop hears, besides its clock and the view.

use std::convert::Infallible;

use paceline_link::message::{Hello, ShardMessage};
use paceline_link::{LinkId, WriteOff};
use paceline_schedule::ProposalId;
use paceline_types::{LinkSession, NodeName, ShardName};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::outbox::Outbox;
use crate::proposer::{ProposalError, Proposed};

/// The loop's end of a shard's stream. Whoever drops it, for whatever reason, ends the stream: a shard never takes
/// a stream for connected that nobody at the leader knows.
#[derive(Debug)]
pub(crate) struct LinkStream {
    pub outbox: Outbox,
    /// Closes the stream when it goes.
    pub _alive: oneshot::Sender<Infallible>,
}

/// From the streams of shards.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A shard's stream began; its name was checked against its certificate.
    Connected { link: LinkId, name: ShardName, address: String, stream: LinkStream },
    /// What it said; signatures were checked. Its room is given back when it was handled.
    Messages { link: LinkId, messages: Vec<ShardMessage>, held: OwnedSemaphorePermit },
    /// It ended.
    Disconnected { link: LinkId },
}

/// Whose report, up to where.
#[derive(Clone, Debug)]
pub(crate) struct ReportKey {
    pub node: NodeName,
    pub session: LinkSession,
    pub sequence: u64,
}

/// What a proposal was for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To register a shard.
    Shard { link: LinkId },
    /// To take a silent shard from the list.
    RemoveShard,
    /// To register a node.
    Node { hello: Box<Hello> },
    /// To write off a silent node.
    WriteOff(WriteOff),
    /// To record what nodes reported, one command each.
    Reports(Vec<ReportKey>),
    /// To assign tasks, one command each.
    Assign(Vec<ProposalId>),
    /// To move the cell clock.
    Tick,
    /// To hand finished jobs to the history.
    Retire,
}

impl Purpose {
    /// Whether it is as right later as it is now. A write-off is not: while it waits for a quorum its node may return.
    pub(crate) fn repeats(&self) -> bool {
        !matches!(self, Self::WriteOff(_))
    }
}

/// A proposal that has its answer.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The leadership that proposed it; another one's is not ours to act on.
    pub term: u64,
    pub purpose: Purpose,
    pub outcome: Result<Proposed, ProposalError>,
}
