//! Decoders of stored bytes against broken ones: entries, replies, finished jobs and snapshots.

use std::convert::Infallible;

use bytes::Bytes;
use paceline_cell::{Cell, Entry, Reply, RetiredJob};
use paceline_fuzz::{Campaign, Meter, unhex};
use sha2::{Digest, Sha256};

#[global_allocator]
static METER: Meter = Meter;

/// Runs of equal tasks are a few bytes, their columns a hundred kilobytes: what bounds them is the number of tasks.
const COLUMNS_BYTES_MAX: u64 = 256 << 20;

fn golden(text: &str) -> Vec<(&str, Vec<u8>)> {
    let lines = text.lines().map(|line| line.split_once(' ').expect("a name and bytes"));
    lines.map(|(name, bytes)| (name, unhex(bytes))).collect()
}

fn bytes_of(text: &str) -> Vec<Vec<u8>> {
    golden(text).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn entries() {
    let sound = bytes_of(include_str!("golden/entries.hex"));
    Campaign::new("cell entry", sound).run(
        |bytes| Entry::decode(bytes).ok(),
        |entry| Entry::decode(&entry.encode().expect("what was read fits again")).ok(),
    );
}

#[test]
fn replies() {
    let sound = bytes_of(include_str!("golden/replies.hex"));
    Campaign::new("cell reply", sound)
        .run(|bytes| Reply::decode(bytes).ok(), |reply| Reply::decode(&reply.encode()).ok());
}

#[test]
fn finished_jobs() {
    let sound = bytes_of(include_str!("golden/finished.hex"));
    Campaign::new("finished job", sound)
        .allowing(COLUMNS_BYTES_MAX)
        .run(|bytes| RetiredJob::decode(bytes).ok(), |job| RetiredJob::decode(&job.encode()).ok());
}

/// Where the last of the records begins, each with its length before it.
fn last_record(bytes: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    while at < bytes.len() {
        last = at;
        let mut rest = &bytes[at..];
        let length = prost::encoding::decode_varint(&mut rest).expect("a length");
        at = bytes.len() - rest.len() + usize::try_from(length).expect("it fits");
    }
    last
}

/// The digest at the end would stop every change: it is made anew for what stands before it.
fn sealed(records: &[u8], end: &[u8]) -> Bytes {
    let digest: [u8; 32] = Sha256::digest(records).into();
    [records, &end[..end.len() - digest.len()], &digest].concat().into()
}

#[test]
fn snapshots() {
    let golden = golden(include_str!("golden/snapshots.hex"));
    let whole: Vec<_> =
        golden.into_iter().filter(|(name, _)| *name != "digest").map(|(_, bytes)| bytes).collect();
    let end = whole[0][last_record(&whole[0])..].to_vec();
    let sound = whole.iter().map(|bytes| bytes[..last_record(bytes)].to_vec()).collect();
    let restore = |chunks: Bytes| Cell::restore([Ok::<_, Infallible>(chunks)]).ok();
    let written = |cell: &Cell| -> Vec<u8> { cell.snapshot_chunks().flatten().collect() };
    Campaign::new("snapshot", sound).allowing(COLUMNS_BYTES_MAX).run(
        |records| restore(sealed(records, &end)).map(|cell| written(&cell)),
        |bytes| restore(bytes.clone().into()).map(|cell| written(&cell)),
    );
    Campaign::new("snapshot as it is", whole).allowing(COLUMNS_BYTES_MAX).run(
        |bytes| restore(Bytes::copy_from_slice(bytes)).map(|cell| written(&cell)),
        |bytes| restore(bytes.clone().into()).map(|cell| written(&cell)),
    );
}
