//! The masters that a shard knows: those it was started with, which it never forgets, and those that the leader names.
//! Masters come and go while a shard runs; whoever leads next must be among them.

use std::sync::Arc;

use paceline_api::v1::MasterList;
use tokio::sync::watch;

use crate::config::MasterAddress;

/// Masters that a leader may name: a cell has three or five, and some more while they are exchanged.
const NAMED_MAX: usize = 32;

/// The addresses; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Masters {
    configured: Arc<[MasterAddress]>,
    all: Arc<watch::Sender<Vec<MasterAddress>>>,
}

impl Masters {
    /// Those that the shard was started with.
    pub(crate) fn new(configured: Vec<MasterAddress>) -> Self {
        let (all, _) = watch::channel(configured.clone());
        Self { configured: configured.into(), all: Arc::new(all) }
    }

    /// The leader says which there are now.
    pub(crate) fn learn(&self, list: MasterList) {
        let mut all = self.configured.to_vec();
        for master in list.masters.into_iter().take(NAMED_MAX) {
            if !master.api_address.is_empty() && !all.contains(&master.api_address) {
                all.push(master.api_address);
            }
        }
        self.all.send_if_modified(|known| {
            let is_new = *known != all;
            if is_new {
                tracing::info!(masters = all.join(", "), "the masters of the cell have changed");
                *known = all;
            }
            is_new
        });
    }

    /// All that are known.
    pub(crate) fn all(&self) -> Vec<MasterAddress> {
        self.all.borrow().clone()
    }

    /// The same, and whenever they change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<MasterAddress>> {
        self.all.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_api::v1;

    fn list(addresses: &[&str]) -> MasterList {
        let master =
            |address: &&str| v1::MasterAddress { name: "m".to_owned(), api_address: (*address).to_owned() };
        MasterList { masters: addresses.iter().map(master).collect() }
    }

    #[test]
    fn the_present_masters_are_known_and_the_configured_ones_never_forgotten() {
        let masters = Masters::new(vec!["a".to_owned(), "b".to_owned()]);
        let mut changes = masters.subscribe();
        masters.learn(list(&["b", "c", "", "c"]));
        assert_eq!(masters.all(), ["a", "b", "c"]);
        assert!(changes.has_changed().expect("open"));
        changes.mark_unchanged();
        masters.learn(list(&["c", "b"]));
        assert!(!changes.has_changed().expect("open"), "the same again is no change");
        masters.learn(list(&["d"]));
        assert_eq!(masters.all(), ["a", "b", "d"]);
    }

    #[test]
    fn a_leader_that_names_too_many_is_believed_up_to_a_bound() {
        let masters = Masters::new(vec!["a".to_owned()]);
        let many: Vec<String> = (0..1_000).map(|number| format!("m{number}")).collect();
        masters.learn(list(&many.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(masters.all().len(), 1 + NAMED_MAX);
    }
}
