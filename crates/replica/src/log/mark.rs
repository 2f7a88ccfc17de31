//! The high-water mark: a second, tiny record of the vote and the last log id, to notice a log that went back in time.
//!
//! A write-ahead log whose tail was lost (a disk that lied about a sync, a restored backup) opens cleanly and has simply
//! forgotten acknowledged entries or a vote. The mark is written after the log was synced and lowered before a
//! truncation, so the log is never legitimately behind it. When it is written and synced is [`super::mark_keeper`]'s
//! business; here are its bytes.
//!
//! Two slots, 4 KiB apart so that one torn write cannot hit both, are written and synced in turn; one of them is always
//! durable. Nothing stands between them. Whatever else is found was torn by a power cut or damaged: as long as one slot
//! can be read the file is written anew, and the log says so.
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
const MAGIC: &[u8; 4] = b"PMRK";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 60;
const SLOT_STRIDE_BYTES: usize = 4096;
const FILE_BYTES: usize = SLOT_STRIDE_BYTES + SLOT_BYTES;
/// Where the slots begin.
const SLOTS: [usize; 2] = [0, SLOT_STRIDE_BYTES];

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
    /// What the newest slot says.
    written: Mark,
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

/// What the mark on a disk promises; no mark promises nothing.
#[cfg(feature = "testing")]
pub fn read(disk: &dyn Disk) -> Result<Mark, MarkError> {
    let Some(file) = disk.open(Folder::Root, FILE)? else { return Ok(Mark::default()) };
    Ok(examine(disk, &file.read_at(0, FILE_BYTES + 1)?)?.newest)
}

/// What a mark file holds.
struct Examined {
    sequence: u64,
    newest: Mark,
    /// What is otherwise than it was written.
    problem: Option<String>,
}

fn examine(disk: &dyn Disk, content: &[u8]) -> Result<Examined, MarkError> {
    let slots = SLOTS.map(|at| content.get(at..at + SLOT_BYTES).and_then(decode));
    let newest = slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
    let Some((sequence, newest)) = newest else {
        return Err(MarkError::Damaged { file: disk.describe(Folder::Root, FILE) });
    };
    let problem = match slots {
        _ if content.len() != FILE_BYTES => Some(format!("it is not {FILE_BYTES} bytes long")),
        [None, _] => Some("the slot at byte 0 has no valid checksum".into()),
        [_, None] => Some(format!("the slot at byte {SLOT_STRIDE_BYTES} has no valid checksum")),
        [Some((first, _)), Some((second, _))] if first.abs_diff(second) != 1 => {
            Some(format!("its slots are numbered {first} and {second}, not one after the other"))
        }
        _ => (content[SLOT_BYTES..SLOT_STRIDE_BYTES].iter().any(|byte| *byte != 0))
            .then(|| "there is something between its slots".into()),
    };
    Ok(Examined { sequence, newest, problem })
}

impl MarkFile {
    /// Opens or creates the file, and reads the newest valid slot.
    pub fn open(disk: &dyn Disk) -> Result<(Self, Mark), MarkError> {
        let Some(file) = disk.open(Folder::Root, FILE)? else {
            return Ok((Self::create(disk, 0, Mark::default())?, Mark::default()));
        };
        let found = examine(disk, &file.read_at(0, FILE_BYTES + 1)?)?;
        if let Some(problem) = found.problem {
            let file = disk.describe(Folder::Root, FILE);
            tracing::warn!(file, problem, "the high-water mark was torn or is damaged; written anew");
            return Ok((Self::create(disk, found.sequence, found.newest)?, found.newest));
        }
        // Whoever created it may have died before the name was durable, and a log without its mark is refused.
        disk.sync_folder(Folder::Root)?;
        Ok((Self { file, sequence: found.sequence, written: found.newest }, found.newest))
    }

