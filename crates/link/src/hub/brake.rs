//! The brake (A-9): when many nodes fall silent together it is a network that broke, until somebody knows better.
//!
//! ```text
//! silence ─► mass loss? ─ no ──► every silent node is written off when its time has come
//!                │ yes
//!                └─► brake on: one share of the cell a minute, the first after a minute;
//!                    off when its nodes are back, or few enough, or an operator says so
//! ```
//!
//! A rack that gets its power back comes node by node. The first that is back ends "a whole domain", and yet the others
//! are on their way: the brake stays while they come, and then leaves those that are silent two detection periods.
//!
//! Fewer than `brake_nodes` nodes are never a mass loss, whatever their share: in a small cell one dead node, and two,
//! are just that. Nodes that were lost before do not count, on neither side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use paceline_types::{NodeName, ShardName};

use super::config::HubConfig;

/// The minute of "a share of the cell a minute".
const MINUTE_MS: u64 = 60_000;

/// One node as the brake looks at it.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub name: &'a NodeName,
    /// Since when nobody has heard of it.
    pub silent_ms: Option<u64>,
    /// The shard that it spoke through last.
    pub shard: Option<&'a ShardName>,
    /// The shard before that one, and when it left it.
    pub before: Option<(&'a ShardName, u64)>,
}

/// The values of the labels that name failure domains, widest first; nothing for a label that a node does not have.
pub(super) type Domain = Vec<Option<String>>;

/// What is silent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MassLoss {
    /// A share of the cell.
    Share,
    /// A whole failure domain: the values of its labels, widest first.
    Domain(Vec<Option<String>>),
    /// Every node of one shard.
    Shard(ShardName),
}

impl fmt::Display for MassLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share => f.write_str("a large share of the cell"),
            Self::Domain(values) => {
                let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                write!(f, "all of failure domain {}", values.iter().map(word).collect::<Vec<_>>().join("/"))
            }
            Self::Shard(name) => write!(f, "all nodes of shard {name}"),
        }
    }
}

/// A brake that is on.
#[derive(Debug)]
pub(super) struct Brake {
    pub since_ms: u64,
    pub cause: MassLoss,
    /// Nodes that fell silent with it or since, also when they are lost by now: they are gone all the same.
    pub members: BTreeSet<NodeName>,
    /// When one of them was heard again last.
    returned_ms: Option<u64>,
    /// Write-offs of the last minute. Bounded by the rate.
    recent_ms: VecDeque<u64>,
    pub written_off: u64,
}

/// How nodes must be silent together to be counted together.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Longest time from the first to the last.
    span_ms: u64,
    /// The first must have been silent since then or earlier.
    first_ms: u64,
}

impl Window {
    /// At any time.
    const ANY: Self = Self { span_ms: u64::MAX, first_ms: u64::MAX };

    /// The most times that lie within one window.
    fn most(self, times: &[u64]) -> u64 {
        let mut times = times.to_vec();
        times.sort_unstable();
        let count = |(at, first): (usize, &u64)| {
            let end_ms = first.saturating_add(self.span_ms);
            times[at..].partition_point(|time| *time <= end_ms)
        };
        let windows = times.iter().enumerate().filter(|(_, first)| **first <= self.first_ms);
        windows.map(count).max().unwrap_or(0) as u64
    }
}

impl Brake {
    pub(super) fn new(cause: MassLoss, members: BTreeSet<NodeName>, now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            cause,
            members,
            returned_ms: None,
            recent_ms: VecDeque::new(),
            written_off: 0,
        }
    }

    /// Notes whether a member that is silent no more is heard, or only gone from the cell.
    pub(super) fn note_returns(
        &mut self,
        members: &BTreeSet<NodeName>,
        heard: impl Fn(&NodeName) -> bool,
        now_ms: u64,
    ) {
        if self.members.difference(members).any(heard) {
            self.returned_ms = Some(now_ms);
        }
    }

    /// What it is on for, while so many are silent and some of what stood and fell together comes back.
    pub(super) fn comes_back(&self, silent: usize, config: &HubConfig, now_ms: u64) -> Option<MassLoss> {
        let together = matches!(self.cause, MassLoss::Domain(_) | MassLoss::Shard(_));
        let lately = |at_ms: u64| now_ms.saturating_sub(at_ms) < config.silence_ms;
        let stays = together
            && silent as u64 >= u64::from(config.brake_nodes)
            && self.returned_ms.is_some_and(lately);
        stays.then(|| self.cause.clone())
    }

    /// Whether one more node may be written off now, which then is noted.
    pub(super) fn admits(&mut self, per_minute: u64, now_ms: u64) -> bool {
        let old = |at_ms: &u64| now_ms.saturating_sub(*at_ms) >= MINUTE_MS;
        while self.recent_ms.front().is_some_and(old) {
            self.recent_ms.pop_front();
        }
        let open = now_ms.saturating_sub(self.since_ms) >= MINUTE_MS;
        let room = (self.recent_ms.len() as u64) < per_minute;
        if open && room {
            self.recent_ms.push_back(now_ms);
            self.written_off = self.written_off.saturating_add(1);
        }
        open && room
    }
}

