//! A set of small numbers as bits: which calls lie behind a configuration.

/// Numbers from 0 up to a size fixed at the beginning. Sets of one size compare as their bits do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub(super) fn empty(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)].into())
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Whether all of these are in the other, which is of the same size.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine & !theirs == 0)
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_is_there_until_it_is_taken_out() {
        let mut bits = Bits::empty(130);
        for number in [0, 63, 64, 129] {
            bits.insert(number);
        }
        assert!(bits.contains(129) && bits.contains(64) && !bits.contains(128));
        bits.remove(64);
        let mut more = bits.clone();
        more.insert(100);
        assert!(bits.is_within(&more) && bits.is_within(&bits) && !more.is_within(&bits));
        assert!(!bits.contains(64) && bits.contains(63));
    }
}
