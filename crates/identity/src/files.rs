//! Files that hold keys and certificates: owner only, never overwritten, on disk before we return.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::IdentityError;

/// Keys, and folders that hold them, are for their owner alone.
const FOLDER_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
/// Certificates are public, but stay in a closed folder.
const CERTIFICATE_MODE: u32 = 0o644;
/// Far above any chain or key; a wrong path (a device, a log) ends here and not in memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file holds, which decides its permissions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Public,
}

/// Creates the folder, closed to others. One that exists already is somebody's choice and keeps its mode;
/// the keys in it are closed by their own.
pub(crate) fn create_folder(dir: &Path) -> Result<(), IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(dir)
        .map_err(|source| IdentityError::Write { path: dir.to_owned(), source })
}

/// Refuses if any of the files is there: a folder is written as a whole or not at all.
pub(crate) fn refuse_existing(dir: &Path, names: &[&str]) -> Result<(), IdentityError> {
    for name in names {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(IdentityError::Exists { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(IdentityError::Read { path, source }),
        }
    }
    Ok(())
}

/// Writes a new file and syncs it.
pub(crate) fn write_new(dir: &Path, name: &str, kind: Kind, text: &str) -> Result<(), IdentityError> {
    let path = dir.join(name);
    let mode = if kind == Kind::Key { KEY_MODE } else { CERTIFICATE_MODE };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path },
        _ => IdentityError::Write { path, source },
    })
}

/// Makes the names of the files just written durable.
pub(crate) fn sync_folder(dir: &Path) -> Result<(), IdentityError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| IdentityError::Write { path: dir.to_owned(), source })
}

/// Reads a file; a key that others can open is refused.
pub(crate) fn read(dir: &Path, name: &str, kind: Kind) -> Result<(PathBuf, String), IdentityError> {
    let path = dir.join(name);
    match read_bounded(&path) {
        Ok((mode, _)) if kind == Kind::Key && mode & 0o077 != 0 => {
            Err(IdentityError::KeyExposed { path, mode })
        }
        Ok((_, text)) => Ok((path, text)),
        Err(source) => Err(IdentityError::Read { path, source }),
    }
}

fn read_bounded(path: &Path) -> io::Result<(u32, String)> {
    // Before it is opened: to open a pipe without a writer is to wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64;
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("above {FILE_BYTES_MAX} bytes")));
    }
    Ok((mode, text))
}
