//! Pauses between attempts: rising, jittered, from a seed.

use std::time::Duration;

/// First pause: a few times what an attempt at a living master takes.
const FIRST: Duration = Duration::from_millis(40);
/// Longest pause. A cell has few shards, and while they wait no order travels: an election takes about as long.
const LONGEST: Duration = Duration::from_millis(500);

/// Pauses that double up to a bound, each cut to between its half and its whole at random.
#[derive(Debug)]
pub(crate) struct Backoff {
    whole: Duration,
    state: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { whole: FIRST, state: seed }
    }

    /// What was tried succeeded.
    pub(crate) fn reset(&mut self) {
        self.whole = FIRST;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let half = self.whole / 2;
        let spread_us = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        let pause = half + Duration::from_micros(self.random() % spread_us);
        self.whole = (self.whole * 2).min(LONGEST);
        pause
    }

    /// splitmix64 (Steele, Lea and Flood, 2014): enough to keep shards from trying in step.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_rise_to_a_bound_and_start_low_again() {
        let mut backoff = Backoff::new(1);
        let pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] < FIRST);
        assert!(pauses[10..].iter().all(|pause| *pause >= LONGEST / 2 && *pause < LONGEST));
        backoff.reset();
        assert!(backoff.pause() < FIRST);
    }

    #[test]
    fn a_seed_repeats_its_pauses_and_another_does_not() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }
}
