//! Cgroups that wait for the next attempts with the same limits, because to make and remove them is a third of what a
//! short task costs its supervisor.
//!
//! A set of groups is called after the attempt that it was made for. The supervisor leaves it only as it would be new
//! (no process in it, no kill for memory counted, next to no memory charged), and whatever is missing is made again, so
//! that here only names are kept. Which name a running attempt has stands in its intent, for the next agent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use paceline_supervisor::KeptGroups;
use paceline_types::AttemptId;

/// Sets that wait, of all limits together: more than attempts are started and forgotten at the same time. At the bound
/// the one that waits longest goes.
const WAITING_MAX: usize = 128;

/// What may be left charged to a group of this limit: a part that no task notices.
const LEFT_PER_LIMIT: u64 = 32;
/// The same where the limit is so small that what the kernel holds in advance hides it.
const LEFT_PER_LIMIT_MAX: u64 = 8;

/// The kernel charges a group for so much in advance on each CPU, 64 pages, and takes it back when the limit is near.
const IN_ADVANCE_BYTES: u64 = 256 * 1024;

/// What the groups of a set are limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nothing where there is no group for it.
    pub memory_bytes: Option<u64>,
    /// Nothing where there is no group for it.
    pub cpu_weight_milli: Option<u64>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Those that wait, the longest first.
    waiting: VecDeque<(Limits, String)>,
    /// Those in use; without limits they are not to be used again.
    given: BTreeMap<AttemptId, (Option<Limits>, String)>,
    /// Names are used once at a time.
    number: u64,
}

/// The sets of this node.
#[derive(Debug)]
pub struct Shelves {
    in_advance_bytes: u64,
    shelf: Mutex<Shelf>,
}

impl Shelves {
    /// None yet.
    pub fn new() -> Self {
        let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        Self { in_advance_bytes: IN_ADVANCE_BYTES.saturating_mul(cpus), shelf: Mutex::default() }
    }

    /// A set for an attempt, the one of an earlier attempt with these limits if there is one.
    pub fn take(&self, attempt: AttemptId, limits: Limits) -> KeptGroups {
        let mut shelf = self.shelf();
        // The last one: what it needs in the kernel's caches is still there.
        let found = shelf.waiting.iter().rposition(|(of, _)| *of == limits);
        let name = match found.and_then(|at| shelf.waiting.remove(at)) {
            Some((_, name)) => name,
            None => shelf.new_name(attempt),
        };
        shelf.given.insert(attempt, (Some(limits), name.clone()));
        KeptGroups { name, left_bytes_max: self.left_bytes_max(limits.memory_bytes.unwrap_or(0)) }
    }

    /// The name of a set that only this attempt will use.
    pub fn take_own(&self, attempt: AttemptId) -> String {
        let mut shelf = self.shelf();
        let name = shelf.new_name(attempt);
        shelf.given.insert(attempt, (None, name.clone()));
        name
    }

    /// An attempt has this one, whatever it was given: its order is of an earlier agent.
    pub fn inherit(&self, attempt: AttemptId, name: String) {
        let mut shelf = self.shelf();
        shelf.waiting.retain(|(_, waiting)| *waiting != name);
        let given = shelf.given.insert(attempt, (None, name.clone()));
        if let Some((Some(limits), unused)) = given
            && unused != name
        {
            shelf.waiting.push_back((limits, unused));
        }
    }

    /// The attempt is gone. Gives the name of a set that is to be removed: this one unless it may be used again, or
    /// another one.
    pub fn give_back(&self, attempt: &AttemptId, may_wait: bool) -> Option<String> {
        let mut shelf = self.shelf();
        let (limits, name) = shelf.given.remove(attempt)?;
        let Some(limits) = limits.filter(|_| may_wait) else { return Some(name) };
        shelf.waiting.push_back((limits, name));
        let too_many = shelf.waiting.len() > WAITING_MAX;
        too_many.then(|| shelf.waiting.pop_front()).flatten().map(|(_, name)| name)
    }

    /// Takes all that wait off the shelf, to be removed.
    pub fn clear(&self) -> impl Iterator<Item = String> {
        std::mem::take(&mut self.shelf().waiting).into_iter().map(|(_, name)| name)
    }

