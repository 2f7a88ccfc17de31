//! The records of one RocksDB log file, read block by block, and what is wrong with the first one that cannot be read.
//!
//! ```text
//!  file    blocks of 32 KiB; a record does not cross a block, a longer one is split into fragments; what is too short
//!          for a header at the end of a block is zeros
//!  record  checksum u32  length u16  type u8  content        type: 1 whole, 2 first, 3 middle, 4 last
//! ```

use std::io::{self, Read, Seek, SeekFrom};

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
const TORN_BYTES: u64 = 128 * 1024 * 1024;
/// RocksDB rotates its checksums by this and adds that, so that a checksum of checksums is not special.
const MASK_DELTA: u32 = 0xa282_ead8;

const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// What a log file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Every record in it is whole.
    Whole,
    /// Its last write is not; it is to be cut to this length.
    Torn(u64),
    /// A record here is damaged.
    Damaged(u64),
}

/// What was found in a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    pub state: State,
    pub length_bytes: u64,
    /// Whether there is any whole record before what is wrong.
    pub has_records: bool,
}

/// A file, one block at a time.
struct Blocks<R> {
    source: R,
    length: u64,
    content: Vec<u8>,
}

impl<R: Read + Seek> Blocks<R> {
    fn load(&mut self, from: u64) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(from))?;
        self.content.clear();
        (&mut self.source).take(BLOCK_BYTES as u64).read_to_end(&mut self.content).map(drop)
    }
}

/// Reads a log file to its end, or to the first thing that is wrong.
pub fn examine(mut source: impl Read + Seek) -> io::Result<Finding> {
    let length = source.seek(SeekFrom::End(0))?;
    let mut blocks = Blocks { source, length, content: Vec::with_capacity(BLOCK_BYTES) };
    // Where the record begins of which fragments were read and the last was not.
    let mut begun = None;
    let mut has_records = false;
    let mut block = 0;
    let mut state = State::Whole;
    'file: while block < length {
        blocks.load(block)?;
        let mut at = 0;
        while at < blocks.content.len() {
            let here = block + at as u64;
            if BLOCK_BYTES - at < HEADER_BYTES {
                if blocks.content[at..].iter().any(|byte| *byte != 0) {
                    state = State::Damaged(here);
                    break 'file;
                }
                break;
            }
            let Some((end, kind)) = fragment(&blocks.content, at) else {
                state = wrong(&mut blocks, here, begun.unwrap_or(here))?;
                break 'file;
            };
            has_records |= matches!(kind, WHOLE | LAST);
            begun = match kind {
                WHOLE | LAST => None,
                FIRST => Some(here),
                _ => begun,
            };
            at = end;
        }
        block += BLOCK_BYTES as u64;
    }
    if let (State::Whole, Some(start)) = (state, begun) {
        // It ends between the fragments of a record.
        state = State::Torn(start);
    }
    Ok(Finding { state, length_bytes: length, has_records })
}

/// What the rest of a file looks like from where something is wrong.
struct Rest {
    all_zeros: bool,
    lacks_a_page: bool,
    has_a_record: bool,
}

/// What is wrong at `at`, with a record that begins at `start`; the block of `at` is loaded.
fn wrong<R: Read + Seek>(blocks: &mut Blocks<R>, at: u64, start: u64) -> io::Result<State> {
    let offset = (at % BLOCK_BYTES as u64) as usize;
    let header = &blocks.content[offset..];
    let ends_early =
        header.len() < HEADER_BYTES || at + (HEADER_BYTES + length_of(header)) as u64 > blocks.length;
    let rest = rest(blocks, at)?;
    let torn = rest.all_zeros || ends_early || (rest.lacks_a_page && blocks.length - at <= TORN_BYTES);
    Ok(if torn && !rest.has_a_record { State::Torn(start) } else { State::Damaged(at) })
}

