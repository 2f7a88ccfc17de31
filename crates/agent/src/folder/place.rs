//! Where a data folder lies: a copy of it on the same machine must not pass for the original.
//!
//! A copied folder carries the instance id, so its agent would be taken for the one that is running, and the tasks of
//! that one for its own. On another machine, or after the original's machine was booted anew, the boot ids differ and
//! the cell decides; within one boot nothing but the folder's own place on the disk tells the two apart.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use paceline_types::BootId;
use serde::{Deserialize, Serialize};

use super::{FolderError, access, read, write};

const NAME: &str = "place";

/// The boot in which the folder was last used, and where its lock lay then.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlaceFile {
    boot: String,
    device: u64,
    inode: u64,
}

/// Refuses a copy that was made since this machine was booted, and remembers the place otherwise.
pub(super) fn check(dir: &Path, lock: &File, boot: BootId) -> Result<(), FolderError> {
    let path = dir.join(NAME);
    let meta = lock.metadata().map_err(|source| access(&path, source))?;
    let here = PlaceFile { boot: boot.to_string(), device: meta.dev(), inode: meta.ino() };
    if path.try_exists().map_err(|source| access(&path, source))? {
        let last: PlaceFile = read(dir, NAME)?;
        if last == here {
            return Ok(());
        }
        if last.boot == here.boot {
            return Err(FolderError::Copied { path: dir.to_owned() });
        }
    }
    write(dir, NAME, &here)
}
