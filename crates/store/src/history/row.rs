//! The bytes of a history row, of its place by name and of its place by age. What is too short reads as nothing.

use bytes::{BufMut, Bytes, BytesMut};
use paceline_replica::{HistoryAge, HistoryRow};

/// A revision or a clock.
const NUMBER: usize = 8;
/// The length of a name.
const LENGTH: usize = 2;

/// The value under a row's key.
pub fn encode(row: &HistoryRow) -> Bytes {
    let mut stored = BytesMut::with_capacity(2 * NUMBER + LENGTH + row.name.len() + row.value.len());
    stored.put_u64(row.revision);
    stored.put_u64(row.clock_ms);
    stored
        .put_u16(u16::try_from(row.name.len()).expect("a longer name has no place by name and was refused"));
    stored.put_slice(&row.name);
    stored.put_slice(&row.value);
    stored.freeze()
}

fn number(stored: &[u8], at: usize) -> Option<u64> {
    let bytes = stored.get(at..at + NUMBER)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads the value under a row's key.
pub fn decode(key: &[u8], stored: &Bytes) -> Option<HistoryRow> {
    let (revision, clock_ms) = (number(stored, 0)?, number(stored, NUMBER)?);
    let length = stored.get(2 * NUMBER..2 * NUMBER + LENGTH)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    let (name, value) = (2 * NUMBER + LENGTH, 2 * NUMBER + LENGTH + length);
    if stored.len() < value {
        return None;
    }
    let key = Bytes::copy_from_slice(key);
    Some(HistoryRow {
        key,
        name: stored.slice(name..value),
        revision,
        clock_ms,
        value: stored.slice(value..),
    })
}

/// Where a row stands by name: the length first, so that no name is the beginning of another.
pub fn name_key(name: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(name.len()).ok()?;
    Some([&length.to_be_bytes()[..], name, key].concat())
}

/// Sorts behind every row of a name and before those of the next.
pub fn behind_name(name: &[u8]) -> Option<Vec<u8>> {
    let mut behind = name_key(name, &[])?;
    // The next prefix of this length; the length itself rises when the name is all ones.
    while let Some(last) = behind.pop() {
        if last < u8::MAX {
            behind.push(last + 1);
            return Some(behind);
        }
    }
    None
}

/// The row's key in its place by name.
pub fn key_in_name(stored: &[u8]) -> Option<&[u8]> {
    let length = stored.get(..LENGTH)?.try_into().ok()?;
    stored.get(LENGTH + usize::from(u16::from_be_bytes(length))..)
}

/// The row's key in its place by age.
pub fn key_in_age(stored: &[u8]) -> Option<&[u8]> {
    stored.get(NUMBER..)
}

/// Where a row stands by age.
pub fn age_key(age: &HistoryAge) -> Vec<u8> {
    [&age.revision.to_be_bytes()[..], &age.key].concat()
}

/// Reads where a row stands by age.
pub fn age_of(stored: &[u8]) -> Option<HistoryAge> {
    Some(HistoryAge { revision: number(stored, 0)?, key: Bytes::copy_from_slice(stored.get(NUMBER..)?) })
}

/// What stands by age: enough to trim without reading the row.
pub fn age_value(clock_ms: u64, name: &[u8]) -> Vec<u8> {
    [&clock_ms.to_be_bytes()[..], name].concat()
}

/// Reads it.
pub fn age_value_of(stored: &[u8]) -> Option<(u64, &[u8])> {
    Some((number(stored, 0)?, stored.get(NUMBER..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> HistoryRow {
        HistoryRow {
            key: Bytes::from_static(&[0, 7]),
            name: "hello".into(),
            revision: 300,
            clock_ms: 4,
            value: "job".into(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn stored_bytes_are_golden() {
        let row = row();
        let stored = encode(&row);
        assert_eq!(hex(&stored), "000000000000012c0000000000000004000568656c6c6f6a6f62");
        assert_eq!(decode(&row.key, &stored), Some(row.clone()));
        assert_eq!(hex(&name_key(&row.name, &row.key).unwrap()), "000568656c6c6f0007");
        assert_eq!(hex(&age_key(&row.age())), "000000000000012c0007");
        assert_eq!(hex(&age_value(row.clock_ms, &row.name)), "000000000000000468656c6c6f");
    }

    #[test]
    fn what_is_cut_short_is_not_read() {
        let row = row();
        let stored = encode(&row);
        let header = stored.len() - row.value.len();
        assert!((0..header).all(|length| decode(&row.key, &stored.slice(..length)).is_none()));
        assert!((0..NUMBER).all(|length| age_of(&age_key(&row.age())[..length]).is_none()));
    }

    #[test]
    fn nothing_of_another_name_sorts_between() {
        assert!(name_key(b"ab", &[0xff; 40]).unwrap() < behind_name(b"ab").unwrap());
        assert!(behind_name(b"ab").unwrap() <= name_key(b"ac", &[]).unwrap());
        assert!(name_key(&[0xff, 0xff], &[0xff]).unwrap() < behind_name(&[0xff, 0xff]).unwrap());
        assert!(name_key(&vec![0; 70_000], &[]).is_none());
    }
}
