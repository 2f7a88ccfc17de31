//! Since when nobody can hear a node, as the world knows it, and what that lets the cell do.
//!
//! Two checkers, because the truth lies between two bounds. A node whose process is gone is silent for certain: only
//! those make a mass loss against which the brake is held. While anything is broken, and for a while after, any node may
//! be silent: only beyond that is a write-off called wrong, or too early.

use std::collections::BTreeSet;

use paceline_cell::CellConfig;
use paceline_verify::evictions::{Evictions, Rules, Violation};

/// How late a decision can be committed after it was made: elections and slow disks lie between.
const SLACK_MS: u64 = 5_000;
/// A connection that hangs from a cut is given up within 30 seconds, and is dialled again within ten more.
const CALM_MS: u64 = 45_000;
const MINUTE_MS: u64 = 60_000;

pub(super) struct Nodes {
    /// Silent for certain.
    gone: Evictions,
    /// Perhaps silent.
    doubtful: Evictions,
    names: BTreeSet<String>,
    powerless: BTreeSet<String>,
    down: BTreeSet<String>,
    /// Since when something is broken.
    broken_since: Option<u64>,
    /// Since when nothing is.
    whole_since: Option<u64>,
    /// A release whose outcome is not known: the brake may be off at any time from then on.
    brake_unknown: bool,
}

impl Nodes {
    pub fn new() -> Self {
        let config = CellConfig::default();
        let rules = Rules {
            detection: config.detection_ms,
            brake_nodes: u64::from(config.brake_nodes),
            brake_share_permille: u64::from(config.brake_share_permille),
            write_off_permille_per_minute: u64::from(config.write_off_permille_per_minute),
            minute: MINUTE_MS,
            slack: SLACK_MS,
        };
        // Whether there is a mass loss is for the other one to say.
        let never_braked = Rules { brake_nodes: u64::MAX, ..rules };
        Self {
            gone: Evictions::new(rules),
            doubtful: Evictions::new(never_braked),
            names: BTreeSet::new(),
            powerless: BTreeSet::new(),
            down: BTreeSet::new(),
            broken_since: None,
            whole_since: None,
            brake_unknown: false,
        }
    }

    pub fn leader(&mut self, at: u64) {
        self.gone.leader(at);
    }

    pub fn released(&mut self, at: u64, open: bool) {
        self.gone.released(at);
        self.brake_unknown |= open;
    }

    pub fn registered(&mut self, node: &str, now_ms: u64) {
        if self.names.insert(node.to_owned()) {
            self.gone.heard(node);
            self.doubtful.heard(node);
            if self.down.contains(node) {
                self.gone.silent(node, now_ms);
            }
            if let Some(since) = self.broken_since {
                self.doubtful.silent(node, since);
            }
        }
    }

    pub fn powerless(&mut self, node: &str) {
        self.powerless.insert(node.to_owned());
    }

    pub fn powered(&mut self, node: &str) {
        self.powerless.remove(node);
    }

    pub fn has_power(&self, node: &str) -> bool {
        !self.powerless.contains(node)
    }

    pub fn up(&mut self, node: &str, up: bool, now_ms: u64) {
        if up {
            self.down.remove(node);
        } else {
            self.down.insert(node.to_owned());
        }
        match up {
            _ if !self.names.contains(node) => {}
            true => self.gone.heard(node),
            false => self.gone.silent(node, now_ms),
        }
    }

    /// Whether anything is broken; to be told when that changes, and now and then.
    pub fn broken(&mut self, broken: bool, now_ms: u64) {
        if broken {
            self.whole_since = None;
            if self.broken_since.is_none() {
                self.broken_since = Some(now_ms);
                self.names.iter().for_each(|name| self.doubtful.silent(name, now_ms));
            }
        } else if self.broken_since.is_some() {
            let whole_since = *self.whole_since.get_or_insert(now_ms);
            if now_ms >= whole_since + CALM_MS {
                self.broken_since = None;
                self.names.iter().for_each(|name| self.doubtful.heard(name));
            }
        }
    }

    pub fn written_off(&mut self, node: &str, now_ms: u64, needed_ms: u64) -> Vec<Violation> {
        let early = self.doubtful.written_off(node, now_ms, needed_ms).err();
        let beyond = self.gone.written_off(node, now_ms, needed_ms).err();
        let beyond =
            beyond.filter(|found| matches!(found, Violation::BeyondTheBrake { .. }) && !self.brake_unknown);
        [early, beyond].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Nodes {
        let mut nodes = Nodes::new();
        (0..count).for_each(|number| nodes.registered(&format!("n{number}"), 0));
        nodes
    }

    #[test]
    fn a_write_off_in_a_whole_cell_and_one_too_early_are_found() {
        let mut whole = nodes(5);
        assert!(matches!(whole.written_off("n0", 90_000, 60_000)[..], [Violation::NotSilent { .. }]));
        let mut broken = nodes(5);
        broken.broken(true, 10_000);
        assert!(matches!(broken.written_off("n0", 40_000, 60_000)[..], [Violation::TooEarly { .. }]));
        assert_eq!(broken.written_off("n0", 70_000, 60_000), []);
    }

    #[test]
    fn what_was_broken_excuses_no_more_when_it_has_been_whole_for_long() {
        let mut nodes = nodes(5);
        nodes.broken(true, 10_000);
        nodes.broken(false, 20_000);
        nodes.broken(false, 64_000);
        assert_eq!(nodes.written_off("n0", 70_000, 60_000), []);
        nodes.broken(false, 65_000);
        assert!(matches!(nodes.written_off("n1", 71_000, 60_000)[..], [Violation::NotSilent { .. }]));
    }

    #[test]
    fn a_second_write_off_within_a_minute_of_a_mass_loss_is_found_unless_the_brake_was_released() {
        let lost = |mut nodes: Nodes| {
            nodes.broken(true, 10_000);
            for name in ["n0", "n1", "n2"] {
                nodes.up(name, false, 10_000);
            }
            nodes
        };
        let mut braked = lost(nodes(10));
        assert_eq!(braked.written_off("n0", 80_000, 60_000), []);
        assert!(matches!(braked.written_off("n1", 81_000, 60_000)[..], [Violation::BeyondTheBrake { .. }]));
        let mut released = lost(nodes(10));
        released.released(50_000, false);
        assert_eq!(released.written_off("n0", 80_000, 60_000), []);
        assert_eq!(released.written_off("n1", 81_000, 60_000), []);
    }
}
