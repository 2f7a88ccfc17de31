//! How many may watch at once: in all, and by caller. A watcher holds its seat until its stream ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_api::status_from;
use paceline_api::v1::{ErrorCode, ErrorDetail};
use parking_lot::Mutex;
use tonic::Status;

/// Watches of one master. Each looks at every revision, and holds a queue with a bound of its own.
const WATCHERS_MAX: usize = 512;
/// Watches of one caller, so that several others have room beside it.
const WATCHERS_PER_CALLER_MAX: usize = 64;
/// When to come again. Watches end when people end them; sooner than this nothing has changed.
const RETRY_MS: u64 = 2_000;

/// The seats of a master, taken ones by caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers(Arc<Mutex<BTreeMap<String, usize>>>);

/// One watcher's seat; free again when it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Seat {
    watchers: Watchers,
    caller: String,
}

impl Watchers {
    pub(in crate::api) fn admit(&self, caller: &str) -> Result<Seat, Status> {
        let mut taken = self.0.lock();
        let (all, own) = (taken.values().sum::<usize>(), taken.get(caller).copied().unwrap_or_default());
        if own >= WATCHERS_PER_CALLER_MAX {
            return Err(overloaded(format!(
                "{caller} has {own} watches open at this master, and {WATCHERS_PER_CALLER_MAX} are allowed: end one of them"
            )));
        }
        if all >= WATCHERS_MAX {
            return Err(overloaded(format!(
                "{all} watches are open at this master, which is its limit: ask again later"
            )));
        }
        taken.insert(caller.to_owned(), own + 1);
        Ok(Seat { watchers: self.clone(), caller: caller.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.watchers.0.lock();
        match taken.get(&self.caller).map_or(0, |own| own - 1) {
            0 => taken.remove(&self.caller),
            own => taken.insert(self.caller.clone(), own),
        };
    }
}

fn overloaded(message: String) -> Status {
    status_from(ErrorDetail {
        code: ErrorCode::Overloaded.into(),
        message,
        retry_after_ms: RETRY_MS,
        ..ErrorDetail::default()
    })
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
        assert!(watchers.0.lock().is_empty());
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
