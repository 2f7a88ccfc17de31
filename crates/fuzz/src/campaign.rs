//! One decoder against many inputs.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::meter::measured;
use crate::mutate::{Dice, mutate};

/// Inputs of one target in a plain test run: a second or two for all targets of a crate.
const RUNS_DEFAULT: u64 = 4_000;
/// Where the dice begin unless someone says otherwise.
const SEED_DEFAULT: u64 = 0x70ac_e11e;
/// Inputs that decoded and are changed further; at the bound a random one makes room.
const CORPUS_MAX: usize = 256;
/// What a decoder may allocate per byte of input: an empty message of two bytes becomes a structure of a few hundred
/// bytes, in a list that doubles as it grows.
const BYTES_PER_BYTE_DEFAULT: u64 = 1 << 10;
/// What a decoder may allocate for any input: errors with words, first blocks of lists.
const BYTES_ANYWAY: u64 = 64 << 10;

/// Fuzzes one decoder.
#[derive(Clone, Debug)]
pub struct Campaign {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    bytes_per_byte: u64,
    bytes_anyway: u64,
}

impl Campaign {
    /// A campaign that begins with these sound encodings.
    ///
    /// # Panics
    /// Without any: then nothing would ever decode.
    #[must_use]
    pub fn new(name: &'static str, sound: Vec<Vec<u8>>) -> Self {
        assert!(!sound.is_empty(), "{name}: a campaign begins with at least one sound encoding");
        let (bytes_per_byte, bytes_anyway) = (BYTES_PER_BYTE_DEFAULT, BYTES_ANYWAY);
        Self { name, corpus: sound, bytes_per_byte, bytes_anyway }
    }

    /// Another allowance for any input, where a decoder's own limits are what bounds it.
    #[must_use]
    pub fn allowing(self, bytes_anyway: u64) -> Self {
        Self { bytes_anyway, ..self }
    }

    /// Plays all inputs. `decode` gives nothing for what it refuses; `again` writes what was decoded and reads it back,
    /// and gives nothing where that fails.
    ///
    /// # Panics
    /// With the input, when the decoder panics, allocates too much, does not read what it wrote, or refuses one of the
    /// sound encodings.
    pub fn run<T: PartialEq + Debug>(
        mut self,
        decode: impl Fn(&[u8]) -> Option<T>,
        again: impl Fn(&T) -> Option<T>,
    ) {
        assert!(
            measured(|| drop(Vec::<u8>::with_capacity(1_000))).1 >= 1_000,
            "declare Meter as the allocator"
        );
        if let Some(input) = variable("PACELINE_FUZZ_INPUT") {
            self.play(&unhex(&input), &decode, &again);
            return;
        }
        let sound = self.corpus.clone();
        for input in &sound {
            assert!(
                self.play(input, &decode, &again),
                "{}: a sound encoding is refused: {}",
                self.name,
                hex(input)
            );
        }
        let mut dice = Dice::new(number("PACELINE_FUZZ_SEED").unwrap_or(SEED_DEFAULT));
        for _ in 0..number("PACELINE_FUZZ_RUNS").unwrap_or(RUNS_DEFAULT) {
            let mut input = self.corpus[dice.below(self.corpus.len())].clone();
            let other = dice.below(self.corpus.len());
            mutate(&mut input, &self.corpus[other], &mut dice);
            if self.play(&input, &decode, &again) {
                self.keep(input, sound.len(), &mut dice);
            }
        }
    }

    /// Whether the input was decoded; it is played so that a failure shows it.
    fn play<T: PartialEq + Debug>(
        &self,
        input: &[u8],
        decode: &impl Fn(&[u8]) -> Option<T>,
        again: &impl Fn(&T) -> Option<T>,
    ) -> bool {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let (decoded, bytes) = measured(|| decode(input));
            let most = self.bytes_anyway + self.bytes_per_byte * input.len() as u64;
            assert!(
                bytes <= most,
                "{bytes} bytes were allocated for {} bytes, at most {most} are",
                input.len()
            );
            let Some(value) = decoded else { return false };
            assert_eq!(again(&value).as_ref(), Some(&value), "what was written reads otherwise");
            true
        }));
        played.unwrap_or_else(|panic| {
            let again = format!("PACELINE_FUZZ_INPUT={}", hex(input));
            eprintln!("fuzz target {}: this input plays it again, alone:\n{again}", self.name);
            resume_unwind(panic)
        })
    }

    fn keep(&mut self, input: Vec<u8>, sound: usize, dice: &mut Dice) {
        if self.corpus.len() < sound + CORPUS_MAX {
            self.corpus.push(input);
        } else {
            let at = sound + dice.below(CORPUS_MAX);
            self.corpus[at] = input;
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: `{text}`: expected a whole number")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from their hexadecimal digits, as golden files and failures have them; white space is passed over.
///
/// # Panics
/// When there is anything else.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).expect("hexadecimal digits"))
        .collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits");
    assert!(digits.len().is_multiple_of(2), "two digits a byte");
    digits.chunks(2).map(byte).collect()
}
