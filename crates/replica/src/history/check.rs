//! The contract of [`History`] as one check, for every implementation.

use bytes::Bytes;

use super::{History, HistoryAge, HistoryRow, Keep, ReadLimit};

/// Opens the same history again, after the first was dropped.
pub type Reopen = Box<dyn FnOnce() -> Box<dyn History>>;

const MANY: ReadLimit = ReadLimit { rows: 100, bytes: 1 << 20 };

fn row(key: u8, name: &str, revision: u64, clock_ms: u64, value: &str) -> HistoryRow {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    HistoryRow { key: Bytes::from(vec![0, key]), name: bytes(name), revision, clock_ms, value: bytes(value) }
}

fn keys(rows: &[HistoryRow]) -> Vec<u8> {
    rows.iter().map(|row| row.key[1]).collect()
}

fn all(history: &dyn History) -> Vec<u8> {
    keys(&history.scan_back(None, MANY).expect("reads"))
}

/// Holds an implementation against the contract. `make` gives an empty history and how to open it again.
///
/// # Panics
/// Where the contract is broken.
pub fn check_history(make: &mut dyn FnMut() -> (Box<dyn History>, Reopen)) {
    rows_are_found_by_key_name_and_age(make().0.as_ref());
    names_are_found_whole(make().0.as_ref());
    pages_are_bounded_in_rows_and_bytes(make().0.as_ref());
    trimming_takes_the_oldest(make().0.as_ref());
    let (history, reopen) = make();
    replays_change_nothing(history, reopen);
}

fn rows_are_found_by_key_name_and_age(history: &dyn History) {
    assert!(history.is_empty().expect("reads") && history.watermark().expect("reads") == 0);
    assert_eq!(history.oldest().expect("reads"), None);
    let rows = [row(3, "a", 10, 0, "x"), row(1, "a", 10, 0, "y"), row(2, "b", 12, 5, "z")];
    history.put(&rows, 15, &Keep::ALL).expect("puts");
    assert_eq!((history.len().expect("reads"), history.watermark().expect("reads")), (3, 15));
    assert_eq!(history.get(&[0, 2]).expect("reads"), Some(rows[2].clone()));
    assert_eq!(history.get(&[0, 9]).expect("reads"), None);
    let named = |name: &[u8], before: Option<&[u8]>| history.newest_named(name, before).expect("reads");
    assert_eq!(named(b"a", None), Some(rows[0].clone()));
    assert_eq!(named(b"a", Some(&[0, 3])), Some(rows[1].clone()));
    assert_eq!(named(b"a", Some(&[0, 1])), None);
    assert_eq!(all(history), [3, 2, 1]);
    assert_eq!(keys(&history.scan_back(Some(&[0, 3]), MANY).expect("reads")), [2, 1]);
    let after = |age: &HistoryAge, upto| keys(&history.rows_after(age, upto, MANY).expect("reads"));
    assert_eq!(after(&HistoryAge::default(), 20), [1, 3, 2]);
    assert_eq!(after(&HistoryAge::default(), 11), [1, 3]);
    assert_eq!(after(&rows[1].age(), 20), [3, 2]);
    assert_eq!(after(&rows[2].age(), 20), [0; 0]);
    assert_eq!(history.oldest().expect("reads"), Some(rows[1].age()));
}

fn names_are_found_whole(history: &dyn History) {
    let rows = [row(1, "ab", 1, 0, ""), row(2, "abc", 1, 0, ""), row(3, "", 1, 0, "")];
    history.put(&rows, 1, &Keep::ALL).expect("puts");
    for row in &rows {
        assert_eq!(history.newest_named(&row.name, None).expect("reads"), Some(row.clone()));
    }
    assert_eq!(history.newest_named(b"a", None).expect("reads"), None);
    assert_eq!(history.newest_named(b"abcd", None).expect("reads"), None);
}

