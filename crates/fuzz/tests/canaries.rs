//! A campaign catches what it is for: decoders with each of the faults are caught, and a sound one is not.

use std::panic::catch_unwind;

use paceline_fuzz::{Campaign, Meter};

#[global_allocator]
static METER: Meter = Meter;

/// A length, and as many bytes.
fn sound(input: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = input.split_first()?;
    (rest.len() == usize::from(*length)).then(|| rest.to_vec())
}

fn write(value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("as it was read");
    [&[length], value].concat()
}

fn caught(decode: impl Fn(&[u8]) -> Option<Vec<u8>>, write: impl Fn(&[u8]) -> Vec<u8>) -> bool {
    let campaign = Campaign::new("canary", vec![vec![3, 1, 2, 3]]);
    let run = || campaign.run(&decode, |value| decode(&write(value)));
    catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
}

#[test]
fn a_sound_decoder_passes() {
    assert!(!caught(sound, write));
}

#[test]
fn a_decoder_that_panics_is_caught() {
    let trusting = |input: &[u8]| {
        let (length, rest) = input.split_first()?;
        Some(rest[..usize::from(*length)].to_vec())
    };
    assert!(caught(trusting, write));
}

#[test]
fn a_decoder_that_believes_a_length_is_caught() {
    let greedy = |input: &[u8]| {
        let length = u32::from_le_bytes(input.get(..4)?.try_into().ok()?);
        let room = Vec::<u8>::with_capacity(length.min(1 << 24) as usize);
        (room.capacity() == 0).then_some(room)
    };
    let campaign = Campaign::new("canary", vec![vec![0; 4]]);
    let run = || campaign.run(greedy, |_| Some(Vec::new()));
    assert!(catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}

#[test]
fn a_writer_that_forgets_something_is_caught() {
    let forgetful = |value: &[u8]| write(if value.len() > 5 { &value[..5] } else { value });
    assert!(caught(sound, forgetful));
}

#[test]
fn a_decoder_that_refuses_what_is_sound_is_caught() {
    assert!(caught(|_| None, write));
}
