//! The high-water mark: a second, tiny record of the vote and the last log id, to notice a log that went back in time.
//!
//! A write-ahead log whose tail was lost (a disk that lied about a sync, a restored backup) opens cleanly and has simply
//! forgotten acknowledged entries or a vote. The mark is written after the log was synced and lowered before a
//! truncation, so the log is never legitimately behind it. It is synced with every vote, and at least every
//! [`SYNC_AFTER_BYTES`]; in between it may lag, which weakens detection after a power cut and never raises a false alarm.
//!
//! Two slots, 4 KiB apart so that one torn write cannot hit both, are written in turn:
//!
//! ```text
//!  byte 0..4    4..8     8..16     16..24     24..32     32      33      34..40    40..48   48..56  56..60
//!      "PMRK" version  sequence  vote term  vote id  committed  flags  reserved   log term  index  CRC-32C
//! ```
//! Integers are little-endian; flags: bit 0 there is a vote, bit 1 there is a last log id.

use crate::disk::{Disk, DiskError, DiskFile, Folder};
use crate::raft::{self, LogId, Vote};

/// The file's name.
pub const FILE: &str = "high-water-mark";
/// The mark is synced at least once per this much log.
pub const SYNC_AFTER_BYTES: u64 = 1024 * 1024;

const MAGIC: &[u8; 4] = b"PMRK";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 60;
const SLOT_STRIDE_BYTES: u64 = 4096;

/// What the log must not fall behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    pub vote: Option<Vote>,
    pub last_log_id: Option<LogId>,
}

/// The open mark file.
pub struct MarkFile {
    file: Box<dyn DiskFile>,
    sequence: u64,
    unsynced: bool,
}

/// The mark file cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MarkError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Neither slot can be read although the file exists.
    #[error("{file} is damaged: neither of its two slots has a valid checksum")]
    Damaged {
        /// The file.
        file: String,
    },
}

/// What the mark on a disk promises.
#[cfg(feature = "testing")]
pub fn read(disk: &dyn Disk) -> Result<Mark, MarkError> {
    Ok(MarkFile::open(disk)?.1)
}

impl MarkFile {
    /// Opens or creates the file, and reads the newest valid slot.
    pub fn open(disk: &dyn Disk) -> Result<(Self, Mark), MarkError> {
        let Some(file) = disk.open(Folder::Root, FILE)? else {
            return Ok((Self::create(disk)?, Mark::default()));
        };
        let newest = [0, SLOT_STRIDE_BYTES]
            .into_iter()
            .map(|at| file.read_at(at, SLOT_BYTES))
            .collect::<Result<Vec<_>, _>>()?
            .iter()
            .filter_map(|slot| decode(slot))
            .max_by_key(|(sequence, _)| *sequence);
        let Some((sequence, mark)) = newest else {
            return Err(MarkError::Damaged { file: disk.describe(Folder::Root, FILE) });
        };
        // Whoever created it may have died before the name was durable, and a log without its mark is refused.
        disk.sync_folder(Folder::Root)?;
        Ok((Self { file, sequence, unsynced: false }, mark))
    }

    /// The first mark is written under another name: a file that exists has a valid slot.
    fn create(disk: &dyn Disk) -> Result<Self, DiskError> {
        let temporary = format!("{FILE}.tmp");
        let file = disk.create(Folder::Root, &temporary)?;
        let mut created = Self { file, sequence: 0, unsynced: false };
        created.write(&Mark::default())?;
        created.sync()?;
        disk.rename(Folder::Root, &temporary, FILE)?;
        disk.sync_folder(Folder::Root)?;
        Ok(created)
    }

    /// Writes the other slot.
    pub fn write(&mut self, mark: &Mark) -> Result<(), DiskError> {
        self.sequence += 1;
        self.unsynced = true;
        self.file.write_at((self.sequence % 2) * SLOT_STRIDE_BYTES, &encode(self.sequence, mark))
    }

    /// Makes the last written slot durable.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        if self.unsynced {
            self.file.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }
}

pub(super) fn encode(sequence: u64, mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..4].copy_from_slice(MAGIC);
    slot[4..8].copy_from_slice(&VERSION.to_le_bytes());
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    if let Some(vote) = &mark.vote {
        slot[16..24].copy_from_slice(&vote.leader_id.term.to_le_bytes());
        slot[24..32].copy_from_slice(&vote.leader_id.voted_for.to_le_bytes());
        slot[32] = u8::from(vote.committed);
        slot[33] |= 1;
    }
    if let Some(id) = &mark.last_log_id {
        slot[40..48].copy_from_slice(&raft::term(id).to_le_bytes());
        slot[48..56].copy_from_slice(&id.index().to_le_bytes());
        slot[33] |= 2;
    }
    let checksum = crc32c::crc32c(&slot[..56]);
    slot[56..60].copy_from_slice(&checksum.to_le_bytes());
    slot
}

pub(super) fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let u64_at =
        |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes were sliced"));
    let valid = slot.len() == SLOT_BYTES
        && &slot[0..4] == MAGIC
        && slot[4..8] == VERSION.to_le_bytes()
        && slot[56..60] == crc32c::crc32c(&slot[..56]).to_le_bytes();
    if !valid {
        return None;
    }
    let vote = (slot[33] & 1 != 0).then(|| {
        let (term, id) = (u64_at(16), u64_at(24));
        if slot[32] == 1 { Vote::new_committed(term, id) } else { Vote::new(term, id) }
    });
    let last_log_id = (slot[33] & 2 != 0).then(|| raft::log_id(u64_at(40), u64_at(48)));
    Some((u64_at(8), Mark { vote, last_log_id }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn mark(term: u64, index: u64) -> Mark {
        Mark { vote: Some(Vote::new_committed(term, 3)), last_log_id: Some(raft::log_id(term, index)) }
    }

    #[test]
    fn slot_bytes_are_golden() {
        let golden = include_str!("../../tests/golden/mark-v1.hex");
        let hex: String = encode(7, &mark(5, 42)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.trim());
    }

    #[test]
    fn newest_valid_slot_wins() {
        let disk = MemoryDisk::new();
        let (mut file, first) = MarkFile::open(&disk).unwrap();
        assert_eq!(first, Mark::default());
        file.write(&mark(1, 10)).unwrap();
        file.write(&mark(1, 20)).unwrap();
        file.sync().unwrap();
        assert_eq!(MarkFile::open(&disk).unwrap().1, mark(1, 20));
        // The sequence was 3, so the newest slot is the second one; a torn write of it leaves the one before.
        disk.tamper_file(Folder::Root, FILE, |bytes| bytes[4096 + 50] ^= 1);
        assert_eq!(MarkFile::open(&disk).unwrap().1, mark(1, 10));
    }

    #[test]
    fn name_that_was_found_is_durable() {
        let disk = MemoryDisk::new();
        let file = disk.create(Folder::Root, FILE).unwrap();
        file.write_at(0, &encode(0, &mark(1, 1))).unwrap();
        file.sync().unwrap();
        // So far a process that died before it synced the folder; the power goes only in the next life.
        MarkFile::open(&disk).unwrap();
        let survivor = disk.after_crash(0);
        assert!(survivor.open(Folder::Root, FILE).unwrap().is_some());
    }

    #[test]
    fn damaged_file_is_refused_by_name() {
        let disk = MemoryDisk::new();
        MarkFile::open(&disk).unwrap();
        disk.tamper_file(Folder::Root, FILE, |bytes| bytes.fill(0xff));
        let refused = MarkFile::open(&disk).err().expect("a damaged mark is refused").to_string();
        assert!(refused.contains(FILE), "{refused}");
    }
}
