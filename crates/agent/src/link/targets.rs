//! Whom to dial in a round: the shards in the node's own order, then those configured, then a master's advice.
//!
//! Pure. An agent starts from configured addresses; the cell's list replaces them as soon as it is known,
//! and stays known when every shard is gone.

use std::collections::VecDeque;

use paceline_link::home;
use paceline_link::message::ShardList;
use paceline_types::{NodeName, ShardName};

/// Somebody to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A shard; its name where it is known.
    Shard { address: String, name: Option<ShardName> },
    /// A master, to ask for the shards.
    Master { address: String },
}

#[derive(Debug)]
pub(crate) struct Targets {
    node: NodeName,
    configured: Vec<String>,
    masters: Vec<String>,
    list: ShardList,
    /// Where the next round begins among the shards.
    position: usize,
    master: usize,
}

impl Targets {
    /// `start` differs by agent, so that they do not all begin with the same address.
    pub(crate) fn new(node: NodeName, configured: Vec<String>, masters: Vec<String>, start: usize) -> Self {
        let mut configured = configured;
        if !configured.is_empty() {
            let by = start % configured.len();
            configured.rotate_left(by);
        }
        Self { node, configured, masters, list: ShardList::default(), position: 0, master: start }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.configured.is_empty() && self.masters.is_empty()
    }

    /// Takes a list on if it is newer; true if it was.
    pub(crate) fn learn(&mut self, list: ShardList) -> bool {
        let newer = list.version > self.list.version;
        if newer {
            self.list = list;
            self.position = 0;
        }
        newer
    }

    /// Everybody to try until one answers: all shards, and behind them a master if one may be asked, or if
    /// no shard is known.
    pub(crate) fn round(&mut self, ask: bool) -> VecDeque<Target> {
        let mut round = VecDeque::from(self.shards());
        if !round.is_empty() {
            let by = self.position % round.len();
            round.rotate_left(by);
            self.position = 0;
        }
        if !self.masters.is_empty() && (ask || round.is_empty()) {
            self.master += 1;
            let address = self.masters[self.master % self.masters.len()].clone();
            round.push_back(Target::Master { address });
        }
        round
    }

    /// The present one serves: the next failure starts from the top again.
    pub(crate) fn settle(&mut self) {
        self.position = 0;
    }

    /// This one ended a session: the next to dial is the one after it.
    pub(crate) fn pass_over(&mut self, shard: &ShardName, address: &str) {
        let is_it = |target: &Target| match target {
            Target::Shard { address: listed, name } => {
                name.as_ref().map_or(listed == address, |name| name == shard)
            }
            Target::Master { .. } => false,
        };
        self.position = self.shards().iter().position(is_it).map_or(0, |at| at + 1);
    }

    /// Whether there is anybody else to try.
    pub(crate) fn has_choice(&self) -> bool {
        self.shards().len() > 1
    }

    /// The node's home, if it is another shard than this one, and when to move there.
    pub(crate) fn home_elsewhere(&self, present: &ShardName) -> Option<(Target, u64)> {
        let home = home::home(&self.node, &self.list).filter(|home| home.name != *present)?;
        let target = Target::Shard { address: home.address.clone(), name: Some(home.name.clone()) };
        Some((target, home::move_delay_ms(&self.node, &self.list)))
    }

    fn shards(&self) -> Vec<Target> {
        let ranked = home::ranked(&self.node, &self.list);
        let listed = |address: &String| ranked.iter().any(|shard| shard.address == *address);
        let named = |address: String, name| Target::Shard { address, name };
        let others: Vec<_> = self.configured.iter().filter(|address| !listed(address)).cloned().collect();
        let known = ranked.iter().map(|shard| named(shard.address.clone(), Some(shard.name.clone())));
        known.chain(others.into_iter().map(|address| named(address, None))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_link::message::ShardAddress;
    use paceline_types::{Revision, ShardId};

    fn list(version: u64, names: &[&str]) -> ShardList {
        let shard = |(id, name): (u32, &&str)| ShardAddress {
            id: ShardId(id),
            name: name.parse().unwrap(),
            address: format!("{name}:1"),
        };
        ShardList { version: Revision(version), shards: (0..).zip(names).map(shard).collect() }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    fn targets(shards: &[&str], masters: &[&str]) -> Targets {
        Targets::new("n".parse().unwrap(), texts(shards), texts(masters), 0)
    }

    fn round(targets: &mut Targets, ask: bool) -> Vec<String> {
        let address = |target| match target {
            Target::Shard { address, .. } => address,
            Target::Master { address } => format!("ask {address}"),
        };
        targets.round(ask).into_iter().map(address).collect()
    }

    #[test]
    fn configured_shards_come_first_then_a_master_then_again() {
        let mut targets = targets(&["x:1", "y:1"], &["m:1", "m:2"]);
        assert_eq!(round(&mut targets, true), ["x:1", "y:1", "ask m:2"]);
        assert_eq!(round(&mut targets, false), ["x:1", "y:1"]);
        assert_eq!(round(&mut targets, true), ["x:1", "y:1", "ask m:1"]);
    }

    #[test]
    fn masters_alone_are_asked_in_turn() {
        let mut targets = targets(&[], &["m:1", "m:2"]);
        let asked: Vec<_> = (0..3).flat_map(|_| round(&mut targets, false)).collect();
        assert_eq!(asked, ["ask m:2", "ask m:1", "ask m:2"]);
    }

    #[test]
    fn the_cells_list_counts_in_the_nodes_own_order_and_configured_ones_stay_a_fallback() {
        let mut targets = targets(&["x:1", "a:1"], &[]);
        assert!(targets.learn(list(5, &["a", "b"])));
        assert!(!targets.learn(list(4, &["c"])), "older");
        let shards = list(5, &["a", "b"]);
        let ranked: Vec<_> =
            home::ranked(&"n".parse().unwrap(), &shards).iter().map(|shard| shard.address.clone()).collect();
        assert_eq!(round(&mut targets, true), [&ranked[..], &texts(&["x:1"])].concat());
    }

    #[test]
    fn after_a_shard_that_ended_a_session_the_next_one_is_tried() {
        let mut targets = targets(&["x:1", "y:1"], &[]);
        targets.pass_over(&"any".parse().unwrap(), "x:1");
        assert_eq!(round(&mut targets, false), ["y:1", "x:1"]);
        assert_eq!(round(&mut targets, false), ["x:1", "y:1"], "in the next round it is first again");
        targets.learn(list(5, &["a", "b"]));
        let order = round(&mut targets, false);
        let first = order[0].trim_end_matches(":1").parse().unwrap();
        targets.pass_over(&first, "elsewhere:1");
        assert_eq!(round(&mut targets, false)[0], order[1]);
    }

    #[test]
    fn only_a_node_away_from_home_has_a_home_elsewhere() {
        let mut targets = targets(&[], &["m:1"]);
        assert_eq!(targets.home_elsewhere(&"a".parse().unwrap()), None);
        targets.learn(list(5, &["a", "b"]));
        let away: Vec<_> = ["a", "b"]
            .iter()
            .filter(|name| targets.home_elsewhere(&name.parse().unwrap()).is_some())
            .collect();
        assert_eq!(away.len(), 1);
    }
}
