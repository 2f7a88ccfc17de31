//! What a power cut may leave at the end of a RocksDB log file, and RocksDB would take for damage; and the reverse.
//!
//! Its write-ahead logs and manifests are sequences of records. It accepts an end that is cut short. It refuses one whose
//! length is on the disk and of whose last write some pages are not, although that is no damage; such an end is cut off
//! here. And where a header in the middle is zeros it passes over the rest of the block without a word, although that is
//! damage; such a file is refused here. Both happens before RocksDB opens the folder.
//!
//! An end is cut off only if a record is damaged by zeros up to the bound of a page or to the end of the file, as a page
//! leaves them that was never written, and no record begins behind it. What was acknowledged was synced, so it does not
//! end like that. Where a disk did this to a record that had been acknowledged, the log is held against the high-water
//! mark and the history against the snapshot, as after any other loss.
//!
//! ```text
//!  file    blocks of 32 KiB; a record does not cross a block, a longer one is split into fragments
//!  record  checksum u32  length u16  type u8  content        type: 1 whole, 2 first, 3 middle, 4 last
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

/// Blocks of a log file.
const BLOCK_BYTES: usize = 32 * 1024;
/// Before the content of a record.
const HEADER_BYTES: usize = 7;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What a file system writes back whole or not at all.
const PAGE_BYTES: usize = 4096;
/// The largest write that can be torn: a group commit with room to spare. Damage farther from the end is damage.
const TORN_BYTES: usize = 16 * 1024 * 1024;
/// RocksDB rotates its checksums by this and adds that, so that a checksum of checksums is not special.
const MASK_DELTA: u32 = 0xa282_ead8;

const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// A log file that is damaged elsewhere than at a torn end.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its name.
    pub file: String,
    /// Where the damage begins.
    pub at: usize,
}

/// What a log file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// RocksDB reads it, as far as it goes.
    Readable,
    /// It is to be cut to this length.
    Torn(usize),
    /// A record here is damaged.
    Damaged(usize),
}

/// Cuts off the torn ends of the log files in a database's folder. Returns the names of those that it changed.
pub fn cut_torn_tails(folder: &Path) -> io::Result<Result<Vec<String>, Damaged>> {
    let mut changed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.ends_with(".log") || name.starts_with("MANIFEST-")) {
            continue;
        }
        match examine(&fs::read(entry.path())?) {
            State::Readable => {}
            State::Damaged(at) => return Ok(Err(Damaged { file: name, at })),
            State::Torn(length) => {
                let file = OpenOptions::new().write(true).open(entry.path())?;
                file.set_len(length as u64)?;
                file.sync_all()?;
                changed.push(name);
            }
        }
    }
    Ok(Ok(changed))
}

fn examine(content: &[u8]) -> State {
    let mut at = 0;
    // Where the record begins of which fragments were read and the last was not.
    let mut begun = None;
    while at < content.len() {
        let rest_of_block = BLOCK_BYTES - at % BLOCK_BYTES;
        if rest_of_block < HEADER_BYTES {
            at += rest_of_block;
            continue;
        }
        let Some((end, kind)) = fragment(content, at) else {
            return damaged(content, at, begun.unwrap_or(at));
        };
        begun = match kind {
            WHOLE | LAST => None,
            FIRST => Some(at),
            _ => begun,
        };
        at = end;
    }
    State::Readable
}

/// What the fragment at `at`, of a record that begins at `start`, is damaged by.
fn damaged(content: &[u8], at: usize, start: usize) -> State {
    let rest = &content[at..];
    if rest.iter().all(|byte| *byte == 0) {
        return if start == at { State::Readable } else { State::Torn(start) };
    }
    let ends_early = rest.len() < HEADER_BYTES || at + HEADER_BYTES + length_of(rest) > content.len();
    if rest.len() <= TORN_BYTES && lacks_a_page(content, at) && !record_begins_behind(content, at) {
        State::Torn(start)
    } else if ends_early {
        // The write was cut short; RocksDB passes over that by itself.
        State::Readable
    } else {
        State::Damaged(at)
    }
}

/// Whether somewhere from `at` on, beginning there or at a sector, there is nothing but zeros up to a page's bound.
fn lacks_a_page(content: &[u8], at: usize) -> bool {
    let mut page = at / PAGE_BYTES * PAGE_BYTES;
    while page < content.len() {
        let end = content.len().min(page + PAGE_BYTES);
        let last_sector = at.max((end - 1) / SECTOR_BYTES * SECTOR_BYTES);
        if content[last_sector..end].iter().all(|byte| *byte == 0) {
            return true;
        }
        page += PAGE_BYTES;
    }
    false
}

