//! Shard streams: welcome, the cell's list, silence.

use std::collections::BTreeMap;

use paceline_types::{Revision, ShardId, ShardName};

use super::Hub;
use super::assigned::Assigned;
use super::event::{HubAction, LinkEnd, LinkId};
use super::room::Room;
use crate::message::{MasterMessage, ShardAddress, ShardList, ShardMessage};

/// How often a shard is told that its leader is there: a shard gives up a leader after one and a half heartbeats.
const WELCOMES_PER_HEARTBEAT: u64 = 3;

/// The streams and when each listed shard was last there.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    /// Since when a listed shard has had no stream.
    absent_ms: BTreeMap<ShardName, u64>,
    /// The version of the list that every welcomed stream has.
    version: Revision,
}

#[derive(Debug)]
struct Link {
    name: ShardName,
    address: String,
    heard_ms: u64,
    /// The cell lists it, under this number.
    welcomed: Option<ShardId>,
    /// When it was last told so.
    told_ms: u64,
    room: Room,
}

impl Links {
    pub(super) fn name(&self, link: LinkId) -> Option<&ShardName> {
        self.links.get(&link).map(|link| &link.name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ShardName> {
        self.links.values().map(|link| &link.name)
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = (LinkId, &Room)> {
        self.links.iter().map(|(id, link)| (*id, &link.room))
    }

    pub(super) fn room_mut(&mut self, link: LinkId) -> Option<&mut Room> {
        self.links.get_mut(&link).map(|link| &mut link.room)
    }

    /// Whether some shard has been welcomed and is there.
    pub(super) fn hears_any(&self) -> bool {
        self.links.values().any(|link| link.welcomed.is_some())
    }

    /// Whether a shard of the cell's list has no stream.
    pub(super) fn is_away(&self, shard: &ShardName) -> bool {
        self.absent_ms.contains_key(shard)
    }

    /// Whether any has none.
    pub(super) fn any_is_away(&self) -> bool {
        !self.absent_ms.is_empty()
    }

    fn of(&self, name: &ShardName) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.name == *name).map(|(id, _)| *id)
    }
}

impl Hub {
    pub(super) fn shard_connected(
        &mut self,
        link: LinkId,
        name: ShardName,
        address: String,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        if let Some(old) = self.links.of(&name) {
            self.end_link(old, LinkEnd::Superseded, now_ms);
        }
        if self.links.links.len() >= self.config.links_max {
            let reason = LinkEnd::TooManyLinks { limit: self.config.links_max };
            self.outbox.act(HubAction::Disconnect { link, reason });
            return;
        }
        self.links.absent_ms.remove(&name);
        self.shard_is_back(&name, now_ms);
        let room = Room::new(self.config.link_room_bytes);
        let entry = Link { name, address, heard_ms: now_ms, welcomed: None, told_ms: now_ms, room };
        self.links.links.insert(link, entry);
        if !self.welcome_shard(link, &view.shards(), now_ms) {
            self.register_shard(link);
        }
    }

    /// Asks for the shard of a stream to be put on the cell's list.
    fn register_shard(&mut self, link: LinkId) {
        let Some(Link { name, address, .. }) = self.links.links.get(&link) else { return };
        let (name, address) = (name.clone(), address.clone());
        self.outbox.act(HubAction::RegisterShard { link, name, address });
    }

    pub(super) fn shard_messages(
        &mut self,
        link: LinkId,
        messages: Vec<ShardMessage>,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        for message in messages {
            // The stream may have ended on the message before; what it said after that is not heard.
            let Some(entry) = self.links.links.get_mut(&link) else { return };
            entry.heard_ms = now_ms;
            match message {
                ShardMessage::Hello { .. } => self.end_link(link, LinkEnd::SecondHello, now_ms),
                ShardMessage::NodeHello(hello) => self.node_hello(link, *hello, view, now_ms),
                ShardMessage::NodeReport { node, session, report } => {
                    self.node_report(link, &node, session, report, view, now_ms);
                }
                ShardMessage::NodeGone { node, session } => self.node_gone(link, &node, session, now_ms),
                ShardMessage::NodeLeaseRequest { node, session, number } => {
                    self.lease_asked(link, node, session, number);
                }
                ShardMessage::Alive => {}
            }
        }
    }

    pub(super) fn shard_disconnected(&mut self, link: LinkId, now_ms: u64) {
        let Some(entry) = self.links.links.remove(&link) else { return };
        self.outbox.drop_link(link);
        self.sessions_lost(link, &entry.name, now_ms);
        self.links.absent_ms.insert(entry.name, now_ms);
    }

