//! The disk of a replica on RocksDB and files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use paceline_replica::{Batch, Change, Disk, DiskError, DiskFile, Folder, Space, Visit};
use rocksdb::WriteBatch;

use crate::StoreError;
use crate::database::{Database, Family, Sizes};
use crate::files::{self, PlainFile, disk_error};

const LOG: Family = Family { name: "log", write_buffer_bytes: 32 * 1024 * 1024 };
/// A few hundred bytes that are rewritten all the time.
const META: Family = Family { name: "meta", write_buffer_bytes: 1024 * 1024 };
/// RocksDB insists on it; nothing is stored there.
const DEFAULT: Family = Family { name: "default", write_buffer_bytes: 64 * 1024 };

/// A folder with the log database, the snapshots and the marks of one replica.
pub struct RocksDisk {
    database: Database,
    root: PathBuf,
    snapshots: PathBuf,
    _lock: File,
}

impl RocksDisk {
    /// Opens or creates the folder. Only one process can have it open.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_sized(dir, Sizes::PRODUCTION)
    }

    /// Like [`RocksDisk::open`], with buffers that fill after a few dozen entries.
    #[cfg(feature = "testing")]
    pub fn open_small(dir: &Path) -> Result<Self, StoreError> {
        Self::open_sized(dir, Sizes::SMALL)
    }

    fn open_sized(dir: &Path, sizes: Sizes) -> Result<Self, StoreError> {
        let snapshots = dir.join("snapshots");
        files::create_folder(dir)?;
        let lock = files::lock(dir, "lock")?;
        files::create_folder(&snapshots)?;
        let log = dir.join("log");
        files::create_folder(&log)?;
        let database = Database::open(&log, &[DEFAULT, LOG, META], sizes)?;
        // A log is as long as what is kept behind a snapshot, so all of it can be read.
        for family in [LOG, META] {
            let read = database.read_through(family.name);
            read.map_err(|error| StoreError::Database { path: log.clone(), cause: error.to_string() })?;
        }
        Ok(Self { database, root: dir.to_owned(), snapshots, _lock: lock })
    }

    fn folder(&self, folder: Folder) -> &Path {
        match folder {
            Folder::Root => &self.root,
            Folder::Snapshots => &self.snapshots,
        }
    }

    fn path(&self, folder: Folder, name: &str) -> PathBuf {
        self.folder(folder).join(name)
    }
}

fn family(space: Space) -> &'static str {
    match space {
        Space::Log => LOG.name,
        Space::Meta => META.name,
    }
}

impl Disk for RocksDisk {
    fn write(&self, batch: Batch) -> Result<(), DiskError> {
        let mut writes = WriteBatch::default();
        for change in batch.changes() {
            match change {
                Change::Put { space, key, value } => {
                    writes.put_cf(self.database.family(family(*space)), key, value);
                }
                Change::DeleteRange { space, from, to } => {
                    writes.delete_range_cf(self.database.family(family(*space)), from, to);
                }
            }
        }
        self.database.write(writes)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.database.sync()
    }

    fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.database.read(family(space), key)
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.database.range(family(space), from, Some(to), visit)
    }

    /// RocksDB drops files by an inclusive end, so the exclusive one is moved back by one; only the keys of the log are
    /// dense enough for that, and only its files are worth dropping.
    fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<(), DiskError> {
        let last = <[u8; 8]>::try_from(to).ok().and_then(|to| u64::from_be_bytes(to).checked_sub(1));
        match (space, last) {
            (Space::Log, Some(last)) if from <= &last.to_be_bytes()[..] => {
                self.database.drop_files(LOG.name, from, &last.to_be_bytes())
            }
            _ => Ok(()),
        }
    }

    fn create(&self, folder: Folder, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(PlainFile::create(self.path(folder, name))?))
    }

    fn open(&self, folder: Folder, name: &str) -> Result<Option<Box<dyn DiskFile>>, DiskError> {
        let file = PlainFile::open(self.path(folder, name))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn DiskFile>))
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), DiskError> {
        let from = self.path(folder, from);
        fs::rename(&from, self.path(folder, to)).map_err(disk_error("rename", &from))
    }

    fn remove(&self, folder: Folder, name: &str) -> Result<(), DiskError> {
        files::remove(&self.path(folder, name))
    }

    fn list(&self, folder: Folder) -> Result<Vec<String>, DiskError> {
        files::list(self.folder(folder))
    }

    fn sync_folder(&self, folder: Folder) -> Result<(), DiskError> {
        files::sync_folder(self.folder(folder))
    }

    fn free_bytes(&self) -> Result<Option<u64>, DiskError> {
        files::free_bytes(&self.root).map(Some)
    }

    fn describe(&self, folder: Folder, name: &str) -> String {
        self.path(folder, name).display().to_string()
    }

    fn describe_space(&self, space: Space) -> String {
        self.database.describe(family(space))
    }
}
