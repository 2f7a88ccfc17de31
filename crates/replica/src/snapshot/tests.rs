//! Snapshot files: golden bytes, and transfers that break off, repeat and overlap.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::disk::{Disk, Folder, MemoryDisk};
use crate::history::{History, Keep, MemoryHistory};
use crate::machine::FrozenState;
use crate::member::Member;
use crate::raft::{Membership, SnapshotMeta, StoredMembership, log_id};
use crate::wire::{self, proto};

struct Chunks(Vec<&'static str>);

impl FrozenState for Chunks {
    fn chunks(&mut self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| Bytes::from(self.0.remove(0)))
    }
}

fn meta(term: u64, index: u64) -> SnapshotMeta {
    let member = Member { raft_id: 1, name: "m1".into(), disk_id: [3; 16], ..Member::default() };
    let membership =
        Membership::new(vec![[1].into()], std::collections::BTreeMap::from([(1, member)])).unwrap();
    let last_membership = StoredMembership::new(Some(log_id(1, 0)), membership);
    SnapshotMeta { last_log_id: Some(log_id(term, index)), last_membership }
}

fn folder(disk: &MemoryDisk) -> Arc<SnapshotFolder> {
    with_history(disk, &MemoryHistory::new())
}

/// A folder whose history reaches far enough for every snapshot here.
fn with_history(disk: &MemoryDisk, history: &MemoryHistory) -> Arc<SnapshotFolder> {
    history.put(&[], 9, &Keep::ALL).unwrap();
    Arc::new(SnapshotFolder::open(Arc::new(disk.clone()), Arc::new(history.clone()), "c").unwrap())
}

fn contents(file: &SnapshotFile) -> Vec<Bytes> {
    file.chunks().map(Result::unwrap).collect()
}

#[test]
fn snapshot_bytes_are_golden() {
    let disk = MemoryDisk::new();
    let file = folder(&disk).build(meta(2, 9), Box::new(Chunks(vec!["first", "second"]))).unwrap();
    let stored = disk.open(Folder::Snapshots, file.name()).unwrap().unwrap().read_at(0, 4096).unwrap();
    let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../tests/golden/snapshot-v1.hex").trim());
}

#[test]
fn published_snapshot_survives_a_crash_and_replaces_the_older() {
    let disk = MemoryDisk::new();
    folder(&disk).build(meta(1, 5), Box::new(Chunks(vec!["old"]))).unwrap();
    folder(&disk).build(meta(2, 9), Box::new(Chunks(vec!["new"]))).unwrap();
    let survivor = disk.after_crash(0);
    let current = folder(&survivor).current().unwrap();
    assert_eq!(current.meta(), &meta(2, 9));
    assert_eq!(contents(&current), ["new"]);
    assert_eq!(survivor.list(Folder::Snapshots).unwrap().len(), 1);
}

#[test]
fn older_state_never_replaces_a_newer_snapshot() {
    let disk = MemoryDisk::new();
    let folder = folder(&disk);
    folder.build(meta(2, 9), Box::new(Chunks(vec!["new"]))).unwrap();
    let kept = folder.build(meta(1, 5), Box::new(Chunks(vec!["old"]))).unwrap();
    assert_eq!(kept.meta(), &meta(2, 9));
}

struct Unsettled;

impl FrozenState for Unsettled {
    fn chunks(&mut self) -> Option<Bytes> {
        None
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        Err(SnapshotError::Unsettled("the history is behind".into()))
    }
}

#[test]
fn unsettled_snapshot_does_not_become_current() {
    let disk = MemoryDisk::new();
    let folder = folder(&disk);
    folder.build(meta(1, 5), Box::new(Unsettled)).unwrap_err();
    assert!(folder.current().is_none());
    assert!(self::folder(&disk).current().is_none());
}

#[test]
fn empty_and_oversized_chunks_are_refused() {
    let disk = MemoryDisk::new();
    let refused = folder(&disk).build(meta(1, 5), Box::new(Chunks(vec![""]))).unwrap_err();
    assert!(matches!(refused, SnapshotError::ChunkSize { bytes: 0, .. }));
}

