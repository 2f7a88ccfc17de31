//! Finished jobs on their own RocksDB: rows by key, by name and by age, and the watermark, always in one synced write.
//!
//! ```text
//!   rows   key                                → revision, clock, length of the name (2 bytes), name, value
//!   names  length of the name (2 bytes), name, key → nothing
//!   ages   revision, key                      → clock, name
//!   meta   "format" → 3, "watermark" → revision, "rows" → how many, "keys" → the sum of their checksums; see `census`
//! ```
//! Numbers are 8 bytes, big-endian, so that keys sort by them. What lies at or below the watermark is not put again: a
//! replayed log gives the same rows twice, perhaps after they were trimmed.

mod census;
pub(crate) mod row;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use paceline_replica::{DiskError, History, HistoryAge, HistoryRow, Keep, ReadLimit};
use parking_lot::Mutex;
use rocksdb::WriteBatch;

use crate::StoreError;
use crate::database::{Database, Family, Sizes};
use crate::files;
use census::Census;

const ROWS: Family = Family { name: "rows", write_buffer_bytes: 8 * 1024 * 1024 };
const NAMES: Family = Family { name: "names", write_buffer_bytes: 1024 * 1024 };
const AGES: Family = Family { name: "ages", write_buffer_bytes: 1024 * 1024 };
const META: Family = Family { name: "meta", write_buffer_bytes: 64 * 1024 };
const DEFAULT: Family = Family { name: "default", write_buffer_bytes: 64 * 1024 };

const FORMAT: &[u8] = b"format";
const FORMAT_VERSION: u64 = 3;
/// Without the sum of keys.
const FORMAT_BEFORE: u64 = 2;
const WATERMARK: &[u8] = b"watermark";
const COUNT: &[u8] = b"rows";
const KEYS: &[u8] = b"keys";

/// The history database in `DIR/history`.
pub struct HistoryStore {
    database: Database,
    counters: Mutex<Counters>,
    _lock: File,
}

#[derive(Clone, Copy)]
struct Counters {
    census: Census,
    watermark: u64,
}

impl HistoryStore {
    /// Opens or creates it. Only one process can have it open: RocksDB's own lock comes after what is mended before it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_sized(dir, Sizes::PRODUCTION)
    }

    /// Like [`HistoryStore::open`], with buffers that fill after a few dozen rows.
    #[cfg(feature = "testing")]
    pub fn open_small(dir: &Path) -> Result<Self, StoreError> {
        Self::open_sized(dir, Sizes::SMALL)
    }

    fn open_sized(dir: &Path, sizes: Sizes) -> Result<Self, StoreError> {
        let path = dir.join("history");
        files::create_folder(dir)?;
        let lock = files::lock(dir, "history-lock")?;
        files::create_folder(&path)?;
        let database = Database::open(&path, &[DEFAULT, ROWS, NAMES, AGES, META], sizes)?;
        let failed = |error: DiskError| StoreError::Database { path: path.clone(), cause: error.to_string() };
        check_format(&database).map_err(failed)?;
        // The other families are counted, which reads them as well.
        database.read_through(META.name).map_err(failed)?;
        let counters = read_counters(&database).map_err(failed)?;
        census::check(&database, counters.census).map_err(failed)?;
        Ok(Self { database, counters: Mutex::new(counters), _lock: lock })
    }

    fn damaged(&self, family: &str) -> DiskError {
        DiskError::new("read", self.database.describe(family), "what is stored is too short")
    }

    fn decoded(&self, key: &[u8], stored: &Bytes) -> Result<HistoryRow, DiskError> {
        row::decode(key, stored).ok_or_else(|| self.damaged(ROWS.name))
    }
}

fn number(database: &Database, family: &'static str, key: &[u8]) -> Result<Option<u64>, DiskError> {
    let Some(value) = database.read(family, key)? else { return Ok(None) };
    let value = value
        .as_ref()
        .try_into()
        .map_err(|_| DiskError::new("read", database.describe(family), "a number is not 8 bytes long"))?;
    Ok(Some(u64::from_be_bytes(value)))
}

