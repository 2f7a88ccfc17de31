//! Whether the history holds what its last put left: counted in every family as it is opened.
//!
//! A manifest that lost its last records does not show it. RocksDB takes that for a torn end and opens without the tables
//! that they named, in one family or in all, although the write-ahead logs behind those are gone. So each put writes down
//! how many rows there are then, and the sum of their keys' checksums; at opening, rows, names and ages are each held
//! against it.

use std::ops::ControlFlow;

use paceline_replica::DiskError;

use super::{AGES, NAMES, ROWS, row};
use crate::database::Database;

/// Histories beyond this are not counted: it takes about a second for so many rows of a kibibyte, and ten for as many as
/// may be configured. A warning says so; what is missing there shows when it is read.
const COUNTED_ROWS: u64 = 500_000;

/// How many keys there are, and the sum of their checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    pub rows: u64,
    pub keys: u64,
}

impl Census {
    pub fn add(&mut self, key: &[u8]) {
        self.rows += 1;
        self.keys = self.keys.wrapping_add(u64::from(crc32c::crc32c(key)));
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.rows = self.rows.saturating_sub(1);
        self.keys = self.keys.wrapping_sub(u64::from(crc32c::crc32c(key)));
    }
}

/// Counts the rows themselves.
pub fn of_rows(database: &Database) -> Result<Census, DiskError> {
    count(database, ROWS.name, |key| Some(key))
}

/// Holds every family against what the last put left.
pub fn check(database: &Database, expected: Census) -> Result<(), DiskError> {
    if expected.rows > COUNTED_ROWS {
        tracing::warn!(rows = expected.rows, "a history of so many rows is not counted as it is opened");
        return Ok(());
    }
    let found = [
        (ROWS.name, of_rows(database)?),
        (NAMES.name, count(database, NAMES.name, row::key_in_name)?),
        (AGES.name, count(database, AGES.name, row::key_in_age)?),
    ];
    match found.into_iter().find(|(_, found)| *found != expected) {
        None => Ok(()),
        Some((family, found)) => {
            let problem = format!(
                "the last write left {} rows, and there are {}, or others: tables are missing",
                expected.rows, found.rows
            );
            Err(DiskError::new("open", database.describe(family), problem))
        }
    }
}

fn count(
    database: &Database,
    family: &'static str,
    key_in: fn(&[u8]) -> Option<&[u8]>,
) -> Result<Census, DiskError> {
    let mut census = Census::default();
    database.range(family, &[], None, &mut |stored, _| {
        // What is too short to hold a key is counted with none, and differs.
        census.add(key_in(stored).unwrap_or_default());
        ControlFlow::Continue(())
    })?;
    Ok(census)
}

#[cfg(test)]
mod tests {
    use paceline_replica::{History, HistoryRow, Keep};
    use rocksdb::WriteBatch;

    use super::super::HistoryStore;
    use super::*;

    fn row(revision: u64) -> HistoryRow {
        let key = revision.to_be_bytes().to_vec().into();
        HistoryRow { key, name: "n".into(), revision, clock_ms: 0, value: "v".into() }
    }

    #[test]
    fn family_that_lacks_or_keeps_a_key_is_refused() {
        for family in [ROWS, NAMES, AGES] {
            let folder = tempfile::tempdir().unwrap();
            let store = HistoryStore::open(folder.path()).unwrap();
            store.put(&[row(1), row(2)], 2, &Keep::ALL).unwrap();
            store.put(&[row(3)], 3, &Keep { rows: 2, ..Keep::ALL }).unwrap();
            drop(store);
            let store = HistoryStore::open(folder.path()).expect("what was put and trimmed adds up");
            let mut first = None;
            let seen = store.database.range(family.name, &[], None, &mut |key, _| {
                first = Some(key.to_vec());
                ControlFlow::Break(())
            });
            seen.unwrap();
            let mut batch = WriteBatch::default();
            batch.delete_cf(store.database.family(family.name), first.expect("there are rows"));
            store.database.write_synced(batch).unwrap();
            drop(store);
            let refused = HistoryStore::open(folder.path()).err().expect("a key is missing").to_string();
            assert!(refused.contains("/history") && refused.contains("tables are missing"), "{refused}");
        }
    }

    #[test]
    fn history_of_the_format_before_is_counted_once_and_checked_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = HistoryStore::open(folder.path()).unwrap();
        store.put(&[row(1), row(2)], 2, &Keep::ALL).unwrap();
        let mut before = WriteBatch::default();
        let meta = store.database.family(super::super::META.name);
        before.put_cf(meta, super::super::FORMAT, super::super::FORMAT_BEFORE.to_be_bytes());
        before.delete_cf(meta, super::super::KEYS);
        store.database.write_synced(before).unwrap();
        drop(store);
        drop(HistoryStore::open(folder.path()).expect("it is counted"));
        let store = HistoryStore::open(folder.path()).expect("and held against that");
        store.put(&[row(3)], 3, &Keep::ALL).unwrap();
        drop(store);
        assert_eq!(HistoryStore::open(folder.path()).unwrap().len().unwrap(), 3);
    }
}