#[test]
fn snapshot_of_another_cell_is_refused() {
    let disk = MemoryDisk::new();
    folder(&disk).build(meta(1, 5), Box::new(Chunks(vec!["x"]))).unwrap();
    let history = Arc::new(MemoryHistory::new());
    history.put(&[], 5, &Keep::ALL).unwrap();
    let refused = SnapshotFolder::open(Arc::new(disk), history, "d").err().expect("another cell is refused");
    assert!(matches!(refused, SnapshotError::OtherCell { .. }));
}

fn key(file: &SnapshotFile) -> proto::SnapshotKey {
    proto::SnapshotKey {
        sender_disk_id: Bytes::from_static(&[1; 16]),
        last_log_id: file.meta().last_log_id.as_ref().map(wire::log_id),
        length_bytes: file.length_bytes(),
        checksum: file.total_checksum(),
    }
}

fn piece(file: &SnapshotFile, offset_bytes: u64, length: usize) -> proto::SnapshotChunk {
    let content = file.read_at(offset_bytes, length).unwrap();
    proto::SnapshotChunk { offset_bytes, checksum: crc32c::crc32c(&content), content }
}

#[test]
fn transfer_resumes_where_it_broke_off_and_ignores_repeats() {
    let sender = folder(&MemoryDisk::new());
    let file = sender.build(meta(2, 9), Box::new(Chunks(vec!["first", "second", "third"]))).unwrap();
    let disk = MemoryDisk::new();
    let receiver = folder(&disk);
    let mut incoming = Incoming::new(receiver.clone());
    let key = key(&file);

    assert_eq!(incoming.offer(key.clone()).unwrap(), 0);
    assert_eq!(incoming.chunk(&key, &piece(&file, 0, 20)).unwrap(), 20);
    assert_eq!(incoming.chunk(&key, &piece(&file, 0, 20)).unwrap(), 20, "a repeat");
    assert_eq!(incoming.chunk(&key, &piece(&file, 40, 20)).unwrap(), 20, "a gap");
    assert!(matches!(incoming.finish(&key), Err(TransferError::Incomplete { received_bytes: 20, .. })));
    let mut damaged = piece(&file, 20, 20);
    damaged.checksum ^= 1;
    assert!(matches!(incoming.chunk(&key, &damaged), Err(TransferError::Checksum { offset_bytes: 20 })));
    assert_eq!(incoming.offer(key.clone()).unwrap(), 20, "another attempt goes on");
    assert_eq!(incoming.chunk(&key, &piece(&file, 20, 4096)).unwrap(), file.length_bytes());

    let received = incoming.finish(&key).unwrap();
    assert!(receiver.current().is_none(), "received is not installed");
    let installed = receiver.adopt(&received).unwrap();
    assert_eq!(contents(&installed), ["first", "second", "third"]);
    assert_eq!(folder(&disk.after_crash(0)).current().unwrap().meta(), &meta(2, 9));
}

#[test]
fn another_offer_leaves_what_waits_to_be_installed_whole() {
    let sender = folder(&MemoryDisk::new());
    let file = sender.build(meta(2, 9), Box::new(Chunks(vec!["first", "second"]))).unwrap();
    let disk = MemoryDisk::new();
    let receiver = folder(&disk);
    let mut incoming = Incoming::new(receiver.clone());
    let key = key(&file);
    incoming.offer(key.clone()).unwrap();
    incoming.chunk(&key, &piece(&file, 0, 4096)).unwrap();
    let received = incoming.finish(&key).unwrap();

    assert_eq!(incoming.offer(key.clone()).unwrap(), 0, "the sender did not hear of the end");
    incoming.chunk(&key, &piece(&file, 0, 20)).unwrap();
    let installed = receiver.adopt(&received).unwrap();
    assert_eq!(contents(&installed), ["first", "second"]);
    let restarted = folder(&disk.after_crash(0)).current().expect("it was installed");
    assert_eq!(contents(&restarted), ["first", "second"]);
    assert_eq!(incoming.chunk(&key, &piece(&file, 20, 4096)).unwrap(), file.length_bytes());
    incoming.finish(&key).unwrap();
}