fn rest<R: Read + Seek>(blocks: &mut Blocks<R>, at: u64) -> io::Result<Rest> {
    let mut rest = Rest { all_zeros: true, lacks_a_page: false, has_a_record: false };
    let last_sector = (blocks.length - 1) / SECTOR_BYTES as u64 * SECTOR_BYTES as u64;
    let first_block = at / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let mut block = first_block;
    while block < blocks.length {
        blocks.load(block)?;
        let content = &blocks.content[..];
        let from = if block == first_block { (at - block) as usize } else { 0 };
        rest.all_zeros &= zeros(&content[from..]);
        rest.lacks_a_page |= lacks_a_page(content, from);
        if last_sector < block + content.len() as u64 {
            let sector = last_sector.saturating_sub(block) as usize;
            rest.lacks_a_page |= zeros(&content[sector.max(from)..]);
        }
        // What is wrong at `from` is no record; in a later block a record or a fragment begins where the block does.
        rest.has_a_record |= match block == first_block {
            true => record_begins_behind(content, from),
            false => record_begins_in(content),
        };
        block += BLOCK_BYTES as u64;
    }
    Ok(rest)
}

fn zeros(content: &[u8]) -> bool {
    content.iter().all(|byte| *byte == 0)
}

/// Whether all that a page has from `from` on is zeros: as a page is left that was never written.
fn lacks_a_page(content: &[u8], from: usize) -> bool {
    let mut from = from;
    while from < content.len() {
        let end = content.len().min((from / PAGE_BYTES + 1) * PAGE_BYTES);
        if zeros(&content[from..end]) {
            return true;
        }
        from = end;
    }
    false
}

/// Whether a record, or the first fragment of one, begins in a block: along its fragments, as far as they can be read.
fn record_begins_in(content: &[u8]) -> bool {
    let mut at = 0;
    while let Some((end, kind)) = fragment(content, at) {
        if matches!(kind, WHOLE | FIRST) {
            return true;
        }
        at = end;
    }
    record_begins_behind(content, at)
}

/// Whether a whole record, or the first fragment of one, begins anywhere behind `at`. No more than a block is searched
/// byte by byte, and the type is looked at before a checksum is made.
fn record_begins_behind(content: &[u8], at: usize) -> bool {
    let begins = |at: usize| matches!(content[at + 6], WHOLE | FIRST) && fragment(content, at).is_some();
    (at + 1..(content.len() + 1).saturating_sub(HEADER_BYTES)).any(begins)
}

fn length_of(header: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([header[4], header[5]]))
}

/// The end of the fragment at an offset of a block, and its type, if all of it is there and its checksum is right.
fn fragment(block: &[u8], at: usize) -> Option<(usize, u8)> {
    let header = block.get(at..at + HEADER_BYTES)?;
    let end = at + HEADER_BYTES + length_of(header);
    if header[6] == 0 {
        return None;
    }
    let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]).wrapping_sub(MASK_DELTA);
    let computed = crc32c::crc32c(block.get(at + 6..end)?);
    (computed == stored.rotate_left(15)).then_some((end, header[6]))
}

#[cfg(test)]
pub mod tests {
    use std::io::Cursor;

    use super::*;

