//! The masters that we know, a lazy channel to each, and who leads as far as we know.
//!
//! Those that we were given are never forgotten, and those that the cell names are known beside them: all of the former
//! may have been replaced by the time the present leader goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use paceline_identity::{Connector, Expect, Role, channel};
use tonic::transport::Channel;

/// Most addresses that we keep channels for: those configured and leaders that we were sent to. A cell has at
/// most 9 masters; beyond this an address that nobody configured is forgotten again.
const ADDRESSES_MAX: usize = 32;

/// Masters that a cell may name beside those configured: a cell has at most 9.
const LEARNT_MAX: usize = 9;

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
    /// Those of the cell that were not configured, in the order of the cell.
    learnt: Vec<String>,
    /// When the masters became these, and whether somebody is asking for newer ones.
    learnt_at: u64,
    is_asking: bool,
    /// Position among all of them, for when we know nothing.
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

    /// All that we know.
    pub(crate) fn all(&self) -> Vec<String> {
        self.configured.iter().chain(&self.lock().learnt).cloned().collect()
    }

    /// Whether the masters have changed since we learnt of them, and the caller is the one to ask.
    pub(crate) fn is_news(&self, at: u64) -> bool {
        let mut state = self.lock();
        let is_news = at > state.learnt_at && !state.is_asking;
        state.is_asking |= is_news;
        is_news
    }

    /// Whoever asked has an answer or none.
    pub(crate) fn asked(&self) {
        self.lock().is_asking = false;
    }

    /// The masters of the cell since this index of its log. An older list than the one we have says nothing.
    pub(crate) fn learn(&self, at: u64, addresses: Vec<String>) {
        let mut state = self.lock();
        if at <= state.learnt_at {
            return;
        }
        state.learnt_at = at;
        let is_new = |address: &String| !address.is_empty() && !self.configured.contains(address);
        state.learnt = addresses.into_iter().filter(is_new).take(LEARNT_MAX).collect();
    }

    /// Whose turn it is.
    fn in_turn<'a>(&'a self, state: &'a State) -> &'a str {
        let at = state.turn % (self.configured.len() + state.learnt.len());
        match at.checked_sub(self.configured.len()) {
            Some(learnt) => &state.learnt[learnt],
            None => &self.configured[at],
        }
    }

    /// The leader as far as we know, else the next in turn.
    pub(crate) fn target(&self) -> Target {
        let address = {
            let state = self.lock();
            state.leader.clone().unwrap_or_else(|| self.in_turn(&state).to_owned())
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
            let learnt = std::mem::take(&mut state.learnt);
            state.channels.retain(|known, _| self.configured.contains(known) || learnt.contains(known));
            state.learnt = learnt;
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
        let is_current = self.in_turn(&state) == address;
        if state.leader.as_deref() == Some(address) {
            state.leader = None;
            if is_current {
                state.turn += 1;
            }
        } else if state.leader.is_none() && is_current {
            state.turn += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use paceline_identity::{BoxFuture, PeerStream};

    use super::*;

    struct Nowhere;

    impl Connector for Nowhere {
        fn connect(&self, _address: &str, _expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
            Box::pin(async { Err(io::Error::other("nobody is dialled here")) })
        }
    }

    fn masters(configured: &[&str]) -> Masters {
        let configured = configured.iter().map(|address| (*address).to_owned()).collect();
        Masters::new(Arc::new(Nowhere), configured, 0)
    }

    /// The addresses that are tried while none answers.
    fn tried(masters: &Masters, tries: usize) -> Vec<String> {
        let one = || {
            let address = masters.target().address;
            masters.pass(&address);
            address
        };
        std::iter::repeat_with(one).take(tries).collect()
    }

    #[tokio::test]
    async fn masters_that_the_cell_names_are_tried_beside_those_configured() {
        let masters = masters(&["a", "b"]);
        assert_eq!(tried(&masters, 3), ["a", "b", "a"]);
        masters.learn(7, vec!["b".into(), "c".into(), "d".into()]);
        let mut all = tried(&masters, 4);
        all.sort();
        assert_eq!(all, ["a", "b", "c", "d"]);
        masters.learn(6, vec!["z".into()]);
        assert_eq!(masters.all(), ["a", "b", "c", "d"], "an older list says nothing");
        masters.learn(9, vec!["e".into()]);
        assert_eq!(masters.all(), ["a", "b", "e"], "who left is not tried for ever");
    }

    #[tokio::test]
    async fn one_caller_asks_for_news() {
        let masters = masters(&["a"]);
        assert!(masters.is_news(5) && !masters.is_news(5), "one asks");
        masters.asked();
        assert!(masters.is_news(5), "in vain, so another asks");
        masters.learn(5, vec!["b".into()]);
        masters.asked();
        assert!(!masters.is_news(5) && masters.is_news(6));
    }
}
