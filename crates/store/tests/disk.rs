//! The disk on real files: order, ranges, reopening, locks, damage.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails like the test")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use paceline_replica::{Batch, Disk, Folder, Space};
use paceline_store::{RocksDisk, StoreError};

fn open(dir: &Path) -> RocksDisk {
    RocksDisk::open(dir).expect("the folder opens")
}

fn put(disk: &RocksDisk, indexes: std::ops::Range<u64>, size: usize) {
    for index in indexes {
        let mut batch = Batch::default();
        batch.put(Space::Log, index.to_be_bytes(), vec![index as u8; size]);
        disk.write(batch).unwrap();
    }
    disk.sync().unwrap();
}

fn keys(disk: &RocksDisk, from: u64, to: u64) -> Vec<u64> {
    let mut found = Vec::new();
    disk.range(Space::Log, &from.to_be_bytes(), &to.to_be_bytes(), &mut |key, value| {
        let index = u64::from_be_bytes(key.try_into().unwrap());
        assert!(value.iter().all(|byte| *byte == index as u8));
        found.push(index);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[test]
fn ranges_are_ordered_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    put(&disk, 250..270, 10);
    let mut batch = Batch::default();
    batch.delete_range(Space::Log, 255_u64.to_be_bytes(), 260_u64.to_be_bytes());
    batch.put(Space::Meta, "vote", "v");
    disk.write(batch).unwrap();
    disk.sync().unwrap();
    drop(disk);
    let disk = open(dir.path());
    let expected: Vec<_> = (250..255).chain(260..268).collect();
    assert_eq!(keys(&disk, 0, 268), expected);
    assert_eq!(disk.read(Space::Meta, b"vote").unwrap().unwrap(), "v");
    assert_eq!(disk.read(Space::Meta, b"none").unwrap(), None);
}

#[test]
fn reclaiming_never_touches_what_was_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    // More than a write buffer, so that whole tables can be dropped.
    put(&disk, 0..1500, 64 * 1024);
    for upto in [300_u64, 301, 900, 1499] {
        let mut batch = Batch::default();
        batch.delete_range(Space::Log, 0_u64.to_be_bytes(), upto.to_be_bytes());
        disk.write(batch).unwrap();
        disk.sync().unwrap();
        disk.reclaim(Space::Log, &0_u64.to_be_bytes(), &upto.to_be_bytes()).unwrap();
        assert_eq!(keys(&disk, upto, 1500), (upto..1500).collect::<Vec<_>>());
    }
    drop(disk);
    assert_eq!(keys(&open(dir.path()), 1499, u64::MAX), [1499]);
}

#[test]
fn folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    let refused = RocksDisk::open(dir.path()).err().expect("a second owner is refused");
    assert!(matches!(&refused, StoreError::InUse { .. }), "{refused}");
    drop(disk);
    open(dir.path());
}

#[test]
fn files_are_listed_renamed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    let file = disk.create(Folder::Snapshots, "a.building").unwrap();
    file.write_at(0, b"hello").unwrap();
    file.write_at(3, b"ping").unwrap();
    file.sync().unwrap();
    disk.rename(Folder::Snapshots, "a.building", "a").unwrap();
    disk.sync_folder(Folder::Snapshots).unwrap();
    assert_eq!(disk.list(Folder::Snapshots).unwrap(), ["a"]);
    let file = disk.open(Folder::Snapshots, "a").unwrap().unwrap();
    assert_eq!(file.read_at(1, 100).unwrap(), "elping");
    assert_eq!(file.length_bytes().unwrap(), 7);
    assert_eq!(disk.list(Folder::Root).unwrap(), ["lock"]);
    disk.remove(Folder::Snapshots, "a").unwrap();
    disk.remove(Folder::Snapshots, "a").unwrap();
    assert!(disk.open(Folder::Snapshots, "a").unwrap().is_none());
}

/// Damage in the middle of a write-ahead log must never open as a shorter log.
#[test]
fn damaged_write_ahead_log_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    put(&disk, 0..50, 40 * 1024);
    drop(disk);
    let log = dir.path().join("log");
    let wals = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let wal = wals
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    let wal = wal.expect("an unflushed database has a write-ahead log");
    let mut bytes = fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&wal, bytes).unwrap();
    let refused = RocksDisk::open(dir.path()).err().expect("damage is refused").to_string();
    assert!(refused.contains("cannot be opened") && refused.contains("restore a backup"), "{refused}");
}

#[test]
fn the_room_on_its_filesystem_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RocksDisk::open(dir.path()).unwrap();
    assert!(disk.free_bytes().unwrap().is_some_and(|free| free > 0));
}