fn check_format(database: &Database) -> Result<(), DiskError> {
    match number(database, META.name, FORMAT)? {
        Some(FORMAT_VERSION) => Ok(()),
        Some(FORMAT_BEFORE) => {
            let mut batch = WriteBatch::default();
            let meta = database.family(META.name);
            batch.put_cf(meta, KEYS, census::of_rows(database)?.keys.to_be_bytes());
            batch.put_cf(meta, FORMAT, FORMAT_VERSION.to_be_bytes());
            database.write_synced(batch)
        }
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
    let number = |key| Ok::<_, DiskError>(number(database, META.name, key)?.unwrap_or(0));
    let census = Census { rows: number(COUNT)?, keys: number(KEYS)? };
    Ok(Counters { census, watermark: number(WATERMARK)? })
}

/// A put in the making. RocksDB applies a batch in order, so a removal takes what the same batch has put.
struct Put<'a> {
    store: &'a HistoryStore,
    batch: WriteBatch,
    /// Ages that this put adds, with clock and name.
    added: BTreeMap<HistoryAge, (u64, Bytes)>,
    census: Census,
}

impl Put<'_> {
    fn insert(&mut self, row: &HistoryRow) -> Result<(), DiskError> {
        let database = &self.store.database;
        let Some(named) = row::name_key(&row.name, &row.key) else {
            let problem = format!("a name of {} bytes; at most 65,535 are stored", row.name.len());
            return Err(DiskError::new("write", database.describe(ROWS.name), problem));
        };
        self.remove_known(&row.key)?;
        let age = row.age();
        self.batch.put_cf(database.family(ROWS.name), &row.key, row::encode(row));
        self.batch.put_cf(database.family(NAMES.name), named, []);
        self.batch.put_cf(
            database.family(AGES.name),
            row::age_key(&age),
            row::age_value(row.clock_ms, &row.name),
        );
        self.added.insert(age, (row.clock_ms, row.name.clone()));
        self.census.add(&row.key);
        Ok(())
    }

    /// Removes what is under a key already, here or in the database.
    fn remove_known(&mut self, key: &Bytes) -> Result<(), DiskError> {
        let earlier = self.added.iter().find(|(age, _)| age.key == *key);
        if let Some((age, (_, name))) = earlier.map(|(age, value)| (age.clone(), value.clone())) {
            self.added.remove(&age);
            self.remove(&age, &name);
        } else if let Some(known) = self.store.get(key)? {
            self.remove(&known.age(), &known.name);
        }
        Ok(())
    }

    fn remove(&mut self, age: &HistoryAge, name: &[u8]) {
        let database = &self.store.database;
        self.batch.delete_cf(database.family(AGES.name), row::age_key(age));
        self.batch.delete_cf(database.family(ROWS.name), &age.key);
        if let Some(named) = row::name_key(name, &age.key) {
            self.batch.delete_cf(database.family(NAMES.name), named);
        }
        self.census.remove(&age.key);
    }

    /// Removes the oldest rows until all that is left may stay. What this put adds is younger than what is stored, but
    /// for the revision that a shipment broke off in; there the order does not matter.
    fn trim(&mut self, keep: &Keep) -> Result<(), DiskError> {
        let stays = |rows: u64, age: &HistoryAge, clock_ms: u64| {
            rows <= keep.rows && clock_ms >= keep.clock_from_ms && *age >= keep.from
        };
        let (store, added) = (self.store, std::mem::take(&mut self.added));
        let mut problem = None;
        store.database.range(AGES.name, &[], None, &mut |key, value| {
            let Some((age, (clock_ms, name))) = row::age_of(key).zip(row::age_value_of(value)) else {
                problem = Some(store.damaged(AGES.name));
                return ControlFlow::Break(());
            };
            if added.contains_key(&age) {
                return ControlFlow::Continue(());
            }
            if stays(self.census.rows, &age, clock_ms) {
                return ControlFlow::Break(());
            }
            self.remove(&age, name);
            ControlFlow::Continue(())
        })?;
        for (age, (clock_ms, name)) in &added {
            if !stays(self.census.rows, age, *clock_ms) {
                self.remove(age, name);
            }
        }
        problem.map_or(Ok(()), Err)
    }
}

