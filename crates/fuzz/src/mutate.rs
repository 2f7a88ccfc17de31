//! Ways to break an encoding.

/// Longest input: long enough for a format's every part, short enough for thousands of runs a second.
pub(crate) const INPUT_BYTES_MAX: usize = 16 << 10;
/// Most changes to one input.
const CHANGES_MAX: u64 = 6;
/// Longest piece that is left out, doubled or taken from elsewhere.
const PIECE_BYTES_MAX: usize = 64;

/// Numbers at which lengths and counts go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// SplitMix64 (Steele, Lea and Flood, OOPSLA'14): small, and good enough to choose with.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`; zero when that is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).expect("it is below a usize")
    }

    fn number(&mut self) -> u64 {
        if self.below(4) == 0 { self.next() } else { NUMBERS[self.below(NUMBERS.len())] }
    }
}

/// Changes an input in a few places; `other` is where pieces are taken from.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let changes = 1 + dice.next() % CHANGES_MAX;
    (0..changes).for_each(|_| change(input, other, dice));
    input.truncate(INPUT_BYTES_MAX);
}

fn change(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(input.len());
    match dice.below(11) {
        0 | 1 => flip(input, at, dice),
        2 => set(input, at, dice),
        3 => drop(input.drain(piece(input.len(), dice))),
        4 => input.truncate(at),
        5 => insert(input, at, &varint(dice.number())),
        6 => overwrite(input, at, dice),
        7 => {
            let piece = input[piece(input.len(), dice)].to_vec();
            insert(input, at, &piece);
        }
        8 => insert(input, at, &other[piece(other.len(), dice)]),
        9 => digits(input, at, dice),
        _ => {
            let noise: Vec<u8> = (0..=dice.below(8)).map(|_| dice.next().to_le_bytes()[0]).collect();
            insert(input, at, &noise);
        }
    }
}

fn flip(input: &mut [u8], at: usize, dice: &mut Dice) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

fn set(input: &mut [u8], at: usize, dice: &mut Dice) {
    let value = dice.number().to_le_bytes()[0];
    if let Some(byte) = input.get_mut(at) {
        *byte = value;
    }
}

/// A whole number in one of the ways that formats have them, over what stands there.
fn overwrite(input: &mut [u8], at: usize, dice: &mut Dice) {
    let number = dice.number();
    let width = [2, 4, 8][dice.below(3)];
    let bytes = if dice.below(2) == 0 {
        number.to_le_bytes()[..width].to_vec()
    } else {
        number.to_be_bytes()[8 - width..].to_vec()
    };
    let end = input.len().min(at + width);
    input[at..end].copy_from_slice(&bytes[..end - at]);
}

/// A number in text, where there is one at or behind this place.
fn digits(input: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(first) = input[at..].iter().position(u8::is_ascii_digit).map(|more| at + more) else { return };
    let end = input[first..].iter().position(|byte| !byte.is_ascii_digit());
    let end = end.map_or(input.len(), |more| first + more);
    input.splice(first..end, dice.number().to_string().into_bytes());
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn piece(length: usize, dice: &mut Dice) -> std::ops::Range<usize> {
    let first = dice.below(length);
    let span = dice.below(PIECE_BYTES_MAX + 1).min(length - first);
    first..first + span
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_none_is_too_long() {
        let play = |seed| {
            let mut dice = Dice::new(seed);
            let mut input = b"length 17, name abc".to_vec();
            let mut seen = Vec::new();
            for _ in 0..2_000 {
                mutate(&mut input, b"other 42", &mut dice);
                assert!(input.len() <= INPUT_BYTES_MAX);
                seen.push(input.clone());
            }
            seen
        };
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
    }

    #[test]
    fn nothing_is_changed_as_well_as_something() {
        let mut dice = Dice::new(3);
        for _ in 0..2_000 {
            mutate(&mut Vec::new(), &[], &mut dice);
        }
    }

    #[test]
    fn varints_are_written_as_protobuf_has_them() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(300), [0xac, 2]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}