fn pages_are_bounded_in_rows_and_bytes(history: &dyn History) {
    let large = "v".repeat(1_000);
    let rows: Vec<HistoryRow> = (1..=4).map(|key| row(key, "n", u64::from(key), 0, &large)).collect();
    history.put(&rows, 4, &Keep::ALL).expect("puts");
    let back = |limit| keys(&history.scan_back(None, limit).expect("reads"));
    assert_eq!(back(ReadLimit { rows: 2, bytes: 1 << 20 }), [4, 3]);
    assert_eq!(back(ReadLimit { rows: 9, bytes: 2_500 }), [4, 3]);
    assert_eq!(back(ReadLimit { rows: 9, bytes: 1 }), [4], "a row that is too large comes alone");
    let after = |limit| keys(&history.rows_after(&rows[0].age(), 9, limit).expect("reads"));
    assert_eq!(after(ReadLimit { rows: 2, bytes: 1 << 20 }), [2, 3]);
    assert_eq!(after(ReadLimit { rows: 9, bytes: 1 }), [2]);
}

fn trimming_takes_the_oldest(history: &dyn History) {
    let keep = |rows, clock_from_ms| Keep { rows, clock_from_ms, ..Keep::ALL };
    history
        .put(&[row(9, "n", 1, 10, ""), row(8, "n", 2, 20, ""), row(7, "n", 3, 30, "")], 3, &keep(2, 0))
        .expect("puts");
    assert_eq!(all(history), [8, 7]);
    history.put(&[row(6, "n", 4, 40, "")], 4, &keep(9, 25)).expect("puts");
    assert_eq!(all(history), [7, 6]);
    assert_eq!(history.newest_named(b"n", None).expect("reads").map(|row| row.revision), Some(3));
    history.put(&[], 5, &Keep { from: row(6, "n", 4, 40, "").age(), ..Keep::ALL }).expect("puts");
    assert_eq!((all(history), history.len().expect("reads")), (vec![6], 1));
    // Even what is put may go at once.
    history.put(&[row(5, "n", 6, 50, ""), row(4, "n", 6, 50, "")], 6, &keep(0, 0)).expect("puts");
    assert!(history.is_empty().expect("reads") && all(history).is_empty());
    assert_eq!(history.newest_named(b"n", None).expect("reads"), None);
    assert_eq!((history.oldest().expect("reads"), history.watermark().expect("reads")), (None, 6));
}

fn replays_change_nothing(history: Box<dyn History>, reopen: Reopen) {
    let old = [row(1, "n", 5, 0, "first"), row(2, "n", 6, 0, "second")];
    history.put(&old, 6, &Keep { rows: 1, ..Keep::ALL }).expect("puts");
    // Part of revision 8 arrived, and the watermark says so.
    history.put(&[row(3, "n", 8, 0, "third")], 7, &Keep::ALL).expect("puts");
    drop(history);
    let history = reopen();
    assert_eq!((all(history.as_ref()), history.watermark().expect("reads")), (vec![3, 2], 7));
    history.put(&old, 6, &Keep { rows: 0, ..Keep::ALL }).expect("puts");
    assert_eq!(all(history.as_ref()), [3, 2], "a replay brings nothing back and trims nothing");
    history.put(&[row(3, "n", 8, 0, "third"), row(4, "n", 8, 0, "")], 7, &Keep::ALL).expect("puts");
    assert_eq!(all(history.as_ref()), [4, 3, 2]);
    history.put(&[row(3, "n", 8, 0, "third"), row(4, "n", 8, 0, "")], 8, &Keep::ALL).expect("puts");
    assert_eq!((history.len().expect("reads"), history.watermark().expect("reads")), (3, 8));
    let ages = history.rows_after(&HistoryAge::default(), 8, MANY).expect("reads");
    assert_eq!(keys(&ages), [2, 3, 4]);
    history.put(&[row(9, "n", 8, 0, "")], 8, &Keep::ALL).expect("puts");
    assert_eq!(history.len().expect("reads"), 3);
}