    /// Closes a stream for a reason of ours.
    pub(super) fn end_link(&mut self, link: LinkId, reason: LinkEnd, now_ms: u64) {
        if self.links.links.contains_key(&link) {
            self.shard_disconnected(link, now_ms);
            self.outbox.act(HubAction::Disconnect { link, reason });
        }
    }

    pub(super) fn shards_changed(&mut self, view: &dyn Assigned, now_ms: u64) {
        let list = view.shards();
        let standing = |link: &Link| link.welcomed.map(|_| listed(&list, link).is_some());
        let links: Vec<_> = self.links.links.iter().map(|(id, link)| (*id, standing(link))).collect();
        for (link, standing) in links {
            match standing {
                None => {
                    self.welcome_shard(link, &list, now_ms);
                }
                Some(true) if list.version > self.links.version => {
                    self.outbox.send(link, MasterMessage::Shards(list.clone()));
                }
                Some(true) => {}
                Some(false) => self.put_back(link),
            }
        }
        self.links.version = self.links.version.max(list.version);
        self.mark_absent(&list, now_ms);
    }

    /// The list lost a shard that is here: its removal was on the way while it came back, or somebody removed it by
    /// hand. Agents find shards by the list, so one that serves belongs on it. Asked once: it waits for its welcome.
    fn put_back(&mut self, link: LinkId) {
        if let Some(entry) = self.links.links.get_mut(&link) {
            entry.welcomed = None;
            self.register_shard(link);
        }
    }

    /// Streams that have been silent, and shards that have been away for so long that they leave the list.
    pub(super) fn check_links(&mut self, view: &dyn Assigned, now_ms: u64) {
        let limit_ms = self.config.silence_ms;
        let silent = |link: &Link| now_ms.saturating_sub(link.heard_ms);
        let links = self.links.links.iter();
        let silent: Vec<_> =
            links.map(|(id, link)| (*id, silent(link))).filter(|(_, ms)| *ms > limit_ms).collect();
        for (link, silent_ms) in silent {
            self.end_link(link, LinkEnd::Silent { silent_ms, limit_ms }, now_ms);
        }
        self.shards_changed(view, now_ms);
        self.still_here(now_ms);
        let leaves_ms = self.config.shard_leaves_ms;
        for (name, since_ms) in &mut self.links.absent_ms {
            if now_ms.saturating_sub(*since_ms) >= leaves_ms {
                // Asked again after another period, should the cell not have done it.
                *since_ms = now_ms;
                self.outbox.act(HubAction::RemoveShard { name: name.clone() });
            }
        }
    }

    /// Tells every shard the intervals of now.
    pub(super) fn welcome_shards(&mut self, now_ms: u64) {
        for (id, link) in &mut self.links.links {
            if let Some(shard) = link.welcomed {
                link.told_ms = now_ms;
                self.outbox.send(*id, self.config.welcome(shard));
            }
        }
    }

    /// Says again to every shard that it is welcome, so that it notices a leader that was paused.
    fn still_here(&mut self, now_ms: u64) {
        for (id, link) in &mut self.links.links {
            let Some(shard) = link.welcomed else { continue };
            if now_ms.saturating_sub(link.told_ms) >= self.config.heartbeat_ms / WELCOMES_PER_HEARTBEAT {
                link.told_ms = now_ms;
                self.outbox.send(*id, self.config.welcome(shard));
            }
        }
    }

    /// Welcomes a stream once the cell lists its shard at its address.
    fn welcome_shard(&mut self, link: LinkId, list: &ShardList, now_ms: u64) -> bool {
        let Some(entry) = self.links.links.get_mut(&link) else { return false };
        let Some(listed) = listed(list, entry) else { return false };
        (entry.welcomed, entry.told_ms) = (Some(listed.id), now_ms);
        self.outbox.send(link, self.config.welcome(listed.id));
        self.outbox.send(link, MasterMessage::Shards(list.clone()));
        true
    }

    fn mark_absent(&mut self, list: &ShardList, now_ms: u64) {
        let listed = |name: &ShardName| list.shards.iter().any(|shard| shard.name == *name);
        self.links.absent_ms.retain(|name, _| listed(name));
        for shard in &list.shards {
            if self.links.of(&shard.name).is_none() {
                self.links.absent_ms.entry(shard.name.clone()).or_insert(now_ms);
            }
        }
    }
}

/// The cell's entry for the shard of a stream, at the address that the stream said.
fn listed<'a>(list: &'a ShardList, link: &Link) -> Option<&'a ShardAddress> {
    list.shards.iter().find(|shard| shard.name == link.name && shard.address == link.address)
}
