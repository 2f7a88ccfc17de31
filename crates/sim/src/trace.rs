//! What happened, in order: counted, folded into one digest, and printed where somebody reads along.
//!
//! The digest takes in every event and every byte that crossed the simulated network, with its time and its ends, so two
//! runs with equal digests did the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock;
use crate::points::Simulation;

/// The trace of one run. Clones are the same trace.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    shown: bool,
    digest: u64,
    counts: BTreeMap<&'static str, u64>,
    /// The simulation whose points can be reached; any simulation's, where a part is tried alone.
    simulation: Option<Simulation>,
    points: BTreeSet<&'static str>,
    violations: Vec<String>,
}

/// FNV-1a's basis and prime: a digest against accidents, not against people.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// Violations of one check that are kept: the first ones tell, and one run can repeat itself at every tick. Checks are few.
const VIOLATIONS_MAX: usize = 5;

impl State {
    fn fold(&mut self, bytes: &[u8]) {
        self.digest =
            bytes.iter().fold(self.digest, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME));
    }
}

impl Trace {
    /// An empty trace of a part that is tried alone; `shown` prints each event to stderr.
    #[must_use]
    pub fn new(shown: bool) -> Self {
        Self::begin(None, shown)
    }

    /// The empty trace of a run of this simulation.
    #[must_use]
    pub fn of(simulation: Simulation, shown: bool) -> Self {
        Self::begin(Some(simulation), shown)
    }

    fn begin(simulation: Option<Simulation>, shown: bool) -> Self {
        let (counts, points) = (BTreeMap::new(), BTreeSet::new());
        let state = State { shown, digest: BASIS, counts, simulation, points, violations: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Something happened at or to `who`.
    pub fn event(&self, who: &str, what: impl fmt::Display) {
        let mut state = self.0.lock();
        let line = format!("{} {who:<4} {what}", clock::shown(clock::now_ms()));
        state.fold(line.as_bytes());
        if state.shown {
            eprintln!("{line}");
        }
    }

    /// Counts something for the summary.
    pub fn count(&self, what: &'static str, by: u64) {
        *self.0.lock().counts.entry(what).or_default() += by;
    }

    /// A point that a sweep must reach in some of its seeds was reached; its words stand in the simulation's table.
    pub fn sometimes(&self, point: &'static str) {
        let known = |simulation: Simulation| simulation.points().contains(&point);
        let mut state = self.0.lock();
        let is_known = state.simulation.map_or_else(|| Simulation::ALL.into_iter().any(known), known);
        let is_new = state.points.insert(point);
        drop(state);
        if is_new && !is_known {
            self.violation("points-are-known", format_args!("`{point}` stands in no table of `points`"));
        }
    }

    /// Something that may never be so is so.
    pub fn violation(&self, check: &str, what: impl fmt::Display) {
        self.event(check, format_args!("VIOLATION: {what}"));
        let mut state = self.0.lock();
        let told = state.violations.iter().filter(|text| text.split(':').next() == Some(check)).count();
        if told < VIOLATIONS_MAX {
            state.violations.push(format!("{check}: {what}"));
        }
    }

    /// Bytes left one end of a connection for the other.
    pub fn bytes(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.0.lock();
        for end in [from, to] {
            match end.ip() {
                IpAddr::V4(host) => state.fold(&host.octets()),
                IpAddr::V6(host) => state.fold(&host.octets()),
            }
            state.fold(&end.port().to_le_bytes());
        }
        let length = bytes.len() as u64;
        state.fold(&clock::now_ms().to_le_bytes());
        state.fold(&length.to_le_bytes());
        state.fold(&crc32c::crc32c(bytes).to_le_bytes());
        *state.counts.entry("net_bytes").or_default() += length;
        *state.counts.entry("net_writes").or_default() += 1;
    }

    /// What was violated so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.0.lock().violations.clone()
    }

    /// Digest of all so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.lock().digest
    }

    /// The counts by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().counts.clone()
    }

    /// The points that were reached.
    #[must_use]
    pub fn points(&self) -> BTreeSet<&'static str> {
        self.0.lock().points.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_no_table_and_one_of_the_other_simulation_are_violations_and_said_once() {
        let trace = Trace::of(Simulation::Cell, false);
        trace.sometimes("all masters were down at once");
        assert_eq!(trace.violations(), Vec::<String>::new());
        for _ in 0..2 {
            trace.sometimes("a master left");
        }
        assert_eq!(trace.violations(), ["points-are-known: `a master left` stands in no table of `points`"]);
        let trace = Trace::new(false);
        trace.sometimes("a master left");
        assert_eq!(trace.violations(), Vec::<String>::new());
        trace.sometimes("somebody came by");
        assert_eq!(trace.violations().len(), 1);
    }
}
