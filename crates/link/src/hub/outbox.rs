//! Gathers what one event gave rise to: messages by link, cut into batches, and the other actions in order.

use std::collections::BTreeMap;

use paceline_types::{LinkSession, NodeName};

use super::event::{HubAction, LinkId};
use crate::message::{AgentOrder, MasterMessage};
use crate::weight::{BATCH_BYTES_MAX, cut, master_message_bytes};

/// Longest message of a refusal: what the wire takes. A refusal of the cell may quote more than that.
const REFUSED_BYTES_MAX: usize = 1_024;

/// Filled while an event is handled, emptied after it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    actions: Vec<HubAction>,
    messages: BTreeMap<LinkId, Vec<MasterMessage>>,
}

impl Outbox {
    pub(super) fn act(&mut self, action: HubAction) {
        self.actions.push(action);
    }

    pub(super) fn send(&mut self, link: LinkId, message: MasterMessage) {
        self.messages.entry(link).or_default().push(message);
    }

    pub(super) fn order(&mut self, link: LinkId, node: &NodeName, session: LinkSession, order: AgentOrder) {
        self.send(link, MasterMessage::ToNode { node: node.clone(), session, order });
    }

    /// Tells an agent that its session is refused.
    pub(super) fn refuse(
        &mut self,
        link: LinkId,
        node: &NodeName,
        session: LinkSession,
        message: &str,
        ms: u64,
    ) {
        let end = message.floor_char_boundary(REFUSED_BYTES_MAX);
        let order = AgentOrder::Refused { message: message[..end].to_owned(), retry_after_ms: ms };
        self.order(link, node, session, order);
    }

    /// Forgets what was to go to a link that has ended.
    pub(super) fn drop_link(&mut self, link: LinkId) {
        self.messages.remove(&link);
    }

    pub(super) fn take(&mut self) -> Vec<HubAction> {
        let mut actions = std::mem::take(&mut self.actions);
        for (link, messages) in std::mem::take(&mut self.messages) {
            let batches = cut(messages, BATCH_BYTES_MAX, master_message_bytes);
            actions.extend(batches.into_iter().map(|messages| HubAction::Send { link, messages }));
        }
        actions
    }
}
