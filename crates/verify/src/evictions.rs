//! No node is written off that was not silent for long enough, and never more than the brake lets through.
//!
//! Fed with the truth: since when nobody can hear a node, when it can be heard again, when another leader took office,
//! and every committed write-off, in the order of time. Judged at each write-off.
//!
//! A leader learns of silence late, and a new one learns it anew, so the checker is as generous as that demands:
//! a loss counts only once its last node has been silent for a detection period, and what was written off under an
//! earlier leader counts no more. It never calls right what every leader would have to call a mass loss.
//!
//! Cost of a write-off: O(n log n) in the silent nodes, and the sizes of the groups. Memory: an entry per node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The committed configuration, in the unit of the instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The detection period: from the last word of a node until it is suspect.
    pub detection: u64,
    /// Fewer nodes are never a mass loss.
    pub brake_nodes: u64,
    /// The share of the cell from which on they are one, in thousandths.
    pub brake_share_permille: u64,
    /// Of the cell, in a minute, while the brake is on; at least one node.
    pub write_off_permille_per_minute: u64,
    /// One minute.
    pub minute: u64,
    /// How late a decision can be committed after it was made: by so much two write-offs may come closer.
    pub slack: u64,
}

/// A write-off that should not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It can be heard.
    #[error("node {node} was written off at {at}, and it can be heard")]
    NotSilent {
        /// The node.
        node: String,
        /// When.
        at: u64,
    },
    /// Too early.
    #[error(
        "node {node} was written off at {at} after {silent} of silence under this leader, at least {needed} were needed"
    )]
    TooEarly {
        /// The node.
        node: String,
        /// When.
        at: u64,
        /// Silent for so long, counted from the leader's first instant at most.
        silent: u64,
        /// This much was needed.
        needed: u64,
    },
    /// More than the brake lets through.
    #[error(
        "node {node} was written off at {at} as number {count} within a minute, {allowed} are allowed: {cause}"
    )]
    BeyondTheBrake {
        /// The node.
        node: String,
        /// When.
        at: u64,
        /// How many there were in the last minute, this one counted.
        count: u64,
        /// How many may be.
        allowed: u64,
        /// Why the brake had to be on.
        cause: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Node {
    silent_since: Option<u64>,
    /// Under the present leader, in this silence.
    written_off: bool,
    /// Under an earlier leader: counts on neither side until it is heard.
    gone: bool,
}

/// All nodes of a cell.
#[derive(Clone, Debug)]
pub struct Evictions {
    rules: Rules,
    nodes: BTreeMap<String, Node>,
    groups: BTreeMap<String, BTreeSet<String>>,
    leader_since: u64,
    released_at: Option<u64>,
    recent: VecDeque<u64>,
}

impl Evictions {
    /// With the configuration of the cell.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            leader_since: 0,
            released_at: None,
            recent: VecDeque::new(),
        }
    }

    /// A node is in the cell, and is heard.
    pub fn heard(&mut self, node: &str) {
        self.nodes.insert(node.to_owned(), Node::default());
    }

    /// Nobody can hear a node from now on.
    pub fn silent(&mut self, node: &str, at: u64) {
        self.nodes.entry(node.to_owned()).or_default().silent_since.get_or_insert(at);
    }

    /// A node left the cell.
    pub fn removed(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// The nodes of a failure domain, or of a shard's slice: when all of them are silent that is a mass loss too.
    pub fn group(&mut self, name: &str, nodes: impl IntoIterator<Item = String>) {
        self.groups.insert(name.to_owned(), nodes.into_iter().collect());
    }

    /// Another leader took office, or the same one anew.
    pub fn leader(&mut self, at: u64) {
        self.leader_since = self.leader_since.max(at);
        for node in self.nodes.values_mut().filter(|node| node.written_off) {
            node.gone = true;
        }
    }

    /// An operator released the brake: what fell silent before is no reason for it any more.
    pub fn released(&mut self, at: u64) {
        self.released_at = Some(at);
    }

    /// A node was written off; `needed` is the shortest silence after which this was asked for: the least
    /// `replace_after` of the tasks that went, and never less than the detection period. Saying it again of a node
    /// that was silent all the time is no other write-off for the brake.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn written_off(&mut self, node: &str, at: u64, needed: u64) -> Result<(), Violation> {
        let needed = needed.max(self.rules.detection);
        let Some(since) = self.nodes.get(node).and_then(|known| known.silent_since) else {
            return Err(Violation::NotSilent { node: node.to_owned(), at });
        };
        let silent = at.saturating_sub(since.max(self.leader_since));
        let cause = self.mass_loss(at);
        let again = self
            .nodes
            .get_mut(node)
            .is_some_and(|known| std::mem::replace(&mut known.written_off, true) || known.gone);
        let minute = self.rules.minute.saturating_sub(self.rules.slack);
        while self.recent.front().is_some_and(|earlier| at.saturating_sub(*earlier) >= minute) {
            self.recent.pop_front();
        }
        if !again {
            self.recent.push_back(at);
        }
        if silent.saturating_add(self.rules.slack) < needed {
            return Err(Violation::TooEarly { node: node.to_owned(), at, silent, needed });
        }
        let (count, allowed) = (self.recent.len() as u64, self.allowed());
        match cause {
            Some(cause) if count > allowed && !again => {
                Err(Violation::BeyondTheBrake { node: node.to_owned(), at, count, allowed, cause })
            }
            _ => Ok(()),
        }
    }

    fn allowed(&self) -> u64 {
        let share =
            (self.nodes.len() as u64).saturating_mul(self.rules.write_off_permille_per_minute) / 1_000;
        share.max(1)
    }

    /// Why the brake has to be on at this instant.
    fn mass_loss(&self, at: u64) -> Option<String> {
        let Rules { detection, brake_nodes, brake_share_permille, slack, .. } = self.rules;
        // Every leader has noticed by now whoever fell silent by then.
        let noticed = at.checked_sub(detection.saturating_add(slack))?;
        let counts = |node: &Node| {
            let since = node.silent_since.filter(|_| !node.gone)?;
            let fresh = self.released_at.is_none_or(|released| since > released);
            (since <= noticed && fresh).then_some(since)
        };
        let silent: Vec<u64> = self.nodes.values().filter_map(counts).collect();
        let together = most_within(silent, detection);
        let cell = self.nodes.values().filter(|node| !node.gone).count() as u64;
        if together >= brake_nodes
            && together.saturating_mul(1_000) >= cell.saturating_mul(brake_share_permille)
        {
            return Some(format!("{together} of {cell} nodes fell silent together"));
        }
        let whole = |nodes: &&BTreeSet<String>| {
            let silent: Option<Vec<u64>> =
                nodes.iter().map(|node| self.nodes.get(node).and_then(counts)).collect();
            silent.is_some_and(|silent| most_within(silent, detection) >= brake_nodes)
        };
        let (name, nodes) = self.groups.iter().find(|(_, nodes)| whole(nodes))?;
        Some(format!("all {} nodes of {name} are silent", nodes.len()))
    }
}

