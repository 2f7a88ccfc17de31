//! The history database: the contract of `replica` on RocksDB, what survives, what is refused.

use std::collections::BTreeMap;

use paceline_replica::{History, HistoryAge, HistoryRow, Keep, ReadLimit, check_history};
use paceline_store::HistoryStore;

fn row(key: u8, revision: u64) -> HistoryRow {
    HistoryRow {
        key: vec![0, key].into(),
        name: format!("job-{}", key % 3).into(),
        revision,
        clock_ms: revision * 10,
        value: format!("{key}").into(),
    }
}

fn all(history: &HistoryStore) -> Vec<HistoryRow> {
    history
        .rows_after(&HistoryAge::default(), u64::MAX, ReadLimit { rows: 99, bytes: 1 << 20 })
        .expect("reads")
}

#[test]
fn history_on_rocksdb_keeps_the_contract() {
    check_history(&mut || {
        let dir = tempfile::tempdir().unwrap();
        let history = HistoryStore::open(dir.path()).unwrap();
        (Box::new(history), Box::new(move || Box::new(HistoryStore::open(dir.path()).unwrap())))
    });
}

#[test]
fn rows_names_ages_and_count_agree_after_every_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: BTreeMap<HistoryAge, HistoryRow> = BTreeMap::new();
    for revision in 1..=20_u64 {
        let history = HistoryStore::open(dir.path()).unwrap();
        assert_eq!(all(&history), expected.values().cloned().collect::<Vec<_>>());
        assert_eq!(history.len().unwrap(), expected.len() as u64);
        for name in 0..3 {
            let name = format!("job-{name}");
            let newest = expected.values().filter(|row| row.name == name).max_by_key(|row| row.key.clone());
            assert_eq!(history.newest_named(name.as_bytes(), None).unwrap().as_ref(), newest);
        }
        let new: Vec<HistoryRow> = (0..3).map(|at| row((revision * 3 + at) as u8, revision)).collect();
        // A replay of everything so far comes with it, and changes nothing.
        let replay: Vec<HistoryRow> =
            (1..revision).flat_map(|old| (0..3).map(move |at| row((old * 3 + at) as u8, old))).collect();
        let keep = Keep { rows: 10, clock_from_ms: (revision * 10).saturating_sub(25), ..Keep::ALL };
        history.put(&[replay, new.clone()].concat(), revision, &keep).unwrap();
        expected.extend(new.into_iter().map(|row| (row.age(), row)));
        expected.retain(|_, row| row.clock_ms >= keep.clock_from_ms);
        while expected.len() > 10 {
            expected.pop_first();
        }
    }
}

#[test]
fn name_that_cannot_be_stored_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let history = HistoryStore::open(dir.path()).unwrap();
    let long = HistoryRow { name: vec![b'n'; 70_000].into(), ..row(2, 1) };
    let refused = history.put(&[row(1, 1), long], 1, &Keep::ALL).unwrap_err();
    assert!(refused.to_string().contains("70000"), "{refused}");
    assert_eq!((history.watermark().unwrap(), all(&history)), (0, Vec::new()));
}

#[test]
fn database_of_another_kind_of_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(HistoryStore::open(dir.path()).unwrap());
    std::fs::write(dir.path().join("history/CURRENT"), "nonsense").unwrap();
    assert!(HistoryStore::open(dir.path()).is_err());
}
