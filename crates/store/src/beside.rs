//! What lies in a database's folder beside tables and logs, and RocksDB would make anew without a word.
//!
//! Without CURRENT it begins an empty database among the files of the old one. An IDENTITY that is gone or is not what the
//! manifest says is replaced. The first is refused here, the second named. OPTIONS are written at each opening and never
//! read; damage in them has no consequence.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

const CURRENT: &str = "CURRENT";
const IDENTITY: &str = "IDENTITY";

/// What was there before RocksDB opened the folder.
pub struct Before {
    is_new: bool,
    identity: Option<Vec<u8>>,
}

/// A database without CURRENT.
#[derive(Debug, PartialEq, Eq)]
pub struct CurrentGone {
    /// A file that shows that there was a database.
    pub left: String,
}

/// Looks before RocksDB does.
pub fn look(folder: &Path) -> io::Result<Result<Before, CurrentGone>> {
    let is_new = !folder.join(CURRENT).exists();
    if is_new {
        // Logs and tables are made only once CURRENT is durable, so a power cut does not leave them alone.
        for entry in fs::read_dir(folder)? {
            let left = entry?.file_name().to_string_lossy().into_owned();
            if left.ends_with(".log") || left.ends_with(".sst") {
                return Ok(Err(CurrentGone { left }));
            }
        }
    }
    let identity = match fs::read(folder.join(IDENTITY)) {
        Ok(identity) => Some(identity),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(Ok(Before { is_new, identity }))
}

impl Before {
    /// What was wrong with IDENTITY, now that it is known what it should have said.
    pub fn problem(&self, identity: &[u8]) -> Option<&'static str> {
        match &self.identity {
            _ if self.is_new => None,
            None => Some("IDENTITY was gone; written anew"),
            Some(found) if found != identity => Some("IDENTITY was not what the manifest says; written anew"),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_without_its_current_is_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(look(folder.path()).unwrap().is_ok_and(|before| before.is_new));
        fs::write(folder.path().join("MANIFEST-000001"), "half").unwrap();
        assert!(look(folder.path()).unwrap().is_ok(), "the power went while it was made");
        fs::write(folder.path().join("000004.log"), "").unwrap();
        let left = "000004.log".to_owned();
        assert_eq!(look(folder.path()).unwrap().err(), Some(CurrentGone { left }));
    }

    #[test]
    fn identity_that_changed_is_named() {
        let before =
            |identity: Option<&[u8]>| Before { is_new: false, identity: identity.map(<[u8]>::to_vec) };
        assert_eq!(before(Some(b"a-b")).problem(b"a-b"), None);
        assert!(before(Some(b"a-c")).problem(b"a-b").is_some_and(|words| words.starts_with("IDENTITY")));
        assert!(before(None).problem(b"a-b").is_some_and(|words| words.starts_with("IDENTITY")));
    }
}
