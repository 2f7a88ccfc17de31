//! That a `paceline dev` runs in a folder: one at most, and what it can be tied to.
//!
//! ```text
//! DIR/dev.lock   locked while it runs
//! DIR/dev.alive  a named pipe that it holds open and never writes to: whoever reads it sees its end
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};

/// For nobody but its user.
const PIPE_MODE: u32 = 0o600;

/// Held by the one that runs.
#[derive(Debug)]
pub struct Presence {
    _lock: File,
    /// Both ends, so that opening does not wait; the writing one is what counts.
    _pipe: File,
}

impl Presence {
    /// Makes this process the one that runs here.
    pub fn take(dir: &Path) -> Result<Self> {
        let lock = match lock(dir)? {
            Some(lock) => lock,
            None => {
                bail!("another paceline dev runs in {}: end it first, or use another --dir", dir.display())
            }
        };
        let path = pipe(dir);
        let make = || -> io::Result<File> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(PIPE_MODE), 0)?;
            OpenOptions::new().read(true).write(true).open(&path)
        };
        let pipe = make().with_context(|| format!("cannot make the pipe {}", path.display()))?;
        Ok(Self { _lock: lock, _pipe: pipe })
    }

    /// The pipe of the one that runs here, for reading; nothing when none runs.
    pub fn find(dir: &Path) -> Result<Option<File>> {
        if lock(dir)?.is_some() {
            return Ok(None);
        }
        let path = pipe(dir);
        let open = || -> io::Result<File> {
            let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
            // Opening must not wait for a writer that ends in this moment; reading shall wait.
            let file = OpenOptions::new().read(true).custom_flags(nonblock).open(&path)?;
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
            Ok(file)
        };
        open().map(Some).with_context(|| format!("cannot open the pipe {}", path.display()))
    }
}

/// The lock, unless somebody has it.
fn lock(dir: &Path) -> Result<Option<File>> {
    let path = dir.join("dev.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn pipe(dir: &Path) -> PathBuf {
    dir.join("dev.alive")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn one_runs_in_a_folder_and_its_end_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Presence::find(dir.path()).expect("readable").is_none());
        let first = Presence::take(dir.path()).expect("free");
        assert!(Presence::take(dir.path()).expect_err("taken").to_string().contains("another paceline dev"));
        let mut pipe = Presence::find(dir.path()).expect("readable").expect("it runs");
        drop(first);
        let mut sink = Vec::new();
        assert_eq!(pipe.read_to_end(&mut sink).expect("read to its end"), 0);
        assert!(Presence::find(dir.path()).expect("readable").is_none());
        Presence::take(dir.path()).expect("free again");
    }
}
