//! Finished jobs on their own RocksDB: rows by key, their age, and the watermark, always in one synced write.
//!
//! ```text
//!   rows   key                      → age (8 bytes, big-endian), value
//!   ages   age (8 bytes, big-endian) → key
//!   meta   "format" → 1, "watermark" → revision, both 8 bytes, big-endian
//! ```
//! A row that is put again keeps its age, and what lies below the watermark is not put again: a replayed log writes the
//! same rows twice, perhaps after they were trimmed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use paceline_replica::{DiskError, History, HistoryRow};
use parking_lot::Mutex;
use rocksdb::WriteBatch;

use crate::StoreError;
use crate::database::{Database, Family};
use crate::files;

const ROWS: Family = Family { name: "rows", write_buffer_bytes: 8 * 1024 * 1024 };
const AGES: Family = Family { name: "ages", write_buffer_bytes: 1024 * 1024 };
const META: Family = Family { name: "meta", write_buffer_bytes: 64 * 1024 };
const DEFAULT: Family = Family { name: "default", write_buffer_bytes: 64 * 1024 };

const FORMAT: &[u8] = b"format";
const FORMAT_VERSION: u64 = 1;
const WATERMARK: &[u8] = b"watermark";
const AGE_BYTES: usize = 8;

/// The history database in `DIR/history`.
pub struct HistoryStore {
    database: Database,
    counters: Mutex<Counters>,
}

struct Counters {
    next_age: u64,
    rows: u64,
    watermark: u64,
}

impl HistoryStore {
    /// Opens or creates it. RocksDB's own lock keeps other processes out.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("history");
        files::create_folder(dir)?;
        files::create_folder(&path)?;
        let database = Database::open(&path, &[DEFAULT, ROWS, AGES, META])?;
        let failed = |error: DiskError| StoreError::Database { path: path.clone(), cause: error.to_string() };
        check_format(&database).map_err(failed)?;
        let counters = read_counters(&database).map_err(failed)?;
        Ok(Self { database, counters: Mutex::new(counters) })
    }

    fn damaged(&self, family: &str, problem: &str) -> DiskError {
        DiskError::new("read", self.database.describe(family), problem)
    }
}

fn number(database: &Database, key: &'static [u8]) -> Result<Option<u64>, DiskError> {
    let Some(value) = database.read(META.name, key)? else { return Ok(None) };
    let value = value
        .as_ref()
        .try_into()
        .map_err(|_| DiskError::new("read", database.describe(META.name), "a number is not 8 bytes long"))?;
    Ok(Some(u64::from_be_bytes(value)))
}

fn check_format(database: &Database) -> Result<(), DiskError> {
    match number(database, FORMAT)? {
        Some(FORMAT_VERSION) => Ok(()),
        Some(other) => {
            let problem = format!("its format version is {other}, this build reads version {FORMAT_VERSION}");
            Err(DiskError::new("open", database.describe(META.name), problem))
        }
        None => {
            let mut batch = WriteBatch::default();
            batch.put_cf(database.family(META.name), FORMAT, FORMAT_VERSION.to_be_bytes());
            database.write_synced(batch)
        }
    }
}

fn read_counters(database: &Database) -> Result<Counters, DiskError> {
    let (mut rows, mut next_age) = (0, 0);
    database.range(AGES.name, &[], None, &mut |age, _| {
        rows += 1;
        next_age = age.try_into().map_or(u64::MAX, |age| u64::from_be_bytes(age) + 1);
        ControlFlow::Continue(())
    })?;
    Ok(Counters { next_age, rows, watermark: number(database, WATERMARK)?.unwrap_or(0) })
}

impl History for HistoryStore {
    fn put(&self, rows: &[HistoryRow], watermark: u64) -> Result<(), DiskError> {
        let mut counters = self.counters.lock();
        if watermark < counters.watermark {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let mut next_age = counters.next_age;
        let mut new = BTreeSet::new();
        for row in rows {
            let known = self.database.read(ROWS.name, &row.key)?;
            let age = match known {
                Some(known) if known.len() >= AGE_BYTES => known.slice(..AGE_BYTES),
                Some(_) => return Err(self.damaged(ROWS.name, "a row has no age")),
                None if new.contains(&row.key) => {
                    return Err(DiskError::new(
                        "write",
                        self.database.describe(ROWS.name),
                        "a key came twice",
                    ));
                }
                None => {
                    let age = Bytes::copy_from_slice(&next_age.to_be_bytes());
                    batch.put_cf(self.database.family(AGES.name), &age, &row.key);
                    new.insert(row.key.clone());
                    next_age += 1;
                    age
                }
            };
            let mut stored = BytesMut::with_capacity(AGE_BYTES + row.value.len());
            stored.put_slice(&age);
            stored.put_slice(&row.value);
            batch.put_cf(self.database.family(ROWS.name), &row.key, stored);
        }
        batch.put_cf(self.database.family(META.name), WATERMARK, watermark.to_be_bytes());
        self.database.write_synced(batch)?;
        *counters = Counters { next_age, rows: counters.rows + new.len() as u64, watermark };
        Ok(())
    }

    fn watermark(&self) -> Result<u64, DiskError> {
        Ok(self.counters.lock().watermark)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let Some(stored) = self.database.read(ROWS.name, key)? else { return Ok(None) };
        if stored.len() < AGE_BYTES {
            return Err(self.damaged(ROWS.name, "a row has no age"));
        }
        Ok(Some(stored.slice(AGE_BYTES..)))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<HistoryRow>, DiskError> {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let mut found = Vec::new();
        self.database.range(ROWS.name, from, None, &mut |key, stored| {
            if !key.starts_with(prefix) || found.len() >= limit {
                return ControlFlow::Break(());
            }
            if after != Some(key) {
                let value = Bytes::copy_from_slice(stored.get(AGE_BYTES..).unwrap_or_default());
                found.push(HistoryRow { key: Bytes::copy_from_slice(key), value });
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn delete_oldest(&self, count: usize) -> Result<usize, DiskError> {
        let mut counters = self.counters.lock();
        let mut batch = WriteBatch::default();
        let mut deleted = 0;
        self.database.range(AGES.name, &[], None, &mut |age, key| {
            if deleted == count {
                return ControlFlow::Break(());
            }
            batch.delete_cf(self.database.family(AGES.name), age);
            batch.delete_cf(self.database.family(ROWS.name), key);
            deleted += 1;
            ControlFlow::Continue(())
        })?;
        self.database.write_synced(batch)?;
        counters.rows -= deleted as u64;
        Ok(deleted)
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.counters.lock().rows)
    }
}
