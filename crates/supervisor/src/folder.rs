//! The folder of an attempt: the names in it, and how a record gets in and out whole.
//!
//! A file appears under its name complete or not at all. [`publish`] never overwrites, so of two writers
//! exactly one wins: that is what starts an attempt once and decides its end once. What a supervisor writes
//! of its attempt stands in one file, see [`crate::Ledger`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::text::{Damage, Fields, RecordError};

/// Where the task runs; owned by its user.
pub const WORK_FOLDER: &str = "work";

/// Where its output is kept; closed to its user.
pub const LOG_FOLDER: &str = "log";

/// Why a supervisor gave up after its intent and without an exit record, in words; its standard error leads
/// nowhere.
pub const FAILURE_NOTE: &str = "failure";

/// The datagram socket, in the agent's folder, that supervisors nudge.
pub const NUDGE_SOCKET: &str = "nudge";

/// The same as a supervisor sees it. Relative to the attempt's folder, because an address of a socket has
/// room for 108 bytes and a data folder may be anywhere.
pub const NUDGE_SOCKET_FROM_ATTEMPT: &str = "../../../nudge";

/// The agent's and its supervisors' own.
const RECORD_MODE: u32 = 0o600;

/// A record in the attempt's folder.
pub trait Record: Sized {
    /// Its kind in the header, and the name of the file that cannot be without it.
    const NAME: &'static str;

    /// The files that it may stand in, in the order of looking.
    const FILES: &'static [&'static str] = &[Self::NAME];

    /// The bytes to store.
    fn encode(&self) -> Vec<u8>;

    /// Reads the fields back.
    ///
    /// # Errors
    /// [`Damage`] that names the field.
    fn decode(fields: &Fields) -> Result<Self, Damage>;
}

/// Reads a record; nothing when it was never written.
///
/// # Errors
/// [`RecordError`] that names the file.
pub fn read<R: Record>(folder: &Path) -> Result<Option<R>, RecordError> {
    for name in R::FILES {
        let path = folder.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        let fields = Fields::find(R::NAME, name, &bytes);
        match fields.and_then(|fields| fields.map(|fields| R::decode(&fields)).transpose()) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(source) => return Err(RecordError::Damaged { path, source }),
        }
    }
    Ok(None)
}

/// Writes a record that nobody wrote before. False: somebody did, and theirs stands.
///
/// # Errors
/// When the file system refuses; the record is then not there.
pub fn publish<R: Record>(folder: &Path, record: &R) -> io::Result<bool> {
    publish_open(folder, record).map(|file| file.is_some())
}

/// [`publish`], with the file that was published.
pub(crate) fn publish_open<R: Record>(folder: &Path, record: &R) -> io::Result<Option<File>> {
    let (draft, file) = write_draft(folder, record)?;
    let linked = fs::hard_link(&draft, folder.join(R::NAME));
    let removed = fs::remove_file(&draft);
    match linked {
        Ok(()) => removed.map(|()| Some(file)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a record over the one that may be there.
///
/// # Errors
/// When the file system refuses; the old record then stands.
pub fn replace<R: Record>(folder: &Path, record: &R) -> io::Result<()> {
    let (draft, _) = write_draft(folder, record)?;
    fs::rename(&draft, folder.join(R::NAME)).inspect_err(|_| drop_draft(&draft))
}

/// Whoever could not write tries again, for hours if it must: what is left of each try would pile up.
fn drop_draft(draft: &Path) {
    _ = fs::remove_file(draft);
}

/// Drafts carry the writer's process id and a number: the agent and a supervisor may write at the same time,
/// and so may two threads of the agent.
fn write_draft<R: Record>(folder: &Path, record: &R) -> io::Result<(PathBuf, File)> {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    // ORDERING: only the number counts, nothing is published with it.
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = folder.join(format!(".{}.{}.{number}", R::NAME, std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(RECORD_MODE);
    let mut file = options.open(&draft)?;
    let written = file.write_all(&record.encode());
    written.inspect_err(|_| drop_draft(&draft)).map(|()| (draft, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stop;
    use crate::record::testing::scratch;

    #[test]
    fn of_two_publishers_the_first_wins() {
        let folder = scratch("publish");
        assert!(publish(&folder, &Stop { grace_ms: 1 }).unwrap());
        assert!(!publish(&folder, &Stop { grace_ms: 2 }).unwrap());
        assert_eq!(read::<Stop>(&folder).unwrap(), Some(Stop { grace_ms: 1 }));
        replace(&folder, &Stop { grace_ms: 3 }).unwrap();
        assert_eq!(read::<Stop>(&folder).unwrap(), Some(Stop { grace_ms: 3 }));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft is left behind");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_try_that_failed_leaves_nothing_behind() {
        let folder = scratch("failed-try");
        fs::create_dir(folder.join("stop")).unwrap();
        for _ in 0..3 {
            replace(&folder, &Stop { grace_ms: 1 }).unwrap_err();
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "what is in the way, and no draft");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = scratch("damaged");
        replace(&folder, &Stop { grace_ms: 3 }).unwrap();
        let path = folder.join("stop");
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 4;
        fs::write(&path, bytes).unwrap();
        let error = read::<Stop>(&folder).unwrap_err();
        assert!(matches!(&error, RecordError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
