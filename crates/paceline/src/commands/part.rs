//! A file that gets its name when all of it is there: until then it stands beside, under a name of its own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A file that is being written. It goes away unless it is finished.
#[derive(Debug)]
pub struct PartFile {
    target: PathBuf,
    beside: PathBuf,
    file: File,
}

impl PartFile {
    /// Begins `target`, which must not exist, as `target.part.<process>`, which must not exist either.
    pub fn create(target: &Path) -> Result<Self> {
        ensure!(!target.exists(), "{} exists already", target.display());
        let mut beside = target.as_os_str().to_owned();
        beside.push(format!(".part.{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = OpenOptions::new().write(true).create_new(true).open(&beside);
        let file = file.with_context(|| format!("cannot create {}", beside.display()))?;
        Ok(Self { target: target.to_owned(), beside, file })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.beside.display()))
    }

    /// Gives the file its name, and returns when both are on the disk.
    pub fn finish(self) -> Result<()> {
        let wrong = || format!("cannot write {}", self.target.display());
        self.file.sync_all().with_context(wrong)?;
        ensure!(!self.target.exists(), "{} exists by now", self.target.display());
        std::fs::rename(&self.beside, &self.target).with_context(wrong)?;
        let folder = match self.target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(wrong)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Gone already where it was finished; what cannot be taken away is told by its name.
        let _ = std::fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_that_differ_in_their_endings_do_not_meet() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = dir.path().join("out.part");
        std::fs::write(&own, "somebody's").expect("written");
        let (a, b) = (dir.path().join("out.a"), dir.path().join("out.b"));
        let (mut first, mut second) =
            (PartFile::create(&a).expect("created"), PartFile::create(&b).expect("created"));
        first.write(b"1").expect("written");
        second.write(b"2").expect("written");
        first.finish().expect("finished");
        second.finish().expect("finished");
        let read = |path: &Path| std::fs::read_to_string(path).expect("there");
        assert_eq!((read(&a), read(&b), read(&own)), ("1".into(), "2".into(), "somebody's".into()));
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 3);
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_what_is_not_finished_goes_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("out");
        let file = PartFile::create(&target).expect("created");
        assert!(PartFile::create(&target).is_err(), "it is being written");
        std::fs::write(&target, "another's").expect("written");
        let error = file.finish().expect_err("the name is taken").to_string();
        assert!(error.contains("exists by now"), "{error}");
        assert!(PartFile::create(&target).is_err(), "it is there");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1);
    }
}