/// Whether a whole record, or the first fragment of one, begins anywhere behind `at`.
fn record_begins_behind(content: &[u8], at: usize) -> bool {
    let begins = |at: usize| fragment(content, at).is_some_and(|(_, kind)| matches!(kind, WHOLE | FIRST));
    (at + 1..content.len().saturating_sub(HEADER_BYTES)).any(begins)
}

fn length_of(header: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([header[4], header[5]]))
}

/// The end of the fragment at an offset, and its type, if it lies in one block and its checksum is right.
fn fragment(content: &[u8], at: usize) -> Option<(usize, u8)> {
    let header = content.get(at..at + HEADER_BYTES)?;
    let end = at + HEADER_BYTES + length_of(header);
    if header[6] == 0 || end > (at / BLOCK_BYTES + 1) * BLOCK_BYTES {
        return None;
    }
    let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]).wrapping_sub(MASK_DELTA);
    let computed = crc32c::crc32c(content.get(at + 6..end)?);
    (computed == stored.rotate_left(15)).then_some((end, header[6]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One fragment as RocksDB writes it.
    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
        let masked = checksum.rotate_right(15).wrapping_add(MASK_DELTA);
        let length = (content.len() as u16).to_le_bytes();
        [&masked.to_le_bytes()[..], &length, &[kind], content].concat()
    }

    fn torn(mut content: Vec<u8>, from: usize) -> Vec<u8> {
        content[from..].fill(0);
        content
    }

    #[test]
    fn end_that_is_zero_from_a_sector_on_is_cut_back_to_the_last_whole_record() {
        let first = record(WHOLE, &[7; 300]);
        let both = [first.clone(), record(WHOLE, &[8; 1500])].concat();
        for bound in [512, 1024, 1536] {
            assert_eq!(examine(&torn(both.clone(), bound)), State::Torn(first.len()), "torn at {bound}");
        }
        assert_eq!(examine(&both), State::Readable, "what is whole stays");
    }

    #[test]
    fn record_of_several_fragments_goes_as_a_whole() {
        let first = record(WHOLE, &[7; 300]);
        let begin = record(FIRST, &vec![8; BLOCK_BYTES - first.len() - HEADER_BYTES]);
        let all = [first.clone(), begin, record(LAST, &[9; 2000])].concat();
        for bound in [512, BLOCK_BYTES, BLOCK_BYTES + 1024] {
            assert_eq!(examine(&torn(all.clone(), bound)), State::Torn(first.len()), "torn at {bound}");
        }
    }

    #[test]
    fn whole_record_that_ends_in_zeros_stays() {
        let zeros = [record(WHOLE, &[7; 300]), record(WHOLE, &[0; 3000])].concat();
        assert_eq!(examine(&zeros), State::Readable);
    }

    #[test]
    fn last_write_may_lack_any_of_its_pages() {
        let first = record(WHOLE, &[7; 300]);
        let all = [first.clone(), record(WHOLE, &[8; 20_000])].concat();
        for lost in [0..4096, 4096..8192, 8192..16_384] {
            let mut content = all.clone();
            content[lost.start.max(first.len())..lost.end].fill(0);
            assert_eq!(examine(&content), State::Torn(first.len()), "{lost:?}");
        }
        assert_eq!(examine(&all[..9000]), State::Readable, "what is cut short is RocksDB's to pass over");
    }

    #[test]
    fn damage_with_a_record_behind_it_is_refused() {
        let first = record(WHOLE, &[7; 300]);
        let all = [first.clone(), record(WHOLE, &[8; 6000]), record(WHOLE, &[9; 50])].concat();
        let mut flipped = all.clone();
        flipped[700] ^= 1;
        assert_eq!(examine(&flipped), State::Damaged(first.len()));
        let mut zeroed = all.clone();
        zeroed[first.len()..4096].fill(0);
        assert_eq!(examine(&zeroed), State::Damaged(first.len()), "RocksDB would pass over both records");
    }

    #[test]
    fn flipped_bit_of_the_last_record_is_no_tear() {
        let first = record(WHOLE, &[7; 300]);
        let mut content = [first.clone(), record(WHOLE, &[8; 900])].concat();
        content[700] ^= 1;
        assert_eq!(examine(&content), State::Damaged(first.len()));
    }
}