/// The most instants that lie within one span.
fn most_within(mut instants: Vec<u64>, span: u64) -> u64 {
    instants.sort_unstable();
    let count = |(at, first): (usize, &u64)| {
        let end = first.saturating_add(span);
        instants[at..].partition_point(|instant| *instant <= end)
    };
    instants.iter().enumerate().map(count).max().unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        detection: 10,
        brake_nodes: 3,
        brake_share_permille: 100,
        write_off_permille_per_minute: 10,
        minute: 60,
        slack: 1,
    };

    /// A cell of so many nodes, n0 and on, of which the first fell silent at 100.
    fn cell(nodes: usize, silent: usize) -> Evictions {
        let mut evictions = Evictions::new(RULES);
        for node in 0..nodes {
            evictions.heard(&format!("n{node}"));
        }
        for node in 0..silent {
            evictions.silent(&format!("n{node}"), 100);
        }
        evictions
    }

    #[test]
    fn few_nodes_are_written_off_when_their_time_has_come() {
        let mut evictions = cell(4, 2);
        assert_eq!(evictions.written_off("n0", 160, 60), Ok(()));
        assert_eq!(evictions.written_off("n1", 160, 60), Ok(()));
    }

    #[test]
    fn a_braked_cell_may_write_off_its_share_a_minute() {
        let mut evictions = cell(300, 100);
        for (node, at) in [(0, 170), (1, 170), (2, 171), (3, 231), (4, 232), (5, 232)] {
            assert_eq!(evictions.written_off(&format!("n{node}"), at, 60), Ok(()), "n{node}");
        }
        assert!(evictions.written_off("n6", 233, 60).is_err());
    }

    /// The canaries.
    #[test]
    fn a_mass_eviction_is_caught() {
        let mut evictions = cell(4, 3);
        assert_eq!(evictions.written_off("n0", 170, 60), Ok(()));
        let found = evictions.written_off("n1", 170, 60).expect_err("caught").to_string();
        let text = "node n1 was written off at 170 as number 2 within a minute, 1 are allowed: 3 of 4 nodes fell silent together";
        assert_eq!(found, text);
        assert!(evictions.written_off("n2", 170, 60).is_err(), "and the last, though two are left");
        assert_eq!(evictions.written_off("n0", 171, 60), Ok(()), "the same node again is no other");
    }

    #[test]
    fn a_whole_failure_domain_that_is_evicted_is_caught() {
        let mut evictions = cell(1_000, 3);
        assert_eq!(evictions.clone().written_off("n0", 170, 60), Ok(()));
        evictions.group("rack 7", ["n0".to_owned(), "n1".to_owned(), "n2".to_owned()]);
        for node in 0..3 {
            assert_eq!(
                evictions.written_off(&format!("n{node}"), 170, 60),
                Ok(()),
                "ten a minute are its share"
            );
        }
        let mut small = cell(90, 3);
        small.group("rack 7", ["n0".to_owned(), "n1".to_owned(), "n2".to_owned()]);
        assert_eq!(small.written_off("n0", 170, 60), Ok(()));
        let found = small.written_off("n1", 175, 60).expect_err("caught").to_string();
        assert!(found.ends_with("all 3 nodes of rack 7 are silent"), "{found}");
    }

    #[test]
    fn a_node_that_is_there_or_was_silent_too_briefly_is_caught() {
        let mut evictions = cell(4, 1);
        let there = Violation::NotSilent { node: "n1".into(), at: 300 };
        assert_eq!(evictions.written_off("n1", 300, 60), Err(there));
        let early = Violation::TooEarly { node: "n0".into(), at: 150, silent: 50, needed: 60 };
        assert_eq!(evictions.clone().written_off("n0", 150, 60), Err(early));
        evictions.leader(155);
        assert!(evictions.written_off("n0", 160, 5).is_err(), "a new leader has to listen first");
    }

    #[test]
    fn a_release_and_a_return_end_the_brake() {
        let mut released = cell(4, 3);
        released.released(150);
        for node in ["n0", "n1", "n2"] {
            assert_eq!(released.written_off(node, 170, 60), Ok(()));
        }
        let mut back = cell(4, 3);
        back.heard("n2");
        assert_eq!(back.written_off("n0", 170, 60), Ok(()));
        assert_eq!(back.written_off("n1", 170, 60), Ok(()));
    }

    #[test]
    fn what_an_earlier_leader_wrote_off_counts_on_neither_side() {
        let mut evictions = cell(4, 3);
        assert_eq!(evictions.written_off("n0", 170, 60), Ok(()));
        evictions.leader(171);
        assert_eq!(evictions.written_off("n1", 260, 60), Ok(()));
        assert_eq!(evictions.written_off("n2", 260, 60), Ok(()), "two are no mass loss");
    }
}
