//! Graphs of links between five masters, and the rule that says on which of them somebody commits.
//!
//! What the rule rests on, in the terms of `docs/internals/simulation.md`: a master that hears a leader votes for nobody
//! else; a leader that hears no majority falls silent for a while, now and then; nobody campaigns who was not told by a
//! majority that it would win; and nobody votes for a master whose log is behind its own.

use std::collections::BTreeSet;
use std::fmt;

/// Masters of a graph.
pub const MASTERS: usize = 5;
/// A majority of them, without oneself.
const OTHERS_NEEDED: usize = MASTERS / 2;

/// The pairs of masters, each a bit of a graph's number.
const PAIRS: [(usize, usize); 10] =
    [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)];

/// Which of five masters are linked. Links carry both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Graph(u16);

/// Who commits while a graph holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The one that led before, in its term.
    TheLeader,
    /// Another one, once it is elected.
    Another,
    /// Nobody.
    Nobody,
}

/// A graph, who led when its links became all there are, and who had been away before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// The links.
    pub graph: Graph,
    /// Who led.
    pub leader: usize,
    /// A master that lacks the last entries; not the leader.
    pub behind: Option<usize>,
}

impl Graph {
    /// How many there are.
    pub const COUNT: u16 = 1 << PAIRS.len();

    /// The graph of a number; the number is taken modulo [`Graph::COUNT`].
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(u16::try_from(number % u64::from(Self::COUNT)).expect("below the count"))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Every pair of masters, and whether there is a link between them.
    pub fn pairs(self) -> impl Iterator<Item = (usize, usize, bool)> {
        PAIRS.into_iter().enumerate().map(move |(bit, (one, other))| (one, other, self.0 & (1 << bit) != 0))
    }

    fn neighbours(self, of: usize) -> impl Iterator<Item = usize> {
        self.pairs().filter_map(move |(one, other, linked)| match of {
            _ if !linked => None,
            _ if of == one => Some(other),
            _ if of == other => Some(one),
            _ => None,
        })
    }

    /// The same graph with other names for its masters.
    fn renamed(self, names: &[usize; MASTERS]) -> Self {
        let linked = self.pairs().filter(|(_, _, linked)| *linked);
        let bits = linked.map(|(one, other, _)| {
            let (low, high) = (names[one].min(names[other]), names[one].max(names[other]));
            1 << PAIRS.iter().position(|pair| *pair == (low, high)).expect("every pair has a bit")
        });
        Self(bits.sum())
    }

    /// One graph of each kind, with each kind of place for a leader: those that are the same but for names count once.
    #[must_use]
    pub fn kinds() -> BTreeSet<(Self, usize)> {
        let orders = orders();
        let kind = |graph: Self, leader: usize| {
            let same = orders.iter().map(|names| (graph.renamed(names), names[leader]));
            same.min().expect("there is an order")
        };
        let graphs = (0..u64::from(Self::COUNT)).map(Self::of);
        graphs
            .flat_map(|graph| (0..MASTERS).map(move |leader| (graph, leader)))
            .map(|(g, l)| kind(g, l))
            .collect()
    }
}

/// All orders of five names.
fn orders() -> Vec<[usize; MASTERS]> {
    let mut orders = Vec::new();
    for number in 0..MASTERS.pow(MASTERS as u32) {
        let names: [usize; MASTERS] = std::array::from_fn(|at| number / MASTERS.pow(at as u32) % MASTERS);
        if names.iter().collect::<BTreeSet<_>>().len() == MASTERS {
            orders.push(names);
        }
    }
    orders
}

impl Case {
    /// The rule.
    ///
    /// A leader with links to two others is a majority with them: it hears them and stays, and whoever does not hear it
    /// is refused by both. A leader with fewer links loses its office if somebody else can be elected: a master with
    /// links to two others whose logs are not ahead of its own. Only a master that was away can be behind, and it is not
    /// if the leader still reaches it: a leader that commits nothing sends its log all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let links = |master: usize| self.graph.neighbours(master).count();
        if links(self.leader) >= OTHERS_NEEDED {
            return Outcome::TheLeader;
        }
        let reached = |master: usize| self.graph.neighbours(self.leader).any(|other| other == master);
        let is_behind = |master: usize| self.behind == Some(master) && !reached(master);
        let can_win = |master: &usize| links(*master) >= OTHERS_NEEDED && !is_behind(*master);
        if (0..MASTERS).any(|master| can_win(&master)) { Outcome::Another } else { Outcome::Nobody }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph {}:", self.0)?;
        let mut linked = self.pairs().filter(|(_, _, linked)| *linked).peekable();
        if linked.peek().is_none() {
            f.write_str(" no link")?;
        }
        linked.try_for_each(|(one, other, _)| write!(f, " m{}-m{}", one + 1, other + 1))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, m{} leads", self.graph, self.leader + 1)?;
        match self.behind {
            Some(behind) => write!(f, ", m{} is behind", behind + 1),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(links: &[(usize, usize)]) -> Graph {
        let bit = |link: &(usize, usize)| 1 << PAIRS.iter().position(|pair| pair == link).unwrap();
        Graph(links.iter().map(bit).sum())
    }

    #[test]
    fn there_are_34_graphs_and_90_places_for_a_leader_on_them() {
        let kinds = Graph::kinds();
        assert_eq!(kinds.len(), 90);
        assert!(kinds.iter().all(|(graph, _)| graph.renamed(&[0, 1, 2, 3, 4]) == *graph));
        let smallest = |graph: Graph| orders().iter().map(|names| graph.renamed(names)).min();
        assert_eq!((0..1_024).map(|number| smallest(Graph::of(number))).collect::<BTreeSet<_>>().len(), 34);
    }

    #[test]
    fn names_do_not_matter_to_the_rule() {
        for (number, names) in (0..1_024).zip(orders().into_iter().cycle()) {
            let graph = Graph::of(number);
            for leader in 0..MASTERS {
                let case = Case { graph, leader, behind: None };
                let renamed = Case { graph: graph.renamed(&names), leader: names[leader], behind: None };
                assert_eq!(case.outcome(), renamed.outcome(), "{case}");
            }
        }
    }

    #[test]
    fn with_equal_logs_somebody_commits_exactly_where_somebody_has_two_links() {
        for number in 0..1_024 {
            let graph = Graph::of(number);
            let two = (0..MASTERS).any(|master| graph.neighbours(master).count() >= 2);
            for leader in 0..MASTERS {
                let outcome = Case { graph, leader, behind: None }.outcome();
                assert_eq!(outcome != Outcome::Nobody, two, "{graph}");
            }
        }
    }

    #[test]
    fn the_rule_says_what_it_should_of_known_graphs() {
        let star = graph(&[(1, 2), (1, 3)]);
        let reached = graph(&[(0, 1), (1, 2), (1, 3)]);
        let bridge = graph(&[(0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4)]);
        for (graph, leader, behind, outcome) in [
            (Graph(0), 0, None, Outcome::Nobody),
            (Graph(1_023), 3, None, Outcome::TheLeader),
            (bridge, 0, None, Outcome::TheLeader),
            (star, 0, None, Outcome::Another),
            (star, 0, Some(1), Outcome::Nobody),
            (star, 0, Some(2), Outcome::Another),
            (reached, 0, Some(1), Outcome::Another),
            (graph(&[(0, 1), (2, 3)]), 0, None, Outcome::Nobody),
        ] {
            let case = Case { graph, leader, behind };
            assert_eq!(case.outcome(), outcome, "{case}");
        }
    }
}
