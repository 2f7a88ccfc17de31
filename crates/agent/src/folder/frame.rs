//! Checksummed frames in a file, each bound to the one before.
//!
//! ```text
//! length u32 · its complement u32 · crc32c u32 (of the payload, continued from the frame before) · payload
//! ```
//!
//! A file may end in the middle of a frame, because an agent can be killed in the middle of a write: such a
//! tail was never acted upon and is dropped. Everything else that does not hold is damage: the complement
//! tells a tail that is short from a length that is wrong.

/// What the first frame of a file is bound to.
pub(super) const CHAIN_START: u32 = 0;

const HEADER_BYTES: usize = 12;

/// What a file holds.
pub(super) struct Frames {
    pub(super) payloads: Vec<Vec<u8>>,
    /// Bytes of an unfinished frame at the end.
    pub(super) torn_bytes: usize,
}

/// Why a file is not a row of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameFault {
    #[error("the length of the record at byte {0} does not hold")]
    Length(usize),
    #[error("the checksum of the record at byte {0} does not hold")]
    Checksum(usize),
}

/// Appends a frame and returns what the next one is bound to.
pub(super) fn append(bytes: &mut Vec<u8>, chain: u32, payload: &[u8]) -> u32 {
    let length = u32::try_from(payload.len()).expect("records stay far below 4 GiB");
    let checksum = crc32c::crc32c_append(chain, payload);
    for word in [length, !length, checksum] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    checksum
}

/// Takes a file apart.
pub(super) fn read(bytes: &[u8]) -> Result<Frames, FrameFault> {
    let mut frames = Frames { payloads: Vec::new(), torn_bytes: 0 };
    let (mut at, mut chain) = (0, CHAIN_START);
    while at < bytes.len() {
        let Some((payload, checksum)) = read_at(bytes, at, chain)? else {
            frames.torn_bytes = bytes.len() - at;
            break;
        };
        frames.payloads.push(payload.to_vec());
        chain = checksum;
        at += HEADER_BYTES + payload.len();
    }
    Ok(frames)
}

/// The first payload alone, if the file holds all of it.
pub(super) fn read_first(bytes: &[u8]) -> Result<Option<&[u8]>, FrameFault> {
    Ok(read_at(bytes, 0, CHAIN_START)?.map(|(payload, _)| payload))
}

/// The frame at a position and its checksum; nothing when the file ends before the frame does.
fn read_at(bytes: &[u8], at: usize, chain: u32) -> Result<Option<(&[u8], u32)>, FrameFault> {
    let Some((header, body)) = bytes[at..].split_at_checked(HEADER_BYTES) else { return Ok(None) };
    let (length, checksum) = header_of(header).ok_or(FrameFault::Length(at))?;
    let Some(payload) = body.get(..length) else { return Ok(None) };
    if crc32c::crc32c_append(chain, payload) != checksum {
        return Err(FrameFault::Checksum(at));
    }
    Ok(Some((payload, checksum)))
}

fn header_of(header: &[u8]) -> Option<(usize, u32)> {
    let mut words =
        header.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let (length, complement, checksum) = (words.next()?, words.next()?, words.next()?);
    (length == !complement).then_some((length as usize, checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chain = CHAIN_START;
        for payload in [&b"first"[..], b"", b"third"] {
            chain = append(&mut bytes, chain, payload);
        }
        bytes
    }

    #[test]
    fn frames_read_back() {
        let bytes = file();
        let frames = read(&bytes).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(frames.payloads, [&b"first"[..], b"", b"third"]);
        assert_eq!(read_first(&bytes), Ok(Some(&b"first"[..])));
        assert_eq!(read_first(&bytes[..3]), Ok(None));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let whole = file();
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(read(&bytes).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_tail_that_was_not_written_to_its_end_is_dropped() {
        let whole = file();
        let second_ends = 2 * HEADER_BYTES + 5;
        for end in second_ends + 1..whole.len() {
            let frames = read(&whole[..end]).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!((frames.payloads.len(), frames.torn_bytes), (2, end - second_ends));
        }
    }

    #[test]
    fn a_frame_that_was_taken_out_is_missed() {
        let mut chain = CHAIN_START;
        let mut frames = [b"first", b"other", b"third"].map(|payload| {
            let mut bytes = Vec::new();
            chain = append(&mut bytes, chain, payload);
            bytes
        });
        assert!(read(&frames.concat()).is_ok());
        frames[1].clear();
        assert!(read(&frames.concat()).is_err());
    }
}
