//! Output of forgotten attempts, kept within bounds: the oldest goes first.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use paceline_types::AttemptId;

use crate::process::options::LogRetention;

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: VecDeque<Kept>,
    bytes: u64,
}

/// The folder of kept output.
#[derive(Debug)]
pub struct Retention {
    folder: PathBuf,
    bounds: LogRetention,
    shelf: Mutex<Shelf>,
}

impl Retention {
    /// Counts what is there, oldest first, and removes what is too much.
    pub fn open(folder: PathBuf, bounds: LogRetention) -> io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let modified = fs::metadata(&path)?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((modified, Kept { bytes: size(&path)?, path }));
        }
        found.sort_by_key(|(modified, _)| *modified);
        let retention = Self { folder, bounds, shelf: Mutex::default() };
        found.into_iter().for_each(|(_, kept)| retention.put(kept));
        Ok(retention)
    }

    /// Takes the output of an attempt out of its folder. One that wrote nothing leaves nothing.
    pub fn keep(&self, attempt: &AttemptId, output: &Path) -> io::Result<()> {
        let path = self.path(attempt);
        if !output.exists() {
            return Ok(());
        }
        self.drop_earlier(&path)?;
        fs::rename(output, &path)?;
        let bytes = size(&path)?;
        self.put(Kept { path, bytes });
        Ok(())
    }

    /// Where the output of a forgotten attempt is, if it still is.
    pub fn path(&self, attempt: &AttemptId) -> PathBuf {
        self.folder.join(attempt.to_string())
    }

    /// An attempt that was forgotten, launched again and forgotten again keeps its last output.
    fn drop_earlier(&self, path: &Path) -> io::Result<()> {
        let mut shelf = self.shelf();
        let Some(index) = shelf.kept.iter().position(|kept| kept.path == path) else { return Ok(()) };
        let earlier = shelf.kept.remove(index).expect("the index was just found");
        shelf.bytes -= earlier.bytes;
        fs::remove_dir_all(path)
    }

    fn put(&self, kept: Kept) {
        let mut shelf = self.shelf();
        shelf.bytes += kept.bytes;
        shelf.kept.push_back(kept);
        while shelf.bytes > self.bounds.bytes || shelf.kept.len() > self.bounds.attempts {
            let Some(oldest) = shelf.kept.pop_front() else { return };
            shelf.bytes -= oldest.bytes;
            if let Err(error) = fs::remove_dir_all(&oldest.path) {
                tracing::warn!(path = %oldest.path.display(), %error, "old output cannot be removed");
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic between the two fields leaves a wrong count at worst.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Attempt, JobUid, TaskIndex};

    fn attempt(task: u32) -> AttemptId {
        AttemptId { job: JobUid::default(), task: TaskIndex(task), attempt: Attempt(1) }
    }

    fn forget(retention: &Retention, root: &Path, task: u32, bytes: usize) {
        let output = root.join("log");
        fs::create_dir(&output).unwrap();
        fs::write(output.join("stdout.0"), vec![0; bytes]).unwrap();
        retention.keep(&attempt(task), &output).unwrap();
    }

    #[test]
    fn the_oldest_output_goes_when_there_is_too_much() {
        let root = std::env::temp_dir().join(format!("paceline-retention-{}", std::process::id()));
        let logs = root.join("logs");
        fs::create_dir_all(&logs).unwrap();
        let bounds = LogRetention { bytes: 100, attempts: 3 };
        let retention = Retention::open(logs.clone(), bounds).unwrap();
        (0..5).for_each(|task| forget(&retention, &root, task, 10));
        let there = |task| retention.path(&attempt(task)).exists();
        assert_eq!([0, 1, 2, 3, 4].map(there), [false, false, true, true, true]);
        forget(&retention, &root, 5, 85);
        assert_eq!([3, 4, 5].map(there), [false, true, true]);
        let reopened = Retention::open(logs, LogRetention { attempts: 1, ..bounds }).unwrap();
        assert_eq!([4, 5].map(|task| reopened.path(&attempt(task)).exists()), [false, true]);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_last_output_of_an_attempt_replaces_its_earlier_one() {
        let root = std::env::temp_dir().join(format!("paceline-retention-again-{}", std::process::id()));
        let logs = root.join("logs");
        fs::create_dir_all(&logs).unwrap();
        let retention = Retention::open(logs, LogRetention { bytes: 25, attempts: 3 }).unwrap();
        for bytes in [10, 15, 10] {
            forget(&retention, &root, 1, bytes);
        }
        forget(&retention, &root, 2, 15);
        assert_eq!(size(&retention.path(&attempt(1))).unwrap(), 10);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn an_attempt_without_output_is_kept_as_nothing() {
        let root = std::env::temp_dir().join(format!("paceline-retention-none-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let retention = Retention::open(root.clone(), LogRetention { bytes: 1, attempts: 1 }).unwrap();
        retention.keep(&attempt(0), &root.join("absent")).unwrap();
        assert!(!retention.path(&attempt(0)).exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