impl History for HistoryStore {
    fn put(&self, rows: &[HistoryRow], watermark: u64, keep: &Keep) -> Result<(), DiskError> {
        let mut counters = self.counters.lock();
        let mut put = Put {
            store: self,
            batch: WriteBatch::default(),
            added: BTreeMap::new(),
            census: counters.census,
        };
        for row in rows.iter().filter(|row| row.revision > counters.watermark) {
            put.insert(row)?;
        }
        let rises = watermark > counters.watermark;
        if rises {
            put.trim(keep)?;
        } else if put.added.is_empty() {
            return Ok(());
        }
        let after = Counters { census: put.census, watermark: watermark.max(counters.watermark) };
        let meta = self.database.family(META.name);
        put.batch.put_cf(meta, COUNT, after.census.rows.to_be_bytes());
        put.batch.put_cf(meta, KEYS, after.census.keys.to_be_bytes());
        put.batch.put_cf(meta, WATERMARK, after.watermark.to_be_bytes());
        self.database.write_synced(put.batch)?;
        *counters = after;
        Ok(())
    }

    fn watermark(&self) -> Result<u64, DiskError> {
        Ok(self.counters.lock().watermark)
    }

    fn get(&self, key: &[u8]) -> Result<Option<HistoryRow>, DiskError> {
        let stored = self.database.read(ROWS.name, key)?;
        stored.map(|stored| self.decoded(key, &stored)).transpose()
    }

    fn newest_named(&self, name: &[u8], before: Option<&[u8]>) -> Result<Option<HistoryRow>, DiskError> {
        let (Some(first), Some(behind)) = (row::name_key(name, &[]), row::behind_name(name)) else {
            return Ok(None);
        };
        let below = before.and_then(|before| row::name_key(name, before)).unwrap_or(behind);
        let mut found = None;
        self.database.range_back(NAMES.name, Some(&below), &mut |key, _| {
            found = key.strip_prefix(&first[..]).map(Bytes::copy_from_slice);
            ControlFlow::Break(())
        })?;
        found.map_or(Ok(None), |key| self.get(&key))
    }

    fn scan_back(&self, before: Option<&[u8]>, limit: ReadLimit) -> Result<Vec<HistoryRow>, DiskError> {
        let mut page = Page { limit, rows: Vec::new(), bytes: 0 };
        let mut problem = None;
        self.database.range_back(ROWS.name, before, &mut |key, stored| match row::decode(
            key,
            &Bytes::copy_from_slice(stored),
        ) {
            Some(row) => page.add(row),
            None => {
                problem = Some(self.damaged(ROWS.name));
                ControlFlow::Break(())
            }
        })?;
        problem.map_or(Ok(page.rows), Err)
    }

    fn rows_after(
        &self,
        after: &HistoryAge,
        upto: u64,
        limit: ReadLimit,
    ) -> Result<Vec<HistoryRow>, DiskError> {
        let from = row::age_key(after);
        let mut page = Page { limit, rows: Vec::new(), bytes: 0 };
        let mut problem = None;
        self.database.range(AGES.name, &from, None, &mut |key, _| {
            let Some(age) = row::age_of(key) else {
                problem = Some(self.damaged(AGES.name));
                return ControlFlow::Break(());
            };
            if age.revision > upto {
                return ControlFlow::Break(());
            }
            match self.get(&age.key) {
                Ok(Some(row)) if age > *after => page.add(row),
                // The one that the page begins after, or one that was trimmed since the walk began.
                Ok(_) => ControlFlow::Continue(()),
                Err(error) => {
                    problem = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        problem.map_or(Ok(page.rows), Err)
    }

    fn oldest(&self) -> Result<Option<HistoryAge>, DiskError> {
        let mut found = None;
        self.database.range(AGES.name, &[], None, &mut |key, _| {
            found = Some(row::age_of(key));
            ControlFlow::Break(())
        })?;
        match found {
            Some(None) => Err(self.damaged(AGES.name)),
            Some(age) => Ok(age),
            None => Ok(None),
        }
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.counters.lock().census.rows)
    }
}

/// Rows of one read, within its limit.
struct Page {
    limit: ReadLimit,
    rows: Vec<HistoryRow>,
    bytes: usize,
}

impl Page {
    fn add(&mut self, row: HistoryRow) -> ControlFlow<()> {
        if !self.limit.admits(self.rows.len(), self.bytes, &row) {
            return ControlFlow::Break(());
        }
        self.bytes += row.bytes();
        self.rows.push(row);
        ControlFlow::Continue(())
    }
}
