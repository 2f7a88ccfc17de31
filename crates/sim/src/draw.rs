//! Seeded choices. Each part of a plan draws from a stream of its own, so that a new choice in one part does not change
//! what all others do under a known seed.

/// A stream of choices: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for a part with this name. The same name gives the same stream.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let folded =
            name.bytes().fold(self.0, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut stream = Self(folded);
        Self(stream.word())
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range from {low} to {high} is empty");
        match (high - low).checked_add(1) {
            // The bias of the remainder does not matter for choices of this size.
            Some(count) => low + self.word() % count,
            None => self.word(),
        }
    }

    /// A position among `count` things, of which there is at least one.
    pub fn position(&mut self, count: usize) -> usize {
        let last = count.checked_sub(1).expect("there is something to choose from");
        usize::try_from(self.between(0, last as u64)).expect("below a count of things in memory")
    }

    /// One of these, of which there is at least one.
    pub fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.position(things.len())].clone()
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.between(0, 999) < permille
    }

    /// Sixteen bytes, for ids.
    pub fn bytes(&mut self) -> [u8; 16] {
        let (low, high) = (self.word().to_le_bytes(), self.word().to_le_bytes());
        std::array::from_fn(|at| if at < 8 { low[at] } else { high[at - 8] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_parts_differ() {
        let drawn = |mut draw: Draw| std::array::from_fn::<u64, 8, _>(|_| draw.word());
        assert_eq!(drawn(Draw::new(7)), drawn(Draw::new(7)));
        assert_eq!(drawn(Draw::new(7).part("a")), drawn(Draw::new(7).part("a")));
        assert_ne!(drawn(Draw::new(7).part("a")), drawn(Draw::new(7).part("b")));
        assert_ne!(drawn(Draw::new(7)), drawn(Draw::new(8)));
    }

    #[test]
    fn a_range_yields_both_of_its_ends_and_nothing_beyond() {
        let mut draw = Draw::new(1);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| draw.between(3, 5)).collect();
        assert_eq!(drawn, [3, 4, 5].into());
        assert!((0..100).all(|_| draw.chance(1_000) && !draw.chance(0)));
    }
}
