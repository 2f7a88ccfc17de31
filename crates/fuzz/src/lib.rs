//! Fuzzing of decoders, on the stable compiler and within `cargo test`.
//!
//! A [`Campaign`] takes sound encodings of one decoder, changes them in ways that break formats (bits, lengths,
//! varints, numbers in text, pieces left out, doubled or taken from elsewhere), and keeps what still decodes as a
//! start for more. Of every input it holds: the decoder does not panic; it does not allocate more than a small
//! multiple of the input; and what it read reads the same after it was written again.
//!
//! The same seed makes the same inputs, so the short run in the tests never fails by chance. A longer run is the same
//! test with `PACELINE_FUZZ_RUNS=1000000`, another one with `PACELINE_FUZZ_SEED=7`; a failure prints the input, which
//! `PACELINE_FUZZ_INPUT=HEX` plays alone.
//!
//! It knows no format: each crate has its targets in its own tests. A test binary that fuzzes declares [`Meter`] as
//! its global allocator; without it a campaign refuses to run.

mod campaign;
mod meter;
mod mutate;

pub use campaign::{Campaign, unhex};
pub use meter::Meter;