#[test]
fn received_file_that_is_not_a_snapshot_is_refused() {
    let sender = folder(&MemoryDisk::new());
    let file = sender.build(meta(2, 9), Box::new(Chunks(vec!["first", "second"]))).unwrap();
    let receiver = folder(&MemoryDisk::new());
    let mut incoming = Incoming::new(receiver.clone());
    let key = key(&file);
    incoming.offer(key.clone()).unwrap();
    let mut content = file.read_at(0, 4096).unwrap().to_vec();
    let middle = content.len() - 45;
    content[middle] ^= 1;
    let chunk =
        proto::SnapshotChunk { offset_bytes: 0, checksum: crc32c::crc32c(&content), content: content.into() };
    incoming.chunk(&key, &chunk).unwrap();
    assert!(matches!(incoming.finish(&key), Err(TransferError::Invalid(_))));
    assert!(receiver.current().is_none());
}

#[test]
fn another_offer_replaces_the_transfer() {
    let sender = folder(&MemoryDisk::new());
    let file = sender.build(meta(2, 9), Box::new(Chunks(vec!["first"]))).unwrap();
    let mut incoming = Incoming::new(folder(&MemoryDisk::new()));
    let first = key(&file);
    let second = proto::SnapshotKey { sender_disk_id: Bytes::from_static(&[2; 16]), ..first.clone() };
    incoming.offer(first.clone()).unwrap();
    incoming.chunk(&first, &piece(&file, 0, 20)).unwrap();
    assert_eq!(incoming.offer(second).unwrap(), 0);
    assert!(matches!(incoming.chunk(&first, &piece(&file, 20, 20)), Err(TransferError::NotOffered)));
}

#[test]
fn built_snapshot_raises_the_watermark_before_it_is_current_and_an_unsettled_one_does_not() {
    let (disk, history) = (MemoryDisk::new(), MemoryHistory::new());
    let open = || SnapshotFolder::open(Arc::new(disk.clone()), Arc::new(history.clone()), "c");
    open().unwrap().build(meta(1, 5), Box::new(Unsettled)).unwrap_err();
    assert_eq!(history.watermark().unwrap(), 0);
    open().unwrap().build(meta(1, 5), Box::new(Chunks(vec!["x"]))).unwrap();
    assert_eq!(history.watermark().unwrap(), 5);
    history.fail_puts();
    open().unwrap().build(meta(1, 7), Box::new(Chunks(vec!["y"]))).unwrap_err();
    assert_eq!(open().unwrap().current_index(), Some(5));
}

#[test]
fn snapshot_above_the_history_is_refused() {
    let disk = MemoryDisk::new();
    folder(&disk).build(meta(1, 5), Box::new(Chunks(vec!["x"]))).unwrap();
    let history = Arc::new(MemoryHistory::new());
    let refused = SnapshotFolder::open(Arc::new(disk), history, "c").err().expect("the history is behind");
    assert!(matches!(refused, SnapshotError::HistoryBehind { upto: 5, watermark: 0, .. }));
}

#[test]
fn received_snapshot_waits_for_its_history() {
    let sender = folder(&MemoryDisk::new());
    let file = sender.build(meta(2, 9), Box::new(Chunks(vec!["first"]))).unwrap();
    let history = Arc::new(MemoryHistory::new());
    let receiver = SnapshotFolder::open(Arc::new(MemoryDisk::new()), history.clone(), "c").unwrap();
    let mut incoming = Incoming::new(Arc::new(receiver));
    let key = key(&file);
    let rows = |watermark| proto::HistoryRows { watermark, ..proto::HistoryRows::default() };
    assert!(matches!(incoming.history(&key, rows(9)), Err(TransferError::NotOffered)));
    incoming.offer(key.clone()).unwrap();
    assert_eq!(incoming.begin_history().unwrap(), 0);
    incoming.chunk(&key, &piece(&file, 0, 4096)).unwrap();
    assert_eq!(incoming.history(&key, rows(8)).unwrap(), 8);
    assert!(matches!(incoming.finish(&key), Err(TransferError::HistoryBehind { watermark: 8, upto: 9 })));
    assert!(matches!(incoming.history(&key, rows(10)), Err(TransferError::HistoryBeyond { upto: 9 })));
    assert_eq!(incoming.history(&key, rows(9)).unwrap(), 9);
    incoming.finish(&key).unwrap();
}
