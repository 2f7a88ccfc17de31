//! How many may watch at once: in all, and by caller. A watcher holds its seat until its stream ends.

use paceline_identity::{Full, PerCaller, Share};
use tonic::Status;

use crate::refuse;

/// Watches of one master. Each looks at every revision, and holds a queue with a bound of its own.
const WATCHERS_MAX: usize = 512;
/// Watches of one caller, so that several others have room beside it.
const WATCHERS_PER_CALLER_MAX: usize = 64;
/// When to come again. Watches end when people end them; sooner than this nothing has changed.
const RETRY_MS: u64 = 2_000;

/// The seats of a master, taken ones by caller.
#[derive(Clone, Debug)]
pub(crate) struct Watchers(PerCaller<String>);

/// One watcher's seat; free again when it is dropped.
pub(in crate::api) type Seat = Share<String>;

impl Default for Watchers {
    fn default() -> Self {
        Self(PerCaller::new(WATCHERS_PER_CALLER_MAX, WATCHERS_MAX))
    }
}

impl Watchers {
    pub(in crate::api) fn admit(&self, caller: &str) -> Result<Seat, Status> {
        self.0.take(caller.to_owned(), 1).map_err(|full| {
            let message = match full {
                Full::Own { has, most } => format!(
                    "{caller} has {has} watches open at this master, and {most} are allowed: end one of them"
                ),
                Full::All { most } => {
                    format!("{most} watches are open at this master, which is its limit: ask again later")
                }
            };
            refuse::overloaded(message, RETRY_MS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_with_many_watches_leaves_room_for_others_and_gets_its_own_back() {
        let watchers = Watchers::default();
        let admit = |caller: &str| watchers.admit(caller);
        let mut own: Vec<Seat> = (0..WATCHERS_PER_CALLER_MAX).map(|_| admit("a").expect("room")).collect();
        let refused = admit("a").expect_err("its own bound").to_string();
        assert!(refused.contains("a has 64 watches"), "{refused}");
        let other = admit("b").expect("room");
        own.pop();
        own.push(admit("a").expect("one was freed"));
        drop((own, other));
        assert_eq!(watchers.0.taken(), 0);
    }

    #[test]
    fn all_watches_together_are_bounded() {
        let watchers = Watchers::default();
        let seats: Vec<Seat> =
            (0..WATCHERS_MAX).map(|at| watchers.admit(&format!("c{}", at / 60)).expect("room")).collect();
        assert!(watchers.admit("late").expect_err("full").message().contains("512"));
        drop(seats);
        assert!(watchers.admit("late").is_ok());
    }
}
