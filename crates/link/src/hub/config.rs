//! The hub's limits and intervals.

use paceline_types::ShardId;

use crate::message::MasterMessage;

/// Limits and intervals. Cell configuration overrides the intervals; the bounds keep one node or shard from
/// exhausting the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// How often a shard must be heard, and an agent by its shard.
    pub heartbeat_ms: u64,
    /// The detection period: silence after which a session is over and a node suspect.
    pub silence_ms: u64,
    /// When a refused session may come again.
    pub refused_retry_ms: u64,
    /// Silence after which a shard leaves the cell's list.
    pub shard_leaves_ms: u64,
    /// The grace of an attempt that the cell no longer wants on a node and says nothing more about.
    pub unwanted_grace_ms: u64,
    /// Reports of one session that were proposed and not yet acknowledged: one commit round's worth, so that one
    /// node neither waits for every round nor fills the proposer.
    pub reports_in_flight_max: usize,
    /// Bytes of reports of one session that wait for registration or for the pipeline. Beyond it the session is
    /// refused; the agent comes back with one merged table. Above the largest table that a shard keeps for one agent.
    pub waiting_bytes_max: usize,
    /// The same over all sessions: what a leader without a quorum takes before sessions are refused.
    pub all_waiting_bytes_max: usize,
    /// Nodes in one hub: twice the largest cell that is built for.
    pub nodes_max: usize,
    /// Bytes of orders that a new link takes before its shell says more with [`super::HubEvent::LinkRoom`].
    pub link_room_bytes: usize,
    /// Shard links in one hub.
    pub links_max: usize,
    /// Nodes that fall silent together from which on it may be a mass loss.
    pub brake_nodes: u32,
    /// Their share of the cell from which on it is one.
    pub brake_share_permille: u32,
    /// Share of the cell that is written off in a minute during a mass loss, at least one node.
    pub write_off_permille_per_minute: u32,
    /// Silence after which a node without tasks is lost: what a job waits unless it says otherwise.
    pub idle_patience_ms: u64,
}

impl HubConfig {
    /// What a shard is told when it is accepted.
    pub(super) fn welcome(&self, shard: ShardId) -> MasterMessage {
        MasterMessage::Welcome { shard, heartbeat_ms: self.heartbeat_ms, silence_ms: self.silence_ms }
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 3_000,
            silence_ms: 10_000,
            refused_retry_ms: 5_000,
            shard_leaves_ms: 600_000,
            unwanted_grace_ms: 10_000,
            reports_in_flight_max: 8,
            waiting_bytes_max: 16 * 1024 * 1024,
            all_waiting_bytes_max: 512 * 1024 * 1024,
            nodes_max: 50_000,
            link_room_bytes: 4 * 1024 * 1024,
            links_max: 256,
            brake_nodes: 3,
            brake_share_permille: 100,
            write_off_permille_per_minute: 10,
            idle_patience_ms: 60_000,
        }
    }
}