    fn left_bytes_max(&self, limit: u64) -> u64 {
        (limit / LEFT_PER_LIMIT).saturating_add(self.in_advance_bytes).min(limit / LEFT_PER_LIMIT_MAX)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing between two changes can panic.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// The attempt's own, unless that one is in use: an attempt can be launched again after it was forgotten.
    fn new_name(&mut self, attempt: AttemptId) -> String {
        let own = attempt.to_string();
        let waiting = self.waiting.iter().map(|(_, name)| name);
        let mut taken = waiting.chain(self.given.values().map(|(_, name)| name));
        if taken.all(|name| *name != own) {
            return own;
        }
        self.number += 1;
        format!("{own}.{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { memory_bytes: Some(8 << 20), cpu_weight_milli: Some(10) };
    const LARGE: Limits = Limits { memory_bytes: Some(1 << 30), cpu_weight_milli: Some(10) };

    fn attempt(task: usize) -> AttemptId {
        format!("42-0.{task}.1").parse().unwrap()
    }

    #[test]
    fn the_next_attempt_with_the_same_limits_gets_the_groups_of_the_first() {
        let shelves = Shelves::new();
        assert_eq!(shelves.take(attempt(1), SMALL).name, "42-0.1.1");
        assert_eq!(shelves.take(attempt(2), SMALL).name, "42-0.2.1", "the first is in use");
        assert_eq!(shelves.give_back(&attempt(1), true), None);
        assert_eq!(shelves.take(attempt(3), LARGE).name, "42-0.3.1", "its limits are others");
        assert_eq!(shelves.take(attempt(4), SMALL).name, "42-0.1.1");
        assert_eq!(
            shelves.take(attempt(1), SMALL).name,
            "42-0.1.1.1",
            "launched again while another has its name"
        );
    }

    #[test]
    fn what_must_not_be_used_again_is_to_be_removed() {
        let shelves = Shelves::new();
        shelves.take(attempt(1), SMALL);
        assert_eq!(shelves.give_back(&attempt(1), false), Some("42-0.1.1".to_owned()));
        assert_eq!(shelves.take_own(attempt(2)), "42-0.2.1");
        assert_eq!(shelves.give_back(&attempt(2), true), Some("42-0.2.1".to_owned()));
        shelves.inherit(attempt(3), "42-0.9.1".to_owned());
        assert_eq!(shelves.give_back(&attempt(3), true), Some("42-0.9.1".to_owned()));
        assert_eq!(shelves.give_back(&attempt(3), true), None, "it was given back before");
        assert_eq!(shelves.clear().count(), 0);
    }

    #[test]
    fn groups_that_an_attempt_turns_out_not_to_have_wait_for_the_next() {
        let shelves = Shelves::new();
        shelves.take(attempt(1), SMALL);
        shelves.inherit(attempt(1), "42-0.9.1".to_owned());
        assert_eq!(shelves.take(attempt(2), SMALL).name, "42-0.1.1");
    }

    #[test]
    fn groups_that_an_attempt_turns_out_to_have_serve_nobody_else() {
        let shelves = Shelves::new();
        shelves.take(attempt(1), SMALL);
        shelves.inherit(attempt(1), "42-0.1.1".to_owned());
        assert_eq!(shelves.take(attempt(2), SMALL).name, "42-0.2.1", "those that it was given are its own");
        shelves.give_back(&attempt(2), true);
        shelves.inherit(attempt(3), "42-0.2.1".to_owned());
        assert_eq!(shelves.take(attempt(4), SMALL).name, "42-0.4.1", "those that waited do so no more");
    }

    #[test]
    fn at_the_bound_the_one_that_waits_longest_goes() {
        let shelves = Shelves::new();
        (0..=WAITING_MAX).for_each(|task| drop(shelves.take(attempt(task), SMALL)));
        let removed: Vec<_> =
            (0..=WAITING_MAX).filter_map(|task| shelves.give_back(&attempt(task), true)).collect();
        assert_eq!(removed, ["42-0.0.1"]);
        assert_eq!(shelves.clear().count(), WAITING_MAX);
    }

    #[test]
    fn a_small_limit_leaves_little_to_the_next() {
        let shelves = Shelves { in_advance_bytes: 2 * IN_ADVANCE_BYTES, shelf: Mutex::default() };
        let left = [0, 1 << 20, 8 << 20, 1 << 30].map(|limit| shelves.left_bytes_max(limit) >> 10);
        assert_eq!(left, [0, 128, 768, 33_280]);
    }
}
