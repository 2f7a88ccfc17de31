//! What a power cut may leave at the end of a RocksDB log file, and RocksDB would take for damage; and the reverse.
//!
//! Its write-ahead logs and manifests are sequences of records. It accepts an end that is cut short, without a word. It
//! refuses one whose length is on the disk and of whose last write some pages are not, although that is no damage. And
//! where a header in the middle is zeros it passes over the rest of the block without a word, although that is damage.
//! Here both kinds of end are cut off and named, and what is damaged is refused, before RocksDB opens the folder.
//!
//! An end is cut off only if the last record in it is cut short, or is damaged by zeros over all that it has in a page, as
//! a page leaves them that was never written, or by zeros from a sector on to the end of the file, as a torn write does;
//! and no record begins behind it, in this file or in a later log file. Whatever is written to the log is synced before
//! the next write and only then acknowledged, so a power cut alone leaves at most one such record, and nobody was told of
//! it. A disk that did this to a record which had been synced is found out by the high-water mark, which is synced soon
//! behind each group, but not where the power goes in between: the window that `docs/internals/storage.md` lists among
//! what is outside. The history is held against the snapshot.

pub(crate) mod records;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use records::{Finding, State};

/// A log file that is damaged elsewhere than at a torn end.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its name.
    pub file: String,
    /// Where the damage begins.
    pub at_bytes: u64,
}

/// A log file whose torn end was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Its name.
    pub file: String,
    /// How long it was, and how long it is.
    pub from_bytes: u64,
    pub to_bytes: u64,
}

/// Cuts off the torn ends of the log files in a database's folder, unless one of them is damaged: then nothing is changed.
pub fn cut_torn_tails(folder: &Path) -> io::Result<Result<Vec<Cut>, Damaged>> {
    let manifest = current_manifest(folder)?;
    let mut found = Vec::new();
    for name in log_files(folder)?.into_iter().chain(manifest) {
        let path = folder.join(&name);
        if path.is_file() {
            found.push((name, records::examine(File::open(path)?)?));
        }
    }
    if let Some(damaged) = first_damage(&found) {
        return Ok(Err(damaged));
    }
    let mut cuts = Vec::new();
    for (name, finding) in found {
        if let State::Torn(to_bytes) = finding.state {
            let file = OpenOptions::new().write(true).open(folder.join(&name))?;
            file.set_len(to_bytes)?;
            file.sync_all()?;
            cuts.push(Cut { file: name, from_bytes: finding.length_bytes, to_bytes });
        }
    }
    Ok(Ok(cuts))
}

/// The write-ahead logs, oldest first: their names are numbers, with zeros in front of short ones.
fn log_files(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.retain(|name| name.ends_with(".log"));
    names.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    Ok(names)
}

/// The manifest that RocksDB reads. One that was being written when the power went is not named yet, and never read.
fn current_manifest(folder: &Path) -> io::Result<Option<String>> {
    match fs::read(folder.join("CURRENT")) {
        Ok(named) => Ok(Some(String::from_utf8_lossy(&named).trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A record that is damaged; or a write-ahead log that ends torn although a later one goes on.
fn first_damage(found: &[(String, Finding)]) -> Option<Damaged> {
    let is_log = |name: &str| name.ends_with(".log");
    let goes_on = |behind: usize| found[behind..].iter().any(|(name, of)| is_log(name) && of.has_records);
    found.iter().enumerate().find_map(|(nth, (name, finding))| {
        let at_bytes = match finding.state {
            State::Damaged(at) => at,
            State::Torn(at) if is_log(name) && goes_on(nth + 1) => at,
            State::Torn(_) | State::Whole => return None,
        };
        Some(Damaged { file: name.clone(), at_bytes })
    })
}

#[cfg(test)]
mod tests {
    use super::records::tests::record;
    use super::*;

    const WHOLE: u8 = 1;

    fn flipped() -> Vec<u8> {
        let mut damaged = [record(WHOLE, &[7; 300]), record(WHOLE, &[8; 900])].concat();
        damaged[700] ^= 1;
        damaged
    }

    fn torn() -> Vec<u8> {
        [record(WHOLE, &[7; 300]), record(WHOLE, &[8; 900])[..400].to_vec()].concat()
    }

    #[test]
    fn manifest_that_is_not_named_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("MANIFEST-000005"), flipped()).unwrap();
        fs::write(folder.path().join("MANIFEST-000004"), record(WHOLE, &[7; 300])).unwrap();
        fs::write(folder.path().join("CURRENT"), "MANIFEST-000004\n").unwrap();
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Ok(Vec::new()));
        fs::write(folder.path().join("CURRENT"), "MANIFEST-000005\n").unwrap();
        let file = "MANIFEST-000005".to_owned();
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Err(Damaged { file, at_bytes: 307 }));
    }

    #[test]
    fn nothing_is_cut_where_anything_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (log, manifest) = (folder.path().join("000007.log"), folder.path().join("MANIFEST-000005"));
        fs::write(&log, torn()).unwrap();
        fs::write(&manifest, flipped()).unwrap();
        fs::write(folder.path().join("CURRENT"), "MANIFEST-000005\n").unwrap();
        assert!(cut_torn_tails(folder.path()).unwrap().is_err());
        assert_eq!(fs::read(&log).unwrap(), torn());
        fs::write(&manifest, record(WHOLE, &[7; 300])).unwrap();
        let cut = Cut { file: "000007.log".into(), from_bytes: torn().len() as u64, to_bytes: 307 };
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Ok(vec![cut]));
        assert_eq!(fs::read(&log).unwrap(), record(WHOLE, &[7; 300]));
    }

    #[test]
    fn log_that_ends_torn_before_a_later_one_goes_on_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("000007.log"), torn()).unwrap();
        fs::write(folder.path().join("000009.log"), record(WHOLE, &[9; 30])).unwrap();
        let file = "000007.log".to_owned();
        assert_eq!(cut_torn_tails(folder.path()).unwrap(), Err(Damaged { file, at_bytes: 307 }));
        fs::write(folder.path().join("000009.log"), [0; 40]).unwrap();
        assert_eq!(cut_torn_tails(folder.path()).unwrap().map(|cuts| cuts.len()), Ok(2));
    }
}
