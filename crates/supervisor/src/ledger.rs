//! What a supervisor writes of its attempt: one file, from the intent to the end.
//!
//! ```text
//! intent: intent │ + running      renamed to exit: intent │ running │ exit
//! ```
//!
//! One file and not three, because to make and to remove files is most of what a short task costs a file system.
//! The end appears by the rename: the file of that name is complete or not there. Until then a reader of
//! `intent` passes over what is not finished behind it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::folder::{Record, publish_open};
use crate::record::ended::Ended;
use crate::record::intent::Intent;

/// The file of an attempt that is ours.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: File,
    whole_bytes: u64,
}

impl Ledger {
    /// Takes an attempt that nobody took: from here on nobody else can. Nothing: somebody did.
    ///
    /// # Errors
    /// When the file system refuses; the attempt is then not taken, or its folder is gone.
    pub fn take(folder: &Path, intent: &Intent) -> io::Result<Option<Self>> {
        let Some(file) = publish_open(folder, intent)? else { return Ok(None) };
        // Whoever took it before and has ended it left the name of the intent free.
        if folder.join(Ended::NAME).try_exists()? {
            fs::remove_file(folder.join(Intent::NAME))?;
            return Ok(None);
        }
        let whole_bytes = intent.encode().len() as u64;
        Ok(Some(Self { folder: folder.to_owned(), file, whole_bytes }))
    }

    /// Whether ours is the file that others find in this folder. It is not once the folder was moved away while we
    /// went there: then the attempt is not ours, whatever we have taken.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn is_found_in(&self, folder: &Path) -> io::Result<bool> {
        let found = match fs::metadata(folder.join(Intent::NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        let own = self.file.metadata()?;
        Ok((found.dev(), found.ino()) == (own.dev(), own.ino()))
    }

    /// Adds a record. What a try that failed wrote is written over by the next one.
    ///
    /// # Errors
    /// When the file system refuses; the record is then not there.
    pub fn add(&mut self, record: &impl Record) -> io::Result<()> {
        let bytes = record.encode();
        self.file.write_all_at(&bytes, self.whole_bytes)?;
        self.whole_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the end, under the name of the end.
    ///
    /// # Errors
    /// When the file system refuses; the end is then not there, and to try again is safe.
    pub fn end(&self, ended: &Ended) -> io::Result<()> {
        let bytes = ended.encode();
        self.file.write_all_at(&bytes, self.whole_bytes)?;
        self.file.set_len(self.whole_bytes + bytes.len() as u64)?;
        fs::rename(self.folder.join(Intent::NAME), self.folder.join(Ended::NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{publish, read};
    use crate::process::ProcessIdentity;
    use crate::record::ended::{Cause, Outcome};
    use crate::record::running::Running;
    use crate::record::testing::scratch;

    fn intent() -> Intent {
        Intent { attempt: "42-0.7.1".into(), holder: None, control: None, uid: Some(7), groups: None }
    }

    fn ended(message: &str) -> Ended {
        let (outcome, cause, message) = (Outcome::Code(3), Cause::Exited, message.to_owned());
        Ended { outcome, cause, message, pid: 5, started_unix_ms: 1, ended_unix_ms: 2 }
    }

    #[test]
    fn everything_is_read_back_before_and_after_the_end_and_from_one_file() {
        let folder = scratch("ledger");
        let task = ProcessIdentity { pid: 5, start_ticks: 6, boot: "b".into() };
        let running = Running { task, started_unix_ms: 1 };
        let mut ledger = Ledger::take(&folder, &intent()).unwrap().unwrap();
        assert_eq!(read::<Running>(&folder).unwrap(), None);
        ledger.add(&running).unwrap();
        assert_eq!(read::<Running>(&folder).unwrap(), Some(running.clone()));
        assert_eq!(read::<Ended>(&folder).unwrap(), None);
        ledger.end(&ended("")).unwrap();
        assert_eq!(read::<Intent>(&folder).unwrap(), Some(intent()));
        assert_eq!(read::<Running>(&folder).unwrap(), Some(running));
        assert_eq!(read::<Ended>(&folder).unwrap(), Some(ended("")));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_attempt_is_taken_once_while_it_runs_and_after_its_end() {
        let folder = scratch("ledger-once");
        let ledger = Ledger::take(&folder, &intent()).unwrap().unwrap();
        assert!(Ledger::take(&folder, &intent()).unwrap().is_none());
        ledger.end(&ended("")).unwrap();
        assert!(Ledger::take(&folder, &intent()).unwrap().is_none());
        assert!(!folder.join(Intent::NAME).exists(), "the name is free again, and the end stands");
        assert_eq!(read::<Ended>(&folder).unwrap(), Some(ended("")));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_took_an_attempt_in_a_folder_that_was_moved_away_learns_that_it_is_not_theirs() {
        let (folder, trash) = (scratch("ledger-moved"), scratch("ledger-trash").join("moved"));
        let late = Ledger::take(&folder, &intent()).unwrap().unwrap();
        assert!(late.is_found_in(&folder).unwrap());
        fs::rename(&folder, &trash).unwrap();
        assert!(!late.is_found_in(&folder).unwrap(), "there is nothing");
        fs::create_dir(&folder).unwrap();
        let next = Ledger::take(&folder, &intent()).unwrap().unwrap();
        assert!(!late.is_found_in(&folder).unwrap(), "what is there is the next one's");
        assert!(next.is_found_in(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(trash.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_end_that_could_not_be_put_in_place_is_written_again_whole() {
        let folder = scratch("ledger-again");
        let ledger = Ledger::take(&folder, &intent()).unwrap().unwrap();
        fs::create_dir(folder.join(Ended::NAME)).unwrap();
        ledger.end(&ended("a longer message than the next one")).unwrap_err();
        fs::remove_dir(folder.join(Ended::NAME)).unwrap();
        ledger.end(&ended("short")).unwrap();
        assert_eq!(read::<Ended>(&folder).unwrap(), Some(ended("short")));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_end_that_an_agent_writes_for_a_dead_supervisor_needs_no_intent_in_it() {
        let folder = scratch("ledger-agent");
        drop(Ledger::take(&folder, &intent()).unwrap().unwrap());
        assert!(publish(&folder, &ended("")).unwrap());
        assert_eq!(read::<Intent>(&folder).unwrap(), Some(intent()));
        assert_eq!(read::<Ended>(&folder).unwrap(), Some(ended("")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
