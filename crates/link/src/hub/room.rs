//! Room on the links for orders. Orders are level-triggered, so those for which a link has no room are not queued but
//! made later, from the view of that time; what waits is a name. Whatever else goes down a link is small and answers
//! something that the shard said.

use std::collections::{BTreeSet, VecDeque};

use paceline_types::{NodeId, NodeName};

use super::Hub;
use super::assigned::Assigned;
use super::event::LinkId;

/// What one link takes now, and who waits for it to take more.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    /// Each node once, in the order in which they came; bounded by the nodes of the hub.
    turn: VecDeque<NodeName>,
    waiting: BTreeSet<NodeName>,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, turn: VecDeque::new(), waiting: BTreeSet::new() }
    }

    /// Whether orders may be made now; if not, the node waits for its turn. What a node gets at once may be larger
    /// than the room that is left: the shell keeps as much in reserve.
    fn admits(&mut self, name: &NodeName) -> bool {
        if self.bytes == 0 && self.waiting.insert(name.clone()) {
            self.turn.push_back(name.clone());
        }
        self.bytes > 0
    }

    /// Whether the node has orders to come.
    pub(super) fn keeps_waiting(&self, name: &NodeName) -> bool {
        self.waiting.contains(name)
    }

    fn next(&mut self) -> Option<NodeName> {
        if self.bytes == 0 {
            return None;
        }
        let name = self.turn.pop_front()?;
        self.waiting.remove(&name);
        Some(name)
    }
}

impl Hub {
    /// Links on which nodes wait for room: the shell says with [`super::HubEvent::LinkRoom`] how much there is.
    pub fn links_without_room(&self) -> impl Iterator<Item = LinkId> {
        self.links.rooms().filter(|(_, room)| !room.turn.is_empty()).map(|(link, _)| link)
    }

    /// The link takes so much more; those who waited are told what they should have by now.
    pub(super) fn link_room(&mut self, link: LinkId, bytes: usize, view: &dyn Assigned) {
        let Some(room) = self.links.room_mut(link) else { return };
        room.bytes = bytes;
        while let Some(name) = self.links.room_mut(link).and_then(Room::next) {
            // Whoever speaks through another link by now was told there.
            if self.route(&name).is_some_and(|(current, _)| current == link) {
                self.tell_owed(&name, view);
            }
        }
    }

    pub(super) fn has_room(&mut self, link: LinkId, name: &NodeName) -> bool {
        self.links.room_mut(link).is_none_or(|room| room.admits(name))
    }

    pub(super) fn took_room(&mut self, link: LinkId, bytes: usize) {
        if let Some(room) = self.links.room_mut(link) {
            room.bytes = room.bytes.saturating_sub(bytes);
        }
    }

    /// The nodes that sessions speak for, in the order of their numbers: whose changes the hub must hear of.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> {
        self.names.keys().copied()
    }
}
