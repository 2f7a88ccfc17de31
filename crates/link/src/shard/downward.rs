//! From the leader: intervals, orders by (node, session), the shard list.

use paceline_types::{LinkSession, NodeName};

use super::ShardLogic;
use super::event::ShardAction;
use crate::hub::LinkId;
use crate::message::{AgentOrder, LogRequest, MasterMessage, ShardList};

impl ShardLogic {
    pub(super) fn leader_messages(&mut self, link: LinkId, messages: Vec<MasterMessage>, now_ms: u64) {
        for message in messages {
            if !self.upward.speaks_to(link) {
                return;
            }
            self.upward.heard(now_ms);
            match message {
                MasterMessage::Welcome { heartbeat_ms, silence_ms, .. } => {
                    self.leader_welcome(heartbeat_ms, silence_ms, now_ms);
                }
                MasterMessage::ToNode { node, session, order } => self.pass_on(&node, session, order),
                MasterMessage::Shards(list) => self.new_shards(list),
                MasterMessage::FetchLog(request) => self.fetch_log(request),
            }
        }
    }

    fn leader_welcome(&mut self, heartbeat_ms: u64, silence_ms: u64, now_ms: u64) {
        self.agents.silence_ms = silence_ms.max(1);
        if self.upward.welcome(heartbeat_ms.max(1)) {
            for node in self.agents.unknown_to_leader() {
                self.upward.news(node, 0, now_ms);
            }
        }
    }

    fn pass_on(&mut self, node: &NodeName, number: LinkSession, order: AgentOrder) {
        let Some(connection) = self.agents.of_session(node, number) else { return };
        match &order {
            AgentOrder::Acknowledge { sequence } => {
                let last = self.agents.session_mut(node).map_or(0, |session| session.table.last());
                if *sequence > last {
                    // Nobody can have applied what was never reported: not passed on.
                    return;
                }
                self.agents.acknowledged(node, *sequence);
            }
            AgentOrder::Refused { message, .. } => {
                let message = message.clone();
                self.actions.push(ShardAction::ToAgent { connection, order });
                return self.end_refused(connection, message);
            }
            AgentOrder::Welcome { .. }
            | AgentOrder::Orders(_)
            | AgentOrder::Shards(_)
            | AgentOrder::Lease(_) => {}
        }
        self.actions.push(ShardAction::ToAgent { connection, order });
    }

    /// An older list than the known one comes from a leader that has fallen behind, and is passed over.
    fn new_shards(&mut self, list: ShardList) {
        if self.shards.as_ref().is_some_and(|known| known.version >= list.version) {
            return;
        }
        for connection in self.agents.connections() {
            let order = AgentOrder::Shards(list.clone());
            self.actions.push(ShardAction::ToAgent { connection, order });
        }
        self.shards = Some(list);
    }

    fn fetch_log(&mut self, request: LogRequest) {
        if let Some(connection) = self.agents.connection(&request.node) {
            self.actions.push(ShardAction::FetchLog { connection, request });
        }
    }
}