    /// It is made whole under another name: a file that exists has both slots.
    fn create(disk: &dyn Disk, sequence: u64, mark: Mark) -> Result<Self, DiskError> {
        let temporary = format!("{FILE}.tmp");
        let file = disk.create(Folder::Root, &temporary)?;
        let mut content = vec![0; FILE_BYTES];
        for sequence in [sequence + 1, sequence + 2] {
            let at = slot_of(sequence);
            content[at..at + SLOT_BYTES].copy_from_slice(&encode(sequence, &mark));
        }
        file.write_at(0, &content)?;
        file.sync()?;
        disk.rename(Folder::Root, &temporary, FILE)?;
        disk.sync_folder(Folder::Root)?;
        Ok(Self { file, sequence: sequence + 2, written: mark })
    }

    /// What the newest slot says.
    #[cfg(feature = "testing")]
    pub fn written(&self) -> &Mark {
        &self.written
    }

    /// Writes the other slot and makes it durable, if it says something else.
    pub fn write_synced(&mut self, mark: &Mark) -> Result<(), DiskError> {
        if self.written == *mark {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        self.file.write_at(slot_of(sequence) as u64, &encode(sequence, mark))?;
        self.file.sync()?;
        (self.sequence, self.written) = (sequence, *mark);
        Ok(())
    }
}

fn slot_of(sequence: u64) -> usize {
    SLOTS[usize::from(!sequence.is_multiple_of(2))]
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

    fn marked(disk: &MemoryDisk) -> Mark {
        read(disk).expect("the mark can be read")
    }

    #[test]
    fn newest_valid_slot_wins_and_the_damaged_one_is_written_anew() {
        let disk = MemoryDisk::new();
        let (mut file, first) = MarkFile::open(&disk).unwrap();
        assert_eq!(first, Mark::default());
        file.write_synced(&mark(1, 10)).unwrap();
        file.write_synced(&mark(1, 20)).unwrap();
        assert_eq!(marked(&disk), mark(1, 20));
        // The sequence was 4, so the newest slot is the first one; a torn write of it leaves the one before.
        disk.tamper_file(Folder::Root, FILE, |bytes| bytes[50] ^= 1);
        assert_eq!(MarkFile::open(&disk).unwrap().1, mark(1, 10));
        disk.tamper_file(Folder::Root, FILE, |bytes| bytes[50] ^= 1);
        assert_eq!(marked(&disk), mark(1, 10), "both slots were written anew, the other one first");
    }

    #[test]
    fn whatever_differs_from_what_was_written_is_noticed_and_mended() {
        let disk = MemoryDisk::new();
        let (mut file, _) = MarkFile::open(&disk).unwrap();
        file.write_synced(&mark(1, 10)).unwrap();
        let content = |disk: &MemoryDisk| {
            let file = disk.open(Folder::Root, FILE).unwrap().expect("it is there");
            file.read_at(0, FILE_BYTES + 1).unwrap()
        };
        let sound = content(&disk);
        assert!(examine(&disk, &sound).unwrap().problem.is_none());
        for at in 0..sound.len() {
            let mut damaged = sound.to_vec();
            damaged[at] ^= 1;
            assert!(examine(&disk, &damaged).unwrap().problem.is_some(), "byte {at}");
        }
        for length in SLOT_BYTES..sound.len() {
            assert!(examine(&disk, &sound[..length]).unwrap().problem.is_some(), "cut to {length}");
        }
        disk.tamper_file(Folder::Root, FILE, |bytes| bytes[2000] = 1);
        MarkFile::open(&disk).unwrap();
        assert!(examine(&disk, &content(&disk)).unwrap().problem.is_none());
        assert_eq!(marked(&disk.after_crash(0)), mark(1, 10), "and durably so");
    }

    #[test]
    fn name_that_was_found_is_durable() {
        let disk = MemoryDisk::new();
        let file = disk.create(Folder::Root, FILE).unwrap();
        let mut content = vec![0; FILE_BYTES];
        content[..SLOT_BYTES].copy_from_slice(&encode(0, &mark(1, 1)));
        content[SLOT_STRIDE_BYTES..].copy_from_slice(&encode(1, &mark(1, 1)));
        file.write_at(0, &content).unwrap();
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
