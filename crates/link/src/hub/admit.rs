//! Who may speak for a node: its highest session, of the instance and boot that the cell knows.
//!
//! A second data folder, or the same one under a second kernel, never displaces a session that is alive. Nobody is up
//! before the cell has the node as its session says.

use paceline_types::plant::{Plant, is_planted};
use paceline_types::{BootId, LinkSession, NodeName};

use super::Hub;
use super::assigned::{Assigned, NodeRecord};
use super::event::{HubAction, LinkId, Notice};
use super::liveness::Liveness;
use super::node::Session;
use crate::message::{AgentOrder, Hello};

/// What a Hello gets.
enum Verdict {
    /// A new session, which ends the one before.
    Begin,
    /// The same session through a stream anew.
    Resume,
    /// Not now, or not at all.
    Refuse { message: String, retry_after_ms: u64, notice: Option<Notice> },
}

impl Hub {
    pub(super) fn node_hello(&mut self, link: LinkId, hello: Hello, view: &dyn Assigned, now_ms: u64) {
        let record = view.node(&hello.node);
        match self.judge(&hello, record.as_ref(), now_ms) {
            Verdict::Refuse { message, retry_after_ms, notice } => {
                self.outbox.order(
                    link,
                    &hello.node,
                    hello.session,
                    AgentOrder::Refused { message, retry_after_ms },
                );
                if let Some(notice) = notice {
                    self.outbox.act(HubAction::Notice(notice));
                }
                return;
            }
            Verdict::Begin => self.begin(link, &hello, now_ms),
            Verdict::Resume => {
                if let Some(session) = self.nodes.get_mut(&hello.node).and_then(|node| node.session.as_mut())
                {
                    session.resume(link);
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(&hello.node) {
            node.lost_with = None;
            node.returning |= record.is_some_and(|record| record.lost);
        }
        self.introduce(Box::new(hello), view, now_ms);
    }

    /// Welcomes a session as the cell has its node, or has the node registered first. One registration of a node is
    /// under way at a time: a later one that is applied first would be undone by the earlier. After a write-off that may
    /// still be applied a node is registered in any case, behind it in the log.
    fn introduce(&mut self, hello: Box<Hello>, view: &dyn Assigned, now_ms: u64) {
        let Some(node) = self.nodes.get_mut(&hello.node) else { return };
        if node.registering || node.writing_off {
            node.register_next = Some(hello);
        } else if !node.unsettled
            && view.node(&hello.node).is_some_and(|record| says_the_same(&record, &hello))
        {
            self.registered(&hello.node, hello.session, view, now_ms);
        } else {
            node.registering = true;
            self.outbox.act(HubAction::Register { hello });
        }
    }

    /// A registration has its answer: the one that waited for it is next, unless its session is over.
    pub(super) fn introduce_next(&mut self, name: &NodeName, view: &dyn Assigned, now_ms: u64) -> bool {
        let Some(node) = self.nodes.get_mut(name) else { return false };
        node.registering = false;
        let Some(hello) = node.register_next.take() else { return false };
        let current = self.session_mut(name, hello.session).is_some_and(|session| session.link.is_some());
        if current {
            self.introduce(hello, view, now_ms);
        }
        current
    }

    pub(super) fn registration_applied(
        &mut self,
        name: &NodeName,
        number: LinkSession,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.unsettled = false;
        }
        if !self.introduce_next(name, view, now_ms) {
            self.registered(name, number, view, now_ms);
        }
    }

    /// Puts a new session in the place of the one before, whose agent is told.
    fn begin(&mut self, link: LinkId, hello: &Hello, now_ms: u64) {
        let session = Session::new(hello.session, hello.instance, hello.boot, link);
        let node = self.nodes.entry(hello.node.clone()).or_default();
        node.not_up(now_ms);
        let Some(old) = node.session.replace(session) else { return };
        if let Some(old_link) = old.link {
            let message = format!("session {} of {} took its place", hello.session, hello.node);
            self.outbox.refuse(old_link, &hello.node, old.number, &message, self.config.refused_retry_ms);
        }
    }

    fn judge(&self, hello: &Hello, record: Option<&NodeRecord>, now_ms: u64) -> Verdict {
        let refuse = |message, notice| Verdict::Refuse {
            message,
            retry_after_ms: self.config.refused_retry_ms,
            notice,
        };
        if let Some(record) = record
            && record.instance != hello.instance
            && !record.replaceable
        {
            // The cell would refuse it. Refused here, it costs no entry and says nothing of the node that the cell knows.
            let (known, refused) = (record.instance, hello.instance);
            let notice = Notice::TwoInstances { node: hello.node.clone(), known, refused };
            return refuse(notice.to_string(), Some(notice));
        }
        let Some(node) = self.nodes.get(&hello.node) else {
            if self.nodes.len() >= self.config.nodes_max {
                return refuse(format!("the leader serves {} nodes at most", self.config.nodes_max), None);
            }
            return self.hold_back(hello, record, self.started_ms.unwrap_or(now_ms), now_ms);
        };
        let Some(session) = &node.session else {
            return self.hold_back(hello, record, node.ended_ms.unwrap_or(now_ms), now_ms);
        };
        if (session.instance, session.boot) == (hello.instance, hello.boot) {
            return match hello.session.cmp(&session.number) {
                std::cmp::Ordering::Greater => Verdict::Begin,
                std::cmp::Ordering::Equal => Verdict::Resume,
                std::cmp::Ordering::Less => {
                    let message =
                        format!("session {} is over: {} came after it", hello.session, session.number);
                    refuse(message, None)
                }
            };
        }
        let heard_ms = if session.link.is_some() { now_ms } else { node.ended_ms.unwrap_or(now_ms) };
        if session.instance != hello.instance && now_ms.saturating_sub(heard_ms) < self.config.silence_ms {
            let (known, refused) = (session.instance, hello.instance);
            let notice = Notice::TwoInstances { node: hello.node.clone(), known, refused };
            return refuse(notice.to_string(), Some(notice));
        }
        if session.instance == hello.instance {
            return self.wait_for_silence(hello, session.boot, heard_ms, now_ms);
        }
        Verdict::Begin
    }

    /// A Hello without a session before it: the cell's record alone says who else may be alive.
    fn hold_back(&self, hello: &Hello, record: Option<&NodeRecord>, heard_ms: u64, now_ms: u64) -> Verdict {
        match record {
            Some(known) if known.instance == hello.instance && known.boot != hello.boot => {
                self.wait_for_silence(hello, known.boot, heard_ms, now_ms)
            }
            _ => Verdict::Begin,
        }
    }

    fn wait_for_silence(&self, hello: &Hello, known: BootId, heard_ms: u64, now_ms: u64) -> Verdict {
        let silent_ms = now_ms.saturating_sub(heard_ms);
        let wait_ms = self.config.silence_ms.saturating_sub(silent_ms);
        if wait_ms == 0 {
            return Verdict::Begin;
        }
        let notice = Notice::TwoBoots { node: hello.node.clone(), known, held: hello.boot, wait_ms };
        Verdict::Refuse { message: notice.to_string(), retry_after_ms: wait_ms, notice: Some(notice) }
    }

    /// The cell took the node as this session says: it is welcome, unless the view has moved on since. Number and
    /// epoch are the view's: the node may have been removed, replaced or booted anew after it was registered.
    fn registered(&mut self, name: &NodeName, number: LinkSession, view: &dyn Assigned, now_ms: u64) {
        let was = self.liveness(name, now_ms);
        let Some(session) = self.session_mut(name, number) else { return };
        let Some(link) = session.link else { return };
        let same = |record: &NodeRecord| (record.instance, record.boot) == (session.instance, session.boot);
        let Some(NodeRecord { id, epoch, .. }) = view.node(name).filter(same) else {
            let message = format!("node {name} was removed or replaced while it was registered");
            return self.refuse_session(name, number, message, self.config.refused_retry_ms, now_ms);
        };
        session.welcomed = Some((id, epoch));
        let shard = self.links.name(link).cloned();
        if let Some(node) = self.nodes.get_mut(name) {
            node.ended_ms = None;
            node.suspect_since_ms = None;
            node.released = false;
            node.returning |= matches!(was, Liveness::Suspect { .. });
            if node.shard != shard {
                let before = std::mem::replace(&mut node.shard, shard);
                node.shard_before = before.map(|before| (before, now_ms));
            }
        }
        self.names.insert(id, name.clone());
        let heartbeat_ms = self.config.heartbeat_ms;
        self.outbox.order(link, name, number, AgentOrder::Welcome { node: id, epoch, heartbeat_ms });
        self.pump(name, view);
    }

    /// The table of a node that was suspect is in the cell: it may have work again.
    pub(super) fn has_returned(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let id = node.session.as_ref().and_then(|session| session.welcomed).map(|(id, _)| id);
        if let Some(id) = id.filter(|_| std::mem::take(&mut node.returning)) {
            self.outbox.act(HubAction::NodeUsable { id });
        }
    }

    /// The cell refused the node as this session says it: the session never was, so it stands in nobody's way.
    pub(super) fn registration_refused(
        &mut self,
        name: &NodeName,
        number: LinkSession,
        message: &str,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        if self.introduce_next(name, view, now_ms) {
            return;
        }
        let retry_after_ms = self.config.refused_retry_ms;
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(session) = node.session.take_if(|session| session.number == number) else { return };
        // A claim that the cell refused was never the node: how long that has been silent does not change.
        node.ended_ms.get_or_insert(now_ms);
        if let Some(link) = session.link {
            self.outbox.refuse(link, name, number, message, retry_after_ms);
        }
    }

    /// Ends a session for a reason of ours; its number is remembered.
    pub(super) fn refuse_session(
        &mut self,
        name: &NodeName,
        number: LinkSession,
        message: String,
        retry_after_ms: u64,
        now_ms: u64,
    ) {
        let Some(link) = self.session_mut(name, number).and_then(|session| session.link) else { return };
        self.outbox.refuse(link, name, number, &message, retry_after_ms);
        self.session_over(name, now_ms);
    }

    /// A node's session, when it is the one named.
    pub(super) fn session_mut(&mut self, name: &NodeName, number: LinkSession) -> Option<&mut Session> {
        self.nodes.get_mut(name)?.session.as_mut().filter(|session| session.number == number)
    }
}

/// Whether registering the Hello would change nothing in the cell.
fn says_the_same(record: &NodeRecord, hello: &Hello) -> bool {
    !record.replaceable
        && !record.lost
        && record.instance == hello.instance
        && record.boot == hello.boot
        && record.capacity == hello.capacity
        && record.labels == hello.labels
        && record.capabilities == hello.capabilities
        && !is_planted(Plant::EpochRaisedOnReconnect)
}
