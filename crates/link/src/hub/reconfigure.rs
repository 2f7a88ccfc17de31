//! Other intervals while everybody is connected: those who must be heard more often are told so first, and held to it
//! one old detection period later. Otherwise a shorter period would take every healthy link for silent.

use super::Hub;
use super::config::HubConfig;
use crate::message::AgentOrder;

/// A detection period that was ordered and waits until everybody can know the heartbeat that goes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shorter {
    silence_ms: u64,
    from_ms: u64,
}

impl Hub {
    pub(super) fn reconfigured(&mut self, config: HubConfig, now_ms: u64) {
        let old = std::mem::replace(&mut self.config, config);
        let silence_ms = self.config.silence_ms;
        if silence_ms < old.silence_ms {
            self.config.silence_ms = old.silence_ms;
            // The same order again does not begin the wait anew.
            let same = self.shorter.filter(|shorter| shorter.silence_ms == silence_ms);
            let from_ms = now_ms.saturating_add(old.silence_ms);
            self.shorter = same.or(Some(Shorter { silence_ms, from_ms }));
        } else {
            self.shorter = None;
        }
        let intervals = |config: &HubConfig| (config.heartbeat_ms, config.silence_ms, config.shard_leaves_ms);
        if intervals(&self.config) != intervals(&old) {
            self.welcome_everybody(now_ms);
        }
    }

    /// Applies a shorter detection period when its time has come; shards hear of it with their next welcome.
    pub(super) fn shorten(&mut self, now_ms: u64) {
        if let Some(shorter) = self.shorter.take_if(|shorter| now_ms >= shorter.from_ms) {
            self.config.silence_ms = shorter.silence_ms;
        }
    }

    fn welcome_everybody(&mut self, now_ms: u64) {
        self.welcome_shards(now_ms);
        let heartbeat_ms = self.config.heartbeat_ms;
        for (name, node) in &self.nodes {
            let Some(session) = &node.session else { continue };
            if let (Some((node, epoch)), Some(link)) = (session.welcomed, session.link) {
                let order = AgentOrder::Welcome { node, epoch, heartbeat_ms };
                self.outbox.order(link, name, session.number, order);
            }
        }
    }
}
