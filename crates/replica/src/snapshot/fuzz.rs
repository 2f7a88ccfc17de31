//! Snapshot files against broken bytes.

use std::sync::Arc;

use bytes::Bytes;
use paceline_fuzz::{Campaign, unhex};

use super::format::SnapshotFile;
use crate::disk::{Disk, DiskFile, Folder, MemoryDisk};

/// A whole file: what it says of itself, and its chunks.
fn read(bytes: &[u8]) -> Option<(String, String, Vec<Bytes>)> {
    let disk = MemoryDisk::new();
    let file = disk.create(Folder::Snapshots, "fuzzed").unwrap();
    file.write_at(0, bytes).unwrap();
    let file: Arc<dyn DiskFile> = disk.open(Folder::Snapshots, "fuzzed").unwrap().unwrap().into();
    let snapshot = SnapshotFile::open(file, "fuzzed".to_owned(), "fuzzed".to_owned()).ok()?;
    let chunks = snapshot.chunks().collect::<Result<_, _>>().ok()?;
    Some((format!("{:?}", snapshot.meta()), snapshot.cell().to_owned(), chunks))
}

#[test]
fn snapshot_files() {
    let golden = unhex(include_str!("../../tests/golden/snapshot-v1.hex"));
    let untouched = read(&golden).unwrap();
    Campaign::new("snapshot file", vec![golden]).run(read, |file| {
        // Every byte stands under a checksum, so nothing else than what was written ever reads as a snapshot.
        assert_eq!(*file, untouched, "a changed file was taken for a snapshot");
        Some(file.clone())
    });
}
