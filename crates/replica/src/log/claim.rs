//! Whose disk it is: claimed once by a master, waiting for a Raft id, or left by a master that was removed.
//!
//! ```text
//!   new ── claim (a founder) ──────────────► owned ── leave ──► refused for ever
//!    └── prepare ──► waiting ── adopt (id) ──►┘
//! ```

use ring::rand::{SecureRandom, SystemRandom};

use super::mark::MarkFile;
use super::meta::{self, DiskOwner, Identity};
use super::recover::LogOpenError;
use crate::disk::{Batch, Disk, DiskError, Folder, Space};

/// The Raft id of a disk whose master waits to be given one. No member has it.
pub const NO_RAFT_ID: u64 = 0;
/// The note that a removed master leaves. That it is there is what counts; its words are for people.
pub const REMOVED_FILE: &str = "removed";
/// As many bytes of the note are shown.
const REMOVED_WORDS_MAX: usize = 1024;

/// Refuses the disk of a master that was removed: its id must never vote again.
pub fn refuse_removed(disk: &dyn Disk) -> Result<(), LogOpenError> {
    let Some(note) = disk.open(Folder::Root, REMOVED_FILE)? else { return Ok(()) };
    let words = String::from_utf8_lossy(&note.read_at(0, REMOVED_WORDS_MAX)?).trim().to_owned();
    Err(LogOpenError::Removed { file: disk.describe(Folder::Root, REMOVED_FILE), words })
}

/// Leaves the note. The log must be closed: nothing is to be written after it.
pub fn leave(disk: &dyn Disk, words: &str) -> Result<(), DiskError> {
    let temporary = format!("{REMOVED_FILE}.tmp");
    let file = disk.create(Folder::Root, &temporary)?;
    file.write_at(0, words.as_bytes())?;
    file.sync()?;
    disk.rename(Folder::Root, &temporary, REMOVED_FILE)?;
    disk.sync_folder(Folder::Root)
}

/// Holds what the disk says against who comes.
pub fn check_owner(disk: &dyn Disk, identity: Identity, who: &DiskOwner) -> Result<Identity, LogOpenError> {
    if identity.who == *who {
        return Ok(identity);
    }
    let (found, expected) = (Box::new(identity.who), Box::new(who.clone()));
    Err(LogOpenError::OtherOwner { place: disk.describe_space(Space::Meta), found, expected })
}

/// The first opening mints the disk id and makes it durable before anything else is written.
pub fn claim(disk: &dyn Disk, who: &DiskOwner) -> Result<Identity, LogOpenError> {
    let mut disk_id = [0; 16];
    SystemRandom::new().fill(&mut disk_id).map_err(|_| LogOpenError::Random)?;
    let identity = Identity { who: who.clone(), disk_id };
    store(disk, &identity)?;
    Ok(identity)
}

fn store(disk: &dyn Disk, identity: &Identity) -> Result<(), DiskError> {
    let mut batch = Batch::default();
    batch.put(Space::Meta, meta::IDENTITY, meta::seal_identity(identity));
    disk.write(batch)?;
    disk.sync()
}

/// The disk of a master that is to join: claimed without a Raft id where it is new, as it was left otherwise.
pub fn prepare(disk: &dyn Disk, cell: &str, name: &str) -> Result<Identity, LogOpenError> {
    refuse_removed(disk)?;
    let known = meta::read_identity(disk)
        .map_err(|source| LogOpenError::Meta { place: disk.describe_space(Space::Meta), source })?;
    let Some(known) = known else {
        // A disk with an identity has a mark: the other way round it would be refused as damaged.
        MarkFile::open(disk).map_err(LogOpenError::mark)?;
        return claim(disk, &DiskOwner { cell: cell.into(), name: name.into(), raft_id: NO_RAFT_ID });
    };
    let who = DiskOwner { cell: cell.into(), name: name.into(), raft_id: known.who.raft_id };
    check_owner(disk, known, &who)
}

/// Gives a waiting disk its Raft id, durably. The same id again is fine, another one is not.
pub fn adopt(disk: &dyn Disk, cell: &str, name: &str, raft_id: u64) -> Result<Identity, LogOpenError> {
    let known = prepare(disk, cell, name)?;
    let who = DiskOwner { raft_id, ..known.who.clone() };
    if known.who.raft_id != NO_RAFT_ID {
        return check_owner(disk, known, &who);
    }
    let identity = Identity { who, ..known };
    store(disk, &identity)?;
    Ok(identity)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn a_waiting_disk_takes_one_id_for_ever_and_keeps_its_own() {
        let disk = MemoryDisk::new();
        let waiting = prepare(&disk, "c", "m4").expect("a new disk");
        assert_eq!(waiting.who.raft_id, NO_RAFT_ID);
        let disk = disk.after_crash(0);
        assert_eq!(prepare(&disk, "c", "m4").expect("again").disk_id, waiting.disk_id);
        prepare(&disk, "c", "m5").expect_err("another name");
        prepare(&disk, "d", "m4").expect_err("another cell");
        let adopted = adopt(&disk, "c", "m4", 1_048_600).expect("an id");
        assert_eq!(adopted.disk_id, waiting.disk_id);
        let disk = disk.after_crash(0);
        assert_eq!(prepare(&disk, "c", "m4").expect("as it was").who.raft_id, 1_048_600);
        adopt(&disk, "c", "m4", 1_048_600).expect("the same id");
        adopt(&disk, "c", "m4", 1_048_601).expect_err("another id");
    }

    #[test]
    fn the_disk_of_a_removed_master_is_refused_with_the_words_that_it_left() {
        let disk = MemoryDisk::new();
        adopt(&disk, "c", "m4", 1_048_600).expect("an id");
        leave(&disk, "m4 was removed").expect("a note");
        let disk = disk.after_crash(0);
        let refused = prepare(&disk, "c", "m4").expect_err("removed").to_string();
        assert!(refused.contains("m4 was removed") && refused.contains(REMOVED_FILE), "{refused}");
    }
}