/// How many nodes a minute are written off while the brake is on: a share of the cell, at least one.
pub(super) fn per_minute(nodes: usize, config: &HubConfig) -> u64 {
    let share = (nodes as u64).saturating_mul(u64::from(config.write_off_permille_per_minute)) / 1_000;
    share.max(1)
}

/// Whether nodes that fell silent within one detection period, the first of them for that long by now, are so many that
/// the brake goes on.
pub(super) fn begins(
    seen: &[Seen<'_>],
    domain: impl Fn(&NodeName) -> Domain,
    config: &HubConfig,
    now_ms: u64,
) -> Option<MassLoss> {
    let first_ms = now_ms.checked_sub(config.silence_ms)?;
    mass_loss(seen, domain, config, Window { span_ms: config.silence_ms, first_ms })
}

/// Whether what is silent is still so much that the brake stays on.
pub(super) fn goes_on(
    seen: &[Seen<'_>],
    domain: impl Fn(&NodeName) -> Domain,
    config: &HubConfig,
) -> Option<MassLoss> {
    mass_loss(seen, domain, config, Window::ANY)
}

fn mass_loss(
    seen: &[Seen<'_>],
    domain: impl Fn(&NodeName) -> Domain,
    config: &HubConfig,
    window: Window,
) -> Option<MassLoss> {
    let many = u64::from(config.brake_nodes);
    let silent: Vec<u64> = seen.iter().filter_map(|node| node.silent_ms).collect();
    let together = window.most(&silent);
    if together < many {
        return None;
    }
    let share = u64::from(config.brake_share_permille);
    if together.saturating_mul(1_000) >= (seen.len() as u64).saturating_mul(share) {
        return Some(MassLoss::Share);
    }
    let whole = |group: &Group| group.heard == 0 && window.most(&group.silent_ms) >= many;
    let slice = slices(seen, config.silence_ms).into_iter().find(|(_, group)| whole(group));
    let domain = || domains(seen, domain).into_iter().find(|(_, group)| whole(group));
    slice
        .map(|(name, _)| MassLoss::Shard(name.clone()))
        .or_else(|| domain().map(|(values, _)| MassLoss::Domain(values)))
}

/// Nodes that stand and fall together.
#[derive(Debug, Default)]
struct Group {
    silent_ms: Vec<u64>,
    heard: u64,
}

impl Group {
    fn add(&mut self, node: &Seen<'_>) {
        match node.silent_ms {
            Some(silent_ms) => self.silent_ms.push(silent_ms),
            None => self.heard += 1,
        }
    }
}

/// The nodes of each shard. One that left the shard as the silence began and speaks through another was of its slice
/// too: where some got away the shard was the fault, and those that did not are few.
fn slices<'a>(seen: &'a [Seen<'a>], span_ms: u64) -> BTreeMap<&'a ShardName, Group> {
    let mut groups: BTreeMap<&ShardName, Group> = BTreeMap::new();
    for node in seen {
        if let Some(shard) = node.shard {
            groups.entry(shard).or_default().add(node);
        }
    }
    for node in seen.iter().filter(|node| node.silent_ms.is_none()) {
        let Some((shard, left_ms)) = node.before else { continue };
        let Some(group) = groups.get_mut(shard) else { continue };
        let began_ms = group.silent_ms.iter().min().copied();
        if began_ms.is_some_and(|began_ms| left_ms.saturating_add(span_ms) >= began_ms) {
            group.heard += 1;
        }
    }
    groups
}

/// The nodes of each failure domain; a narrow one is named with those around it.
fn domains(seen: &[Seen<'_>], domain: impl Fn(&NodeName) -> Domain) -> BTreeMap<Domain, Group> {
    let mut groups: BTreeMap<Domain, Group> = BTreeMap::new();
    for node in seen {
        let values = domain(node.name);
        let named = (0..values.len()).filter(|at| values[*at].is_some());
        for last in named {
            groups.entry(values[..=last].to_vec()).or_default().add(node);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(at: usize) -> NodeName {
        format!("n{at}").parse().expect("a name")
    }

    fn shard(name: &str) -> ShardName {
        name.parse().expect("a name")
    }

    /// What `begins` says of nodes that fell silent at these times, at 100 s; the detection period is 10 s.
    fn begun(silent: &[Option<u64>], domain: impl Fn(usize) -> Domain) -> Option<MassLoss> {
        let names: Vec<NodeName> = (0..silent.len()).map(name).collect();
        let seen: Vec<_> = names
            .iter()
            .zip(silent)
            .map(|(name, silent_ms)| Seen { name, silent_ms: *silent_ms, shard: None, before: None })
            .collect();
        let at = |wanted: &NodeName| names.iter().position(|name| name == wanted).expect("one of them");
        begins(&seen, |name| domain(at(name)), &HubConfig::default(), 100_000)
    }

    /// So many of so many fell silent at 50 s.
    fn together(silent: usize, of: usize) -> Option<MassLoss> {
        let nodes: Vec<_> = (0..of).map(|at| (at < silent).then_some(50_000)).collect();
        begun(&nodes, |_| Vec::new())
    }

    #[test]
    fn three_nodes_and_a_tenth_of_the_cell_are_a_mass_loss_and_less_is_none() {
        for (silent, of) in [(1, 1), (1, 4), (2, 2), (2, 4), (2, 20), (3, 31), (99, 1_000), (2_499, 25_000)] {
            assert_eq!(together(silent, of), None, "{silent} of {of}");
        }
        for (silent, of) in [(3, 3), (3, 4), (3, 30), (4, 40), (100, 1_000), (2_500, 25_000)] {
            assert_eq!(together(silent, of), Some(MassLoss::Share), "{silent} of {of}");
        }
    }

    #[test]
    fn nodes_count_together_within_one_detection_period() {
        let at = |times: [u64; 3]| {
            let mut nodes = vec![None; 10];
            nodes.extend(times.map(Some));
            begun(&nodes, |_| Vec::new())
        };
        assert_eq!(at([50_000, 55_000, 60_000]), Some(MassLoss::Share));
        assert_eq!(at([50_000, 55_000, 60_001]), None);
        assert_eq!(
            at([90_000, 95_000, 100_000]),
            Some(MassLoss::Share),
            "the first has been silent for a period"
        );
        assert_eq!(at([90_001, 95_000, 100_000]), None, "they may all be back in a moment");
    }

    #[test]
    fn a_whole_failure_domain_is_a_mass_loss_and_all_but_one_node_of_it_is_none() {
        let rack = |at: usize| vec![Some("east".to_owned()), Some((at / 3).to_string())];
        let mut nodes = vec![None; 60];
        nodes[3..6].fill(Some(50_000));
        let lost = MassLoss::Domain(vec![Some("east".to_owned()), Some("1".to_owned())]);
        assert_eq!(lost.to_string(), "all of failure domain east/1");
        assert_eq!(begun(&nodes, rack), Some(lost));
        assert_eq!(
            begun(&nodes, |at| vec![None, (at > 30).then(|| "x".to_owned())]),
            None,
            "in no domain at all"
        );
        nodes[5] = None;
        nodes[9] = Some(50_000);
        assert_eq!(begun(&nodes, rack), None, "three are silent, of two racks");
        let mut pair = vec![None; 60];
        pair[3..5].fill(Some(50_000));
        assert_eq!(
            begun(&pair, |at| vec![Some((at == 3 || at == 4).to_string())]),
            None,
            "two are never many"
        );
    }

    #[test]
    fn a_whole_slice_is_a_mass_loss_unless_some_of_it_got_away() {
        let (names, a, b): (Vec<NodeName>, _, _) = ((0..60).map(name).collect(), shard("a"), shard("b"));
        let slice = |before: Option<(&ShardName, u64)>| {
            let node = |(at, name)| {
                let silent_ms = (at < 3).then_some(50_000);
                let shard = Some(if at < 3 { &a } else { &b });
                Seen { name, silent_ms, shard, before: before.filter(|_| at == 7) }
            };
            let seen: Vec<_> = names.iter().enumerate().map(node).collect();
            begins(&seen, |_| Vec::new(), &HubConfig::default(), 100_000)
        };
        assert_eq!(slice(None), Some(MassLoss::Shard(a.clone())));
        assert_eq!(
            slice(Some((&a, 51_000))),
            None,
            "the shard died and one node moved: the others are on their own"
        );
        assert_eq!(slice(Some((&a, 39_999))), Some(MassLoss::Shard(a.clone())), "it moved long before");
    }

    #[test]
    fn the_brake_lets_one_share_a_minute_through_and_none_in_its_first_minute() {
        let config = HubConfig::default();
        assert_eq!([1, 99, 199, 200, 25_000].map(|nodes| per_minute(nodes, &config)), [1, 1, 1, 2, 250]);
        let mut brake = Brake::new(MassLoss::Share, BTreeSet::new(), 5_000);
        let mut admitted = Vec::new();
        for now_ms in (5_000..305_000).step_by(500) {
            while brake.admits(2, now_ms) {
                admitted.push(now_ms);
            }
        }
        assert_eq!(admitted, [65_000, 65_000, 125_000, 125_000, 185_000, 185_000, 245_000, 245_000]);
        assert_eq!(brake.written_off, 8);
    }
}
