//! How long to wait between tries: doubling, jittered, bounded.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The first pause: shorter than an election, so that a client is there when it ends.
const FIRST_MS: u64 = 20;

/// The longest pause of our own; a retry-after of the cell may be longer.
const LONGEST_MS: u64 = 500;

/// The longest pause that we let a cell ask for; a wrong number must not silence a client.
const ASKED_MS_MAX: u64 = 60_000;

/// A small generator (splitmix64): jitter needs to differ between clients, not to be unguessable.
#[derive(Debug)]
pub(crate) struct Jitter(Mutex<u64>);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A number below `bound`; 0 for 0.
    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

/// The pauses of one call.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    jitter: &'a Jitter,
    next_ms: u64,
}

impl<'a> Backoff<'a> {
    pub(crate) const fn new(jitter: &'a Jitter) -> Self {
        Self { jitter, next_ms: FIRST_MS }
    }

    /// The pauses after so many failures in a row.
    pub(crate) fn after(jitter: &'a Jitter, failures: u32) -> Self {
        let steps = failures.saturating_sub(1).min(LONGEST_MS.ilog2());
        Self { jitter, next_ms: (FIRST_MS << steps).min(LONGEST_MS) }
    }

    /// The next pause: between half and all of the current step, and no shorter than the cell asked for.
    pub(crate) fn pause(&mut self, asked_ms: u64) -> Duration {
        let step = self.next_ms;
        self.next_ms = (step * 2).min(LONGEST_MS);
        let own = step / 2 + self.jitter.below(step / 2 + 1);
        let asked = asked_ms.min(ASKED_MS_MAX);
        // Those who were told the same moment should not all come at it.
        let spread = if asked > own { asked + self.jitter.below(asked / 4 + 1) } else { own };
        Duration::from_millis(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_between_clients() {
        let pauses = |seed| {
            let jitter = Jitter::new(seed);
            let mut backoff = Backoff::new(&jitter);
            (0..8).map(|_| backoff.pause(0).as_millis()).collect::<Vec<_>>()
        };
        let first = pauses(1);
        for (pause, step) in first.iter().zip([20, 40, 80, 160, 320, 500, 500, 500]) {
            assert!((step / 2..=step).contains(pause), "{pause} of {step}");
        }
        assert_ne!(first, pauses(2));
    }

    #[test]
    fn a_cell_may_ask_for_longer_but_not_for_ever() {
        let jitter = Jitter::new(1);
        let mut backoff = Backoff::new(&jitter);
        assert!((1000..=1250).contains(&backoff.pause(1000).as_millis()));
        assert!(backoff.pause(u64::MAX).as_millis() <= 75_000);
    }
}
