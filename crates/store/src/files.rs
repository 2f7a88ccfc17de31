//! Plain files in a folder, with every sync spelled out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use paceline_replica::{DiskError, DiskFile};

use crate::StoreError;

/// An error of `action` on `path`, for [`DiskError`].
pub fn disk_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let target = path.display().to_string();
    move |cause| DiskError::new(action, target, cause)
}

/// Bytes that this process can still write on the filesystem of `path`.
pub fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let found = rustix::fs::statvfs(path).map_err(io::Error::from);
    let found = found.map_err(disk_error("measure the filesystem of", path))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Creates a folder and its parents, durably.
pub fn create_folder(path: &Path) -> Result<(), StoreError> {
    let failed = |action| move |source| StoreError::Folder { path: path.to_owned(), action, source };
    fs::create_dir_all(path).map_err(failed("creating the folder"))?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("syncing its parent"))?;
    }
    Ok(())
}

/// Takes the folder's lock; it is held for as long as the file lives, and the kernel frees it with the process.
pub fn lock(folder: &Path, name: &str) -> Result<File, StoreError> {
    let path = folder.join(name);
    let failed = |action| {
        let path = path.clone();
        move |source| StoreError::Folder { path, action, source }
    };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed("opening the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(failed("locking")(source)),
    }
}

/// An open file.
pub struct PlainFile {
    file: File,
    path: PathBuf,
}

impl PlainFile {
    pub fn create(path: PathBuf) -> Result<Self, DiskError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(disk_error("create", &path))?;
        Ok(Self { file, path })
    }

    pub fn open(path: PathBuf) -> Result<Option<Self>, DiskError> {
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(disk_error("open", &path)(error)),
        }
    }
}

impl DiskFile for PlainFile {
    fn write_at(&self, offset_bytes: u64, content: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(content, offset_bytes).map_err(disk_error("write", &self.path))
    }

    fn read_at(&self, offset_bytes: u64, max_bytes: usize) -> Result<Bytes, DiskError> {
        let mut buffer = BytesMut::zeroed(max_bytes);
        let mut filled = 0;
        while filled < max_bytes {
            match self.file.read_at(&mut buffer[filled..], offset_bytes + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(disk_error("read", &self.path)(error)),
            }
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    }

    fn length_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.file.metadata().map_err(disk_error("stat", &self.path))?.len())
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(disk_error("sync", &self.path))
    }
}

/// Removes a file; removing what does not exist is fine.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(disk_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The names of the plain files in a folder, sorted.
pub fn list(folder: &Path) -> Result<Vec<String>, DiskError> {
    let failed = || disk_error("list", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    Ok(names)
}

/// Makes creations, renames and removals in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk_error("sync", folder))
}
