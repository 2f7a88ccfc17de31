//! What a power cut may leave at the end of a RocksDB log file, and RocksDB would take for damage; and the reverse.
//!
//! Its write-ahead logs and manifests are sequences of records. It accepts an end that is cut short. It refuses one whose
//! length is on the disk and of whose last write some pages are not, although that is no damage; such an end is cut off
//! here. And where a header in the middle is zeros it passes over the rest of the block without a word, although that is
//! damage; such a file is refused here. Both happens before RocksDB opens the folder.
//!
//! An end is cut off only if a record is damaged by zeros over all that it has in a page, as a page leaves them that was
//! never written, or by zeros from a sector on to the end of the file, as a torn write does, and no record begins behind
//! it. What was acknowledged was synced, so a power cut alone does not leave it like that. A disk that did this to the
//! last group that was acknowledged is noticed only as far as the high-water mark was synced, which it is with every vote
//! and once in a while in between, and by the other members; the history is held against the snapshot.
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
/// The largest write that can be torn: a group of the log's writer, which is full at 8 MiB and may take one more request
/// with everything that is in flight (64 MiB), and room for what frames it. Damage farther from the end is damage.
const TORN_BYTES: usize = 128 * 1024 * 1024;
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
    let manifest = current_manifest(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.ends_with(".log") || manifest.as_ref() == Some(&name)) {
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

/// The manifest that RocksDB reads. One that was being written when the power went is not named yet, and never read.
fn current_manifest(folder: &Path) -> io::Result<Option<String>> {
    match fs::read(folder.join("CURRENT")) {
        Ok(named) => Ok(Some(String::from_utf8_lossy(&named).trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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
    } else if ends_early && !record_begins_behind(content, at) {
        // The write was cut short; RocksDB passes over that by itself. It would pass over records behind it as well.
        State::Readable
    } else {
        State::Damaged(at)
    }
}

/// Whether all that a page has from `at` on is zeros, or the last sector of the file is, from `at` on.
fn lacks_a_page(content: &[u8], at: usize) -> bool {
    let zeros = |from: usize, to: usize| content[from..to].iter().all(|byte| *byte == 0);
    let last_sector = (content.len() - 1) / SECTOR_BYTES * SECTOR_BYTES;
    let mut from = at;
    while from < content.len() {
        let end = content.len().min((from / PAGE_BYTES + 1) * PAGE_BYTES);
        if zeros(from, end) {
            return true;
        }
        from = end;
    }
    zeros(at.max(last_sector), content.len())
}

/// Whether a whole record, or the first fragment of one, begins anywhere behind `at`.
fn record_begins_behind(content: &[u8], at: usize) -> bool {
    // The type first: a checksum at every byte would take long.
    let begins = |at: usize| matches!(content[at + 6], WHOLE | FIRST) && fragment(content, at).is_some();
    (at + 1..(content.len() + 1).saturating_sub(HEADER_BYTES)).any(begins)
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

    #[test]
    fn flipped_length_does_not_hide_the_records_behind_it() {
        let first = record(WHOLE, &[7; 300]);
        let mut content = [first.clone(), record(WHOLE, &[8; 900]), record(WHOLE, &[9; 50])].concat();
        content[first.len() + 5] ^= 0x40;
        assert_eq!(examine(&content), State::Damaged(first.len()));
        content.truncate(first.len() + 600);
        assert_eq!(examine(&content), State::Readable, "with nothing behind it, it may have been cut short");
    }

    #[test]
    fn zeros_of_the_content_are_no_lost_page() {
        let first = record(WHOLE, &[7; 300]);
        let mut payload = vec![8; 9000];
        payload[3000..4000].fill(0);
        let mut content = [first.clone(), record(WHOLE, &payload)].concat();
        assert!(
            content[4096 - SECTOR_BYTES..4096].iter().all(|byte| *byte == 0),
            "a page ends in a sector of zeros"
        );
        content[700] ^= 1;
        assert_eq!(examine(&content), State::Damaged(first.len()));
    }

    #[test]
    fn manifest_that_is_not_named_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut damaged = [record(WHOLE, &[7; 300]), record(WHOLE, &[8; 900])].concat();
        damaged[700] ^= 1;
        fs::write(folder.path().join("MANIFEST-000005"), &damaged).unwrap();
        fs::write(folder.path().join("MANIFEST-000004"), record(WHOLE, &[7; 300])).unwrap();
        fs::write(folder.path().join("CURRENT"), "MANIFEST-000004\n").unwrap();
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Ok(Vec::new()));
        fs::write(folder.path().join("CURRENT"), "MANIFEST-000005\n").unwrap();
        let file = "MANIFEST-000005".to_owned();
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Err(Damaged { file, at: 307 }));
    }
}
