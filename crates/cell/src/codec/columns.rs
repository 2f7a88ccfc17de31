//! Columns: many like numbers in few bytes (see the head of `cell.proto`).

use super::{DecodeError, Decoded, wrong};
use paceline_types::{IndexRange, IndexSet};

/// Most rows that the columns of one message may claim: a constant column claims rows for nothing, and each row
/// costs memory. An entry of 2 MiB at two bytes per row has as many.
pub(super) const ROWS_MAX: u64 = 1 << 20;

/// Shortens a column: nothing for zeros, one value for equal ones.
pub(super) fn pack(mut values: Vec<u64>) -> Vec<u64> {
    let first = values.first().copied().unwrap_or(0);
    if values.iter().all(|value| *value == first) {
        values.truncate(usize::from(first != 0));
    }
    values
}

/// Undoes [`pack`] for a column of `rows` rows.
pub(super) fn unpack(field: &'static str, values: &[u64], rows: usize) -> Decoded<Vec<u64>> {
    match values {
        [] => Ok(vec![0; rows]),
        [same] if rows > 0 => Ok(vec![*same; rows]),
        values if values.len() == rows => Ok(values.to_vec()),
        _ => Err(wrong(field, "a column as long as its neighbours")),
    }
}

/// Shortens a column of 32-bit numbers, checked on the way back.
pub(super) fn unpack_u32(field: &'static str, values: &[u64], rows: usize) -> Decoded<Vec<u32>> {
    let narrow = |value: u64| u32::try_from(value).map_err(|_| wrong(field, "a column of 32-bit numbers"));
    unpack(field, values, rows)?.into_iter().map(narrow).collect()
}

/// A column as differences to the row before.
pub(super) fn pack_deltas(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut before = 0_u64;
    pack(
        values
            .map(|value| {
                let delta = zigzag(value.wrapping_sub(before));
                before = value;
                delta
            })
            .collect(),
    )
}

/// Undoes [`pack_deltas`].
pub(super) fn unpack_deltas(field: &'static str, values: &[u64], rows: usize) -> Decoded<Vec<u64>> {
    let mut value = 0_u64;
    let mut column = unpack(field, values, rows)?;
    for row in &mut column {
        value = value.wrapping_add(unzigzag(*row));
        *row = value;
    }
    Ok(column)
}

/// Undoes [`pack_deltas`] for 32-bit numbers.
pub(super) fn unpack_deltas_u32(field: &'static str, values: &[u64], rows: usize) -> Decoded<Vec<u32>> {
    let narrow = |value: u64| u32::try_from(value).map_err(|_| wrong(field, "a column of 32-bit numbers"));
    unpack_deltas(field, values, rows)?.into_iter().map(narrow).collect()
}

/// Small differences in either direction as small numbers.
pub(super) const fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1).cast_unsigned() ^ (signed >> 63).cast_unsigned()
}

pub(super) const fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// Most commands of an entry: each has a reply, whatever few bytes it takes itself.
pub(super) const COMMANDS_MAX: usize = 65_536;

/// A claimed number of commands, within [`COMMANDS_MAX`].
pub(super) fn commands(count: u32) -> Decoded<usize> {
    let within = usize::try_from(count).ok().filter(|count| *count <= COMMANDS_MAX);
    within.ok_or(DecodeError::TooMany { what: "commands", limit: COMMANDS_MAX as u64 })
}

/// The sum of a column of counts, within [`ROWS_MAX`].
pub(super) fn total(what: &'static str, counts: &[u64]) -> Decoded<usize> {
    let sum = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    rows(what, sum.unwrap_or(u64::MAX))
}

/// A claimed number of rows, within [`ROWS_MAX`].
pub(super) fn rows(what: &'static str, count: u64) -> Decoded<usize> {
    let limit = ROWS_MAX;
    if count > limit {
        return Err(DecodeError::TooMany { what, limit });
    }
    usize::try_from(count).map_err(|_| DecodeError::TooMany { what, limit })
}

/// Ranges of task indices, over several sets: distance from the end of the range before, and length less one.
#[derive(Debug, Default)]
pub(super) struct RangeColumns {
    counts: Vec<u64>,
    first: Vec<u64>,
    span: Vec<u64>,
    end: u64,
}

impl RangeColumns {
    pub(super) fn push(&mut self, set: &IndexSet) {
        self.counts.push(set.ranges().len() as u64);
        for range in set.ranges() {
            self.first.push(zigzag(u64::from(range.first()).wrapping_sub(self.end)));
            self.span.push(range.count() - 1);
            self.end = u64::from(range.last()) + 1;
        }
    }

    /// Counts by set, first, span.
    pub(super) fn finish(self) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
        (pack(self.counts), pack(self.first), pack(self.span))
    }
}

/// Undoes [`RangeColumns`] for `sets` sets.
pub(super) fn read_ranges(
    counts: &[u64],
    first: &[u64],
    span: &[u64],
    sets: usize,
) -> Decoded<Vec<IndexSet>> {
    let counts = unpack("ranges", counts, sets)?;
    let rows = total("ranges", &counts)?;
    let mut ranges = unpack("first", first, rows)?.into_iter().zip(unpack("span", span, rows)?);
    let mut end = 0_u64;
    let mut next = || {
        let (distance, span) = ranges.next().ok_or(wrong("first", "a column as long as its neighbours"))?;
        let first = end.wrapping_add(unzigzag(distance));
        let last = first.checked_add(span).and_then(|last| u32::try_from(last).ok());
        let range = last.and_then(|last| IndexRange::new(u32::try_from(first).ok()?, last));
        end = last.map_or(0, |last| u64::from(last) + 1);
        range.ok_or(wrong("first", "a range of task indices"))
    };
    counts.iter().map(|count| (0..*count).map(|_| next()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_rows_take_one_value_and_zeros_none() {
        assert_eq!(pack(vec![0; 9]), Vec::<u64>::new());
        assert_eq!(pack(vec![7; 9]), [7]);
        assert_eq!(pack(vec![7, 8]), [7, 8]);
        assert_eq!(unpack("c", &[], 2), Ok(vec![0, 0]));
        assert_eq!(unpack("c", &[7], 2), Ok(vec![7, 7]));
        assert!(unpack("c", &[7], 0).is_err());
        assert!(unpack("c", &[7, 8], 3).is_err());
    }

    #[test]
    fn rows_that_would_not_fit_in_memory_are_refused() {
        assert!(rows("rows", ROWS_MAX).is_ok());
        assert!(rows("rows", ROWS_MAX + 1).is_err());
        assert!(total("rows", &[u64::MAX, 2]).is_err());
        assert!(read_ranges(&[ROWS_MAX], &[], &[], 2).is_err());
    }

    proptest! {
        #[test]
        fn deltas_read_back(values in proptest::collection::vec(any::<u64>(), 0..20)) {
            let packed = pack_deltas(values.iter().copied());
            prop_assert_eq!(unpack_deltas("c", &packed, values.len()), Ok(values));
        }

        #[test]
        fn sets_read_back(
            sets in proptest::collection::vec(proptest::collection::vec((any::<u32>(), 0_u32..9), 0..5), 0..9),
        ) {
            let sets: Vec<IndexSet> = sets.into_iter().map(|ranges| {
                ranges.into_iter().filter_map(|(first, span)| IndexRange::new(first, first.checked_add(span)?)).collect()
            }).collect();
            let mut columns = RangeColumns::default();
            sets.iter().for_each(|set| columns.push(set));
            let (counts, first, span) = columns.finish();
            prop_assert_eq!(read_ranges(&counts, &first, &span, sets.len()), Ok(sets));
        }
    }
}
