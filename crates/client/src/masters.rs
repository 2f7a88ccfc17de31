//! The masters that we know, a lazy channel to each, and who leads as far as we know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use paceline_identity::{Connector, Expect, Role, channel};
use tonic::transport::Channel;

/// Most addresses that we keep channels for: those configured and leaders that we were sent to. A cell has at
/// most 9 masters; beyond this an address that nobody configured is forgotten again.
const ADDRESSES_MAX: usize = 32;

/// Where a try goes.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) channel: Channel,
}

/// Channels and the current favourite.
pub(crate) struct Masters {
    connector: Arc<dyn Connector>,
    configured: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<String, Channel>,
    /// Who leads, as far as we know.
    leader: Option<String>,
    /// Position among the configured, for when we know nothing.
    turn: usize,
}

impl fmt::Debug for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masters").field("configured", &self.configured).finish_non_exhaustive()
    }
}

impl Masters {
    /// At least one address. `turn` picks the first, so that not all clients begin with the same.
    pub(crate) fn new(connector: Arc<dyn Connector>, configured: Vec<String>, turn: u64) -> Self {
        let count = configured.len().max(1) as u64;
        let turn = usize::try_from(turn % count).expect("less than a count of addresses in memory");
        Self { connector, configured, state: Mutex::new(State { turn, ..State::default() }) }
    }

    pub(crate) fn configured(&self) -> &[String] {
        &self.configured
    }

    /// The leader as far as we know, else the next in turn.
    pub(crate) fn target(&self) -> Target {
        let address = {
            let state = self.lock();
            state
                .leader
                .clone()
                .unwrap_or_else(|| self.configured[state.turn % self.configured.len()].clone())
        };
        self.at(&address)
    }

    /// A certain master.
    pub(crate) fn at(&self, address: &str) -> Target {
        let mut state = self.lock();
        if let Some(channel) = state.channels.get(address) {
            return Target { address: address.to_owned(), channel: channel.clone() };
        }
        if state.channels.len() >= ADDRESSES_MAX {
            state.channels.retain(|known, _| self.configured.contains(known));
        }
        let channel = channel(Arc::clone(&self.connector), address, Expect::any(Role::Master));
        state.channels.insert(address.to_owned(), channel.clone());
        Target { address: address.to_owned(), channel }
    }

    /// This one answered, or another master said that it leads.
    pub(crate) fn favour(&self, address: &str) {
        let mut state = self.lock();
        if state.leader.as_deref() != Some(address) {
            state.leader = Some(address.to_owned());
        }
    }

    /// This one did not answer or does not lead: another's turn. Nothing changes when another call has found
    /// that out before.
    pub(crate) fn pass(&self, address: &str) {
        let mut state = self.lock();
        let current = self.configured[state.turn % self.configured.len()].as_str();
        if state.leader.as_deref() == Some(address) {
            state.leader = None;
            if current == address {
                state.turn += 1;
            }
        } else if state.leader.is_none() && current == address {
            state.turn += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