    /// One fragment as RocksDB writes it.
    pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
        let masked = checksum.rotate_right(15).wrapping_add(MASK_DELTA);
        let length = (content.len() as u16).to_le_bytes();
        [&masked.to_le_bytes()[..], &length, &[kind], content].concat()
    }

    fn state(content: &[u8]) -> State {
        examine(Cursor::new(content)).unwrap().state
    }

    fn torn_at(record: &[u8]) -> State {
        State::Torn(record.len() as u64)
    }

    fn damaged_at(record: &[u8]) -> State {
        State::Damaged(record.len() as u64)
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
            assert_eq!(state(&torn(both.clone(), bound)), torn_at(&first), "torn at {bound}");
        }
        assert_eq!(state(&both), State::Whole, "what is whole stays");
    }

    #[test]
    fn record_of_several_fragments_goes_as_a_whole() {
        let first = record(WHOLE, &[7; 300]);
        let begin = record(FIRST, &vec![8; BLOCK_BYTES - first.len() - HEADER_BYTES]);
        let all = [first.clone(), begin.clone(), record(LAST, &[9; 2000])].concat();
        for bound in [512, BLOCK_BYTES, BLOCK_BYTES + 1024] {
            assert_eq!(state(&torn(all.clone(), bound)), torn_at(&first), "torn at {bound}");
        }
        assert_eq!(state(&[first.clone(), begin].concat()), torn_at(&first), "its end was never written");
    }

    #[test]
    fn whole_record_that_ends_in_zeros_stays() {
        let zeros = [record(WHOLE, &[7; 300]), record(WHOLE, &[0; 3000])].concat();
        assert_eq!(state(&zeros), State::Whole);
    }

    #[test]
    fn last_write_may_lack_any_of_its_pages_or_its_end() {
        let first = record(WHOLE, &[7; 300]);
        let all = [first.clone(), record(WHOLE, &[8; 20_000])].concat();
        for lost in [0..4096, 4096..8192, 8192..16_384] {
            let mut content = all.clone();
            content[lost.start.max(first.len())..lost.end].fill(0);
            assert_eq!(state(&content), torn_at(&first), "{lost:?}");
        }
        assert_eq!(state(&all[..9000]), torn_at(&first));
        assert_eq!(state(&all[..first.len() + 3]), torn_at(&first));
        let zeros = [&first[..], &[0; 900]].concat();
        assert_eq!(state(&zeros), torn_at(&first), "RocksDB would pass over it without a word");
    }

    #[test]
    fn damage_with_a_record_behind_it_is_refused() {
        let first = record(WHOLE, &[7; 300]);
        let all = [first.clone(), record(WHOLE, &[8; 6000]), record(WHOLE, &[9; 50])].concat();
        let mut flipped = all.clone();
        flipped[700] ^= 1;
        assert_eq!(state(&flipped), damaged_at(&first));
        let mut zeroed = all.clone();
        zeroed[first.len()..4096].fill(0);
        assert_eq!(state(&zeroed), damaged_at(&first), "RocksDB would pass over both records");
    }

    #[test]
    fn damage_with_a_record_in_a_later_block_is_refused() {
        let first = record(WHOLE, &[7; 300]);
        let begin = record(FIRST, &vec![8; BLOCK_BYTES - first.len() - HEADER_BYTES]);
        let end = record(LAST, &[9; 2000]);
        let mut all = [first.clone(), begin, end, record(WHOLE, &[6; 50])].concat();
        all[4096..8192].fill(0);
        assert_eq!(state(&all), damaged_at(&first), "along the fragments of the next block");
        all[BLOCK_BYTES + 100] ^= 1;
        assert_eq!(state(&all), damaged_at(&first), "and behind one of them that is damaged as well");
    }

    #[test]
    fn flipped_bit_of_the_last_record_is_no_tear() {
        let first = record(WHOLE, &[7; 300]);
        let mut content = [first.clone(), record(WHOLE, &[8; 900])].concat();
        content[700] ^= 1;
        assert_eq!(state(&content), damaged_at(&first));
    }

    #[test]
    fn flipped_bit_between_blocks_is_damage() {
        let fills = record(WHOLE, &vec![7; BLOCK_BYTES - HEADER_BYTES - 5]);
        let mut content = [fills, vec![0; 5], record(WHOLE, &[8; 900])].concat();
        assert_eq!(state(&content), State::Whole);
        content[BLOCK_BYTES - 2] ^= 1;
        assert_eq!(state(&content), State::Damaged(BLOCK_BYTES as u64 - 5));
    }

    #[test]
    fn flipped_length_does_not_hide_the_records_behind_it() {
        let first = record(WHOLE, &[7; 300]);
        let mut content = [first.clone(), record(WHOLE, &[8; 900]), record(WHOLE, &[9; 50])].concat();
        content[first.len() + 5] ^= 0x40;
        assert_eq!(state(&content), damaged_at(&first));
        content.truncate(first.len() + 600);
        assert_eq!(state(&content), torn_at(&first), "with nothing behind it, it may have been cut short");
    }

    #[test]
    fn zeros_of_the_content_are_no_lost_page() {
        let first = record(WHOLE, &[7; 300]);
        let mut payload = vec![8; 9000];
        payload[3000..4000].fill(0);
        let mut content = [first.clone(), record(WHOLE, &payload)].concat();
        let sector = &content[4096 - SECTOR_BYTES..4096];
        assert!(zeros(sector), "a page ends in a sector of zeros");
        content[700] ^= 1;
        assert_eq!(state(&content), damaged_at(&first));
    }
}
