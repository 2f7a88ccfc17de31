//! What a power cut may leave at the end of a RocksDB log file, and RocksDB would take for damage.
//!
//! Its write-ahead logs and manifests are sequences of records. It accepts an end that is cut short. It refuses one whose
//! length is on the disk and whose last sectors are not: the file then ends in zeros that were never written. Such an end
//! is cut off here, back to the last record that is whole, before RocksDB opens the folder.
//!
//! Only this exact pattern is touched: the last record of the file has a wrong checksum, and from a sector bound within it
//! up to the end of the file there is nothing but zeros. Nothing behind a whole record can be lost by it, and what was
//! acknowledged is synced, so it does not end like that; where a disk zeroed a record that was acknowledged, the log is
//! held against the high-water mark and the history against the snapshot, as after any other loss.
//!
//! ```text
//!  file    blocks of 32 KiB; a record does not cross a block, a longer one is split into fragments
//!  record  checksum u32  length u16  type u8  content        type: 1 whole, 2 first, 3 middle, 4 last
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::Path;

/// Blocks of a log file.
const BLOCK_BYTES: usize = 32 * 1024;
/// Before the content of a record.
const HEADER_BYTES: usize = 7;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// RocksDB rotates its checksums by this and adds that, so that a checksum of checksums is not special.
const MASK_DELTA: u32 = 0xa282_ead8;

const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Cuts off the torn ends of the log files in a database's folder. Returns the names of those that it changed.
pub fn cut_torn_tails(folder: &Path) -> io::Result<Vec<String>> {
    let mut changed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_log_file(&name) || !ends_in_zero(&entry.path())? {
            continue;
        }
        if let Some(length) = torn_at(&fs::read(entry.path())?) {
            let file = OpenOptions::new().write(true).open(entry.path())?;
            file.set_len(length as u64)?;
            file.sync_all()?;
            changed.push(name);
        }
    }
    Ok(changed)
}

fn is_log_file(name: &str) -> bool {
    name.ends_with(".log") || name.starts_with("MANIFEST-")
}

/// Most files are whole and end otherwise; only the others are read.
fn ends_in_zero(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;

    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [1];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == [0])
}

/// The length to cut a file to, if it ends in a record that was torn.
fn torn_at(content: &[u8]) -> Option<usize> {
    let written = content.len() - content.iter().rev().take_while(|byte| **byte == 0).count();
    let mut at = 0;
    // Where the record begins of which fragments were read and the last was not.
    let mut begun = None;
    while at < written {
        let rest_of_block = BLOCK_BYTES - at % BLOCK_BYTES;
        if rest_of_block < HEADER_BYTES {
            at += rest_of_block;
            continue;
        }
        match fragment(content, at) {
            Some((range, kind)) => {
                begun = match kind {
                    WHOLE | LAST => None,
                    FIRST => Some(at),
                    _ => begun,
                };
                at = range.end;
            }
            None => return is_torn(content, at, written).then_some(begun.unwrap_or(at)),
        }
    }
    begun.filter(|_| written < content.len())
}

/// Whether the damaged fragment at an offset is the last thing in the file, and zeros from a sector bound within it on.
fn is_torn(content: &[u8], at: usize, written: usize) -> bool {
    let zeros_from = written.next_multiple_of(SECTOR_BYTES);
    let end = match content.get(at..at + HEADER_BYTES) {
        Some(header) if written > at + HEADER_BYTES => at + HEADER_BYTES + length_of(header),
        // The tear goes through the header, so its length says nothing.
        _ => content.len(),
    };
    written <= end && zeros_from < end.min(content.len())
}

fn length_of(header: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([header[4], header[5]]))
}

/// The content of the fragment at an offset, and its type, if its checksum is right.
fn fragment(content: &[u8], at: usize) -> Option<(Range<usize>, u8)> {
    let header = content.get(at..at + HEADER_BYTES)?;
    let range = at + HEADER_BYTES..at + HEADER_BYTES + length_of(header);
    let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]).wrapping_sub(MASK_DELTA);
    let computed = crc32c::crc32c(content.get(at + 6..range.end)?);
    (computed == stored.rotate_left(15)).then_some((range, header[6]))
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
            assert_eq!(torn_at(&torn(both.clone(), bound)), Some(first.len()), "torn at {bound}");
        }
        assert_eq!(torn_at(&both), None, "what is whole stays");
    }

    #[test]
    fn record_of_several_fragments_goes_as_a_whole() {
        let first = record(WHOLE, &[7; 300]);
        let begin = record(FIRST, &vec![8; BLOCK_BYTES - first.len() - HEADER_BYTES]);
        let all = [first.clone(), begin, record(LAST, &[9; 2000])].concat();
        for bound in [512, BLOCK_BYTES, BLOCK_BYTES + 1024] {
            assert_eq!(torn_at(&torn(all.clone(), bound)), Some(first.len()), "torn at {bound}");
        }
    }

    #[test]
    fn whole_record_that_ends_in_zeros_stays() {
        let zeros = [record(WHOLE, &[7; 300]), record(WHOLE, &[0; 3000])].concat();
        assert_eq!(torn_at(&zeros), None);
    }

    #[test]
    fn damage_before_the_end_is_left_for_rocksdb_to_refuse() {
        let mut content = [record(WHOLE, &[7; 300]), record(WHOLE, &[0; 3000])].concat();
        content[100] ^= 1;
        assert_eq!(torn_at(&content), None, "a whole record follows");
        let mut content = [record(WHOLE, &[7; 300]), record(WHOLE, &[8; 900])].concat();
        content[700] ^= 1;
        assert_eq!(torn_at(&content), None, "it does not end in zeros");
    }
}
