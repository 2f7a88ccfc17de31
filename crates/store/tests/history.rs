//! The history database: rows, watermark, order of age, replays.

use bytes::Bytes;
use paceline_replica::{History, HistoryRow};
use paceline_store::HistoryStore;

fn row(key: &str, value: &str) -> HistoryRow {
    HistoryRow { key: Bytes::from(key.to_owned()), value: Bytes::from(value.to_owned()) }
}

fn keys(rows: &[HistoryRow]) -> Vec<&str> {
    rows.iter().map(|row| std::str::from_utf8(&row.key).expect("keys here are text")).collect()
}

#[test]
fn rows_and_watermark_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let history = HistoryStore::open(dir.path()).unwrap();
    assert_eq!((history.watermark().unwrap(), history.is_empty().unwrap()), (0, true));
    history.put(&[row("job/b", "2"), row("job/a", "1")], 7).unwrap();
    history.put(&[], 9).unwrap();
    drop(history);
    let history = HistoryStore::open(dir.path()).unwrap();
    assert_eq!((history.watermark().unwrap(), history.len().unwrap()), (9, 2));
    assert_eq!(history.get(b"job/a").unwrap().unwrap(), "1");
    assert_eq!(history.get(b"job/c").unwrap(), None);
}

#[test]
fn scan_pages_through_a_prefix_in_key_order() {
    let dir = tempfile::tempdir().unwrap();
    let history = HistoryStore::open(dir.path()).unwrap();
    history
        .put(&[row("b/2", ""), row("a/1", ""), row("b/1", ""), row("b/3", ""), row("c/1", "")], 1)
        .unwrap();
    let page = history.scan(b"b/", None, 2).unwrap();
    assert_eq!(keys(&page), ["b/1", "b/2"]);
    let rest = history.scan(b"b/", Some(&page[1].key), 2).unwrap();
    assert_eq!(keys(&rest), ["b/3"]);
    assert_eq!(history.scan(b"", None, 100).unwrap().len(), 5);
}

#[test]
fn oldest_rows_go_first_and_a_replay_does_not_bring_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let history = HistoryStore::open(dir.path()).unwrap();
    history.put(&[row("z", "1"), row("y", "1")], 1).unwrap();
    history.put(&[row("x", "1")], 2).unwrap();
    history.put(&[row("y", "2")], 2).unwrap();
    assert_eq!(history.delete_oldest(1).unwrap(), 1);
    history.put(&[row("z", "1"), row("y", "1")], 1).unwrap();
    assert_eq!(keys(&history.scan(b"", None, 9).unwrap()), ["x", "y"]);
    assert_eq!(history.get(b"y").unwrap().unwrap(), "2");
    assert_eq!(history.delete_oldest(9).unwrap(), 2);
    assert!(history.is_empty().unwrap());
    assert_eq!(history.watermark().unwrap(), 2);
}

#[test]
fn database_of_another_kind_of_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(HistoryStore::open(dir.path()).unwrap());
    std::fs::write(dir.path().join("history/CURRENT"), "nonsense").unwrap();
    assert!(HistoryStore::open(dir.path()).is_err());
}
