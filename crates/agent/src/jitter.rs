//! Randomness for waiting times, from a seed: splitmix64. Never for anything that must not be guessed.

#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly from half to all of a period.
    pub(crate) fn upper_half_ms(&mut self, period_ms: u64) -> u64 {
        let half = period_ms / 2;
        half + self.below(period_ms - half + 1)
    }

    /// Evenly from zero up to, not including, a bound above zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let product = u128::from(z ^ (z >> 31)) * u128::from(bound.max(1));
        u64::try_from(product >> 64).expect("the upper half of a product is below its factors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_waits_the_same_times_and_they_stay_in_the_upper_half() {
        let (mut one, mut other) = (Jitter::new(7), Jitter::new(7));
        let waits: Vec<_> = (0..1_000).map(|_| one.upper_half_ms(100)).collect();
        assert!(waits.iter().all(|wait| (50..=100).contains(wait)));
        assert!(waits.contains(&50) && waits.contains(&100));
        assert!((0..1_000).all(|at| other.upper_half_ms(100) == waits[at]));
    }
}
