//! How a RocksDB is opened here: nothing acknowledged may be dropped silently, and nothing may grow without bound.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use paceline_replica::{DiskError, Visit};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use crate::tail::Cut;
use crate::{StoreError, beside, tail};

/// A write-ahead log beyond this is flushed into tables: bounds the time to open after a crash.
const WAL_LIMIT_BYTES: u64 = 128 * 1024 * 1024;
/// RocksDB's own info log: two small files are enough to see its last complaints.
const INFO_LOG_BYTES: usize = 1024 * 1024;
/// How many of them are kept.
const INFO_LOG_FILES: usize = 2;
/// Open tables per database; a log holds far fewer, history a few hundred.
const OPEN_FILES: i32 = 512;
/// One flush and one compaction at a time: the cores belong to the master.
const BACKGROUND_JOBS: i32 = 2;

/// A column family and the size of its write buffer.
#[derive(Clone, Copy)]
pub struct Family {
    pub name: &'static str,
    pub write_buffer_bytes: usize,
}

/// How large buffers and write-ahead logs grow.
#[derive(Clone, Copy)]
pub struct Sizes {
    divisor: u64,
}

impl Sizes {
    /// As the constants say.
    pub const PRODUCTION: Self = Self { divisor: 1 };
    /// A write-ahead log of 256 KiB, and for every buffer the least that RocksDB allows (64 KiB).
    #[cfg(feature = "testing")]
    pub const SMALL: Self = Self { divisor: 512 };
}

/// An open database.
pub struct Database {
    db: DB,
    path: PathBuf,
    /// What was cut off its log files as it was opened.
    cuts: Vec<Cut>,
}

fn options(sizes: Sizes) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The default would stop quietly before a damaged record and drop acknowledged entries behind it. This refuses to
    // open on damage anywhere but in the unsynced tail.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_manual_wal_flush(false);
    // A recycled file could show old records behind the new tail.
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_LIMIT_BYTES / sizes.divisor);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_stats_dump_period_sec(0);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options
}

/// What a power cut tore off is no damage, and what RocksDB would pass over is; see `tail`.
fn check_log_files(path: &Path) -> Result<Vec<Cut>, StoreError> {
    let failed =
        |source| StoreError::Folder { path: path.to_owned(), action: "reading its log files", source };
    let cuts = tail::cut_torn_tails(path).map_err(failed)?;
    let cuts = cuts.map_err(|damaged| StoreError::Database {
        path: path.to_owned(),
        cause: format!("{} is damaged at byte {}", damaged.file, damaged.at_bytes),
    })?;
    for Cut { file, from_bytes, to_bytes } in &cuts {
        tracing::warn!(folder = %path.display(), file, from_bytes, to_bytes, "the last write was not whole; cut off");
    }
    Ok(cuts)
}

/// What RocksDB would make anew without a word; see `beside`.
fn look_beside(path: &Path) -> Result<beside::Before, StoreError> {
    let failed = |source| StoreError::Folder { path: path.to_owned(), action: "reading it", source };
    let before = beside::look(path).map_err(failed)?;
    before.map_err(|gone| StoreError::Database {
        path: path.to_owned(),
        cause: format!("CURRENT is gone, and {} shows that there was a database", gone.left),
    })
}

impl Database {
    /// Opens or creates the database with these column families.
    pub fn open(path: &Path, families: &[Family], sizes: Sizes) -> Result<Self, StoreError> {
        let descriptors = families.iter().map(|family| {
            let mut options = Options::default();
            options.set_write_buffer_size(family.write_buffer_bytes / sizes.divisor as usize);
            options.set_compression_type(DBCompressionType::None);
            ColumnFamilyDescriptor::new(family.name, options)
        });
        let before = look_beside(path)?;
        let cuts = check_log_files(path)?;
        let failed =
            |error: rocksdb::Error| StoreError::Database { path: path.to_owned(), cause: error.to_string() };
        let db = DB::open_cf_descriptors(&options(sizes), path, descriptors).map_err(failed)?;
        if let Some(problem) = before.problem(&db.get_db_identity().map_err(failed)?) {
            tracing::warn!(folder = %path.display(), problem, "a file of the database was damaged");
        }
        Ok(Self { db, path: path.to_owned(), cuts })
    }

    /// For error messages: where it is, and what was taken from it today.
    pub fn describe(&self, family: &str) -> String {
        let cuts = self.cuts.iter().map(|Cut { file, from_bytes, to_bytes }| {
            format!(", whose file {file} was cut back from {from_bytes} to {to_bytes} bytes as it was opened")
        });
        format!("{} ({family}{})", self.path.display(), cuts.collect::<String>())
    }

    pub fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("every family that is used was opened")
    }

    fn error(&self, action: &'static str) -> impl FnOnce(rocksdb::Error) -> DiskError {
        let target = self.path.display().to_string();
        move |error| DiskError::new(action, target, error)
    }

    /// Applies a batch without waiting for the disk.
    pub fn write(&self, batch: WriteBatch) -> Result<(), DiskError> {
        self.db.write(batch).map_err(self.error("write"))
    }

    /// Applies a batch and waits until it is on the disk.
    pub fn write_synced(&self, batch: WriteBatch) -> Result<(), DiskError> {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(batch, &synced).map_err(self.error("write"))
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.db.flush_wal(true).map_err(self.error("sync"))
    }

    pub fn read(&self, family: &'static str, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let value = self.db.get_pinned_cf(self.family(family), key).map_err(self.error("read"))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Visits keys from `from` up to `to`, or to the end.
    pub fn range(
        &self,
        family: &'static str,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), DiskError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mut at = self.db.raw_iterator_cf_opt(self.family(family), options);
        at.seek(from);
        while let Some((key, value)) = at.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            at.next();
        }
        // An iterator that ends may have failed.
        at.status().map_err(self.error("read"))
    }

    /// Visits keys downwards, from the last below `below` or from the very last.
    pub fn range_back(
        &self,
        family: &'static str,
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), DiskError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        if let Some(below) = below {
            options.set_iterate_upper_bound(below);
        }
        let mut at = self.db.raw_iterator_cf_opt(self.family(family), options);
        at.seek_to_last();
        while let Some((key, value)) = at.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            at.prev();
        }
        // An iterator that ends may have failed.
        at.status().map_err(self.error("read"))
    }

    /// Reads every block of a family, of what was deleted or written over too: what nobody reads would be damaged without
    /// a word until a compaction fails on it.
    #[expect(
        deprecated,
        reason = "the log is purged by deleted ranges, and this skips none of what they cover"
    )]
    pub fn read_through(&self, family: &'static str) -> Result<(), DiskError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.set_ignore_range_deletions(true);
        options.fill_cache(false);
        let mut at = self.db.raw_iterator_cf_opt(self.family(family), options);
        at.seek_to_first();
        while at.valid() {
            at.next();
        }
        at.status().map_err(self.error("read"))
    }

    /// Drops whole table files whose keys all lie from `first` to `last`, both inclusive.
    pub fn drop_files(&self, family: &'static str, first: &[u8], last: &[u8]) -> Result<(), DiskError> {
        let dropped = self.db.delete_file_in_range_cf(self.family(family), first, last);
        dropped.map_err(self.error("reclaim"))
    }
}
