//! Snapshot then restore is the identity, now and in everything that comes after.

use std::convert::Infallible;

use bytes::Bytes;
use paceline_cell::{Cell, RestoreError, RetiredJob, SNAPSHOT_CHUNK_BYTES_MAX};
use proptest::prelude::*;

use crate::world;

fn restored(chunks: impl IntoIterator<Item = Bytes>) -> Result<Cell, RestoreError> {
    Cell::restore(chunks.into_iter().map(Ok::<_, Infallible>))
}

fn played(history: &[Vec<world::Asked>]) -> Cell {
    let mut cell = Cell::genesis("restore");
    for asked in history {
        let entry = world::entry(&cell, asked);
        world::apply(&mut cell, &entry);
    }
    cell
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_restored_cell_is_the_same_and_goes_on_the_same(
        before in world::history(40),
        after in world::history(20),
        cut in 1_usize..200,
    ) {
        let mut cell = played(&before);
        let bytes: Vec<u8> = cell.snapshot_chunks().flatten().collect();
        let pieces = bytes.chunks(cut).map(Bytes::copy_from_slice);
        let mut again = restored(pieces).expect("a whole snapshot");
        prop_assert_eq!(again.digest(), cell.digest());
        prop_assert_eq!(again.check(), Vec::<String>::new());
        for asked in after {
            let entry = world::entry(&cell, &asked);
            prop_assert_eq!(&world::entry(&again, &asked), &entry, "views look the same");
            prop_assert_eq!(world::apply(&mut again, &entry), world::apply(&mut cell, &entry));
            prop_assert_eq!(again.digest(), cell.digest());
        }
    }

    #[test]
    fn a_damaged_or_cut_snapshot_is_refused(
        history in world::history(20),
        at in any::<proptest::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let cell = played(&history);
        let mut bytes: Vec<u8> = cell.snapshot_chunks().flatten().collect();
        let at = at.index(bytes.len());
        prop_assert!(restored([Bytes::copy_from_slice(&bytes[..at])]).is_err());
        bytes[at] ^= flip;
        prop_assert!(restored([Bytes::from(bytes)]).is_err());
    }

    #[test]
    fn a_finished_job_reads_back_from_history(history in world::history(60)) {
        let mut cell = Cell::genesis("history");
        for asked in history {
            let entry = world::entry(&cell, &asked);
            for retired in world::apply(&mut cell, &entry).retired {
                prop_assert_eq!(RetiredJob::decode(&retired.encode()), Ok(retired));
            }
        }
    }
}

#[test]
fn chunks_of_a_large_cell_are_full_and_bounded() {
    use paceline_cell::{Command, CommandBody, Entry};
    use paceline_rules::JobSpec;
    use paceline_types::{Resources, Revision};

    let mut cell = Cell::genesis("large");
    for number in 1..=4 {
        let mut spec = JobSpec::batch(&format!("j{number}"), 1_000_000, &["/bin/true"], Resources::new(1, 1));
        spec.template.run.extend(std::iter::repeat_n("x".repeat(100_000), 4));
        let body = CommandBody::SubmitJob { spec: spec.into(), submitted_unix_ms: 0 };
        let entry = Entry { unix_ms: 0, commands: vec![Command::from(body)] };
        cell.apply(Revision(number), &entry);
    }
    let chunks: Vec<_> = cell.snapshot_chunks().collect();
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].len(), SNAPSHOT_CHUNK_BYTES_MAX);
    let again = restored(chunks).expect("a whole snapshot");
    assert_eq!(again.digest(), cell.digest());
    assert_eq!(again.task_count(), 4_000_000);
}
