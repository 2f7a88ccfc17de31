//! What the hub holds of one node: its highest session and that session's two pipelines, reports and orders.

use std::collections::BTreeMap;

use paceline_types::{AgentInstance, AttemptId, BootId, LinkSession, NodeEpoch, NodeId, ShardName};

use super::event::LinkId;
use super::orders::Told;
use super::reports::Reports;
use crate::message::Hello;

/// One node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The highest session, up or ended; lower ones are refused.
    pub session: Option<Session>,
    /// When the session was last known to be up, while it is not.
    pub ended_ms: Option<u64>,
    /// When a session ended that was heard and never up: for the hold on a booted node it does not count, as life it does.
    pub spoke_ms: Option<u64>,
    /// The detection period passed, or the shard said that it is gone.
    pub suspect_since_ms: Option<u64>,
    /// A registration is on its way to the cell.
    pub registering: bool,
    /// The last Hello that came meanwhile and must be registered too.
    pub register_next: Option<Box<Hello>>,
    /// A write-off is on its way to the cell: nobody is welcomed before it has its answer.
    pub writing_off: bool,
    /// Nobody knows whether its last write-off will be applied: only a registration, which comes after it in the log, can
    /// say as what the node may be welcomed.
    pub unsettled: bool,
    /// It is back after suspicion, and its table is not in the cell yet, through however many sessions.
    pub returning: bool,
    /// An operator released the brake while it was silent.
    pub released: bool,
    /// The shard that it spoke through last.
    pub shard: Option<ShardName>,
    /// The shard before that one, and when it was heard through another.
    pub shard_before: Option<(ShardName, u64)>,
    /// The shard whose stream ended under it; nothing once it was heard again.
    pub lost_with: Option<ShardName>,
    /// Not written off before: what its shard has to say may be under way, or the node itself.
    pub not_before_ms: u64,
    /// Process ids of attempts that the cell holds to be live here.
    pub pids: BTreeMap<AttemptId, u32>,
}

impl Node {
    /// Nobody speaks for the node from now on. When it was up last is noted only if it was.
    pub(super) fn not_up(&mut self, now_ms: u64) {
        if self.session.as_ref().is_some_and(Session::is_up) {
            self.ended_ms = Some(now_ms);
        }
        self.ended_ms.get_or_insert(now_ms);
    }
}

/// A session of a node's agent.
#[derive(Debug)]
pub(super) struct Session {
    pub number: LinkSession,
    pub instance: AgentInstance,
    pub boot: BootId,
    /// The stream it speaks through; nothing when it ended.
    pub link: Option<LinkId>,
    /// Number and epoch, once the cell has the node.
    pub welcomed: Option<(NodeId, NodeEpoch)>,
    pub reports: Reports,
    pub told: Told,
}

impl Session {
    pub(super) fn new(number: LinkSession, instance: AgentInstance, boot: BootId, link: LinkId) -> Self {
        Self {
            number,
            instance,
            boot,
            link: Some(link),
            welcomed: None,
            reports: Reports::default(),
            told: Told::default(),
        }
    }

    /// It speaks, and the cell has the node as it says.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_some() && self.welcomed.is_some()
    }

    /// The same session through a stream anew: its shard says everything again, and whatever went down the old
    /// stream may never have arrived. Reports in flight stay: they are still on their way to the cell.
    pub(super) fn resume(&mut self, link: LinkId) {
        self.end();
        self.link = Some(link);
    }

    /// The stream ended. What is only of use on a stream is dropped.
    pub(super) fn end(&mut self) {
        self.link = None;
        self.welcomed = None;
        self.reports.restart();
        self.told = Told::default();
    }
}
