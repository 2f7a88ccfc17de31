//! What is read from the history database and from RocksDB's log files against broken bytes.

use std::io::Cursor;

use bytes::Bytes;
use paceline_fuzz::Campaign;
use paceline_replica::{HistoryAge, HistoryRow};

use crate::history::row;
use crate::tail::records::{self, State, tests::record};

const KEY: &[u8] = &[0, 7];

fn rows() -> Vec<HistoryRow> {
    let row = |name: &'static str, revision, value: &'static str| HistoryRow {
        key: Bytes::from_static(KEY),
        name: name.into(),
        revision,
        clock_ms: 4,
        value: value.into(),
    };
    vec![row("hello", 300, "job"), row("", 0, ""), row("a-name-that-is-longer", u64::MAX, "0123456789")]
}

#[test]
fn history_rows() {
    let sound = rows().iter().map(|row| row::encode(row).to_vec()).collect();
    let read = |stored: &[u8]| row::decode(KEY, &Bytes::copy_from_slice(stored));
    Campaign::new("history row", sound).run(read, |row| read(&row::encode(row)));
}

#[test]
fn history_ages() {
    let ages: Vec<HistoryAge> = rows().iter().map(HistoryRow::age).collect();
    let sound = ages.iter().map(row::age_key).collect();
    Campaign::new("history age", sound).run(row::age_of, |age| row::age_of(&row::age_key(age)));
    let sound = rows().iter().map(|row| row::age_value(row.clock_ms, &row.name)).collect();
    let read = |stored: &[u8]| row::age_value_of(stored).map(|(clock_ms, name)| (clock_ms, name.to_vec()));
    Campaign::new("history age's value", sound)
        .run(read, |(clock_ms, name)| read(&row::age_value(*clock_ms, name)));
}

/// What is left of a log file after its end was cut off is whole.
#[test]
fn log_files() {
    const WHOLE: u8 = 1;
    const FIRST: u8 = 2;
    const LAST: u8 = 4;
    let three = [record(WHOLE, &[7; 30]), record(FIRST, &[8; 90]), record(LAST, &[9; 40])].concat();
    let sound = vec![three, record(WHOLE, b"0123456789")];
    let read = |content: &[u8]| {
        let found = records::examine(Cursor::new(content)).expect("memory can be read");
        match found.state {
            State::Whole => Some(content.to_vec()),
            State::Torn(length) => Some(content[..usize::try_from(length).expect("it is within")].to_vec()),
            State::Damaged(_) => None,
        }
    };
    Campaign::new("log file", sound).run(read, |kept| read(kept));
}
