//! The log against crashes, damage and disks that forget: what was acknowledged is there, or the log refuses to open.

use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use proptest::prelude::*;

use super::*;
use crate::disk::{DiskFault, MemoryDisk, Space};
use crate::raft::{Entry, LogId, Payload, TypeConfig, Vote, log_id, term};

fn options() -> LogOptions {
    LogOptions {
        identity: DiskOwner { cell: "c".into(), name: "m".into(), raft_id: 1 },
        memory_tail_bytes: 300,
        any_first_index: false,
        execution: Execution::Tasks,
        fatal: FatalHandler::replaced_by(|_| ()),
    }
}

fn open(disk: &MemoryDisk) -> Result<LogStore, LogOpenError> {
    LogStore::open(Arc::new(disk.clone()), options())
}

fn entry(term: u64, index: u64, text: &str) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Normal(Payload(Bytes::from(text.to_owned()))))
}

/// Whether the write was acknowledged.
async fn append(log: &mut LogStore, entries: Vec<Entry>) -> bool {
    let (done, durable) = TypeConfig::oneshot();
    let sent = log.append(entries, IOFlushed::signal(done)).await;
    sent.is_ok() && durable.await.is_ok_and(|result: std::io::Result<()>| result.is_ok())
}

async fn all(log: &LogStore) -> Vec<Entry> {
    log.view().reader().try_get_log_entries(..).await.unwrap()
}

async fn filled(count: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..count {
        assert!(append(&mut log, vec![entry(1, index, &format!("entry {index}"))]).await);
    }
    log.marked().await;
    disk
}

fn refusal(disk: &MemoryDisk) -> LogOpenError {
    open(disk).err().expect("the log must refuse to open")
}

#[tokio::test]
async fn reopened_log_holds_what_was_written() {
    let disk = filled(20).await;
    let log = open(&disk.after_crash(0)).unwrap();
    let entries = all(&log).await;
    assert_eq!(entries.len(), 20);
    assert_eq!(entries[7], entry(1, 7, "entry 7"));
    assert_eq!(log.view().reader().read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)));
    assert!(log.view().bytes_after(None) <= 20 * 64);
}

#[tokio::test]
async fn entry_is_readable_before_it_is_durable_and_a_group_is_synced_once() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    let before = disk.syncs();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for index in 0..50 {
        let (done, durable) = TypeConfig::oneshot();
        log.append([entry(1, index, "x")], IOFlushed::signal(done)).await.unwrap();
        let order = order.clone();
        waiting.push(tokio::spawn(async move {
            durable.await.unwrap().unwrap();
            order.lock().push(index);
        }));
        assert_eq!(log.view().reader().read(index, index + 1, 1).await.unwrap().len(), 1);
    }
    assert_eq!((disk.syncs(), order.lock().len()), (before, 0), "nothing has been synced yet");
    futures::future::join_all(waiting).await;
    assert_eq!(*order.lock(), (0..50).collect::<Vec<_>>());
    assert_eq!(disk.syncs(), before + 1);
    assert_eq!(all(&log).await.len(), 50);
}

#[tokio::test]
async fn missing_entry_is_a_hole() {
    let disk = filled(10).await;
    disk.tamper(Space::Log, &frame::key(4), None);
    assert!(matches!(refusal(&disk), LogOpenError::Hole { expected: 4, found: 5, .. }));
}

#[tokio::test]
async fn flipped_bit_is_found_in_every_byte() {
    use crate::disk::Disk;

    let disk = filled(3).await;
    let stored = disk.read(Space::Log, &frame::key(1)).unwrap().unwrap();
    for at in 0..stored.len() {
        let mut damaged = stored.to_vec();
        damaged[at] ^= 1;
        let disk = disk.after_crash(0);
        disk.tamper(Space::Log, &frame::key(1), Some(damaged.into()));
        assert!(matches!(refusal(&disk), LogOpenError::DamagedEntry { index: 1, .. }), "byte {at}");
    }
}

#[tokio::test]
async fn stale_entry_with_a_valid_checksum_breaks_the_chain() {
    use crate::disk::Disk;

    let disk = filled(10).await;
    let mut other = open(&MemoryDisk::new()).unwrap();
    let _ = append(&mut other, vec![entry(1, 0, "other history")]).await;
    let (stale, _) = frame::encode(&entry(1, 5, "entry 5"), 0x1234_5678);
    assert_ne!(disk.read(Space::Log, &frame::key(5)).unwrap().unwrap(), stale);
    disk.tamper(Space::Log, &frame::key(5), Some(stale));
    let refused = refusal(&disk);
    assert!(refused.to_string().contains("it follows an entry with checksum 12345678"), "{refused}");
}

#[tokio::test]
async fn log_that_lost_its_tail_is_refused_and_told_what_to_do() {
    let disk = filled(10).await;
    disk.tamper(Space::Log, &frame::key(9), None);
    let refused = refusal(&disk).to_string();
    for words in ["gone back in time", "1.8", "1.9", mark::FILE, "restore a backup"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[tokio::test]
async fn vote_that_went_back_is_refused() {
    let disk = filled(1).await;
    disk.tamper(Space::Meta, meta::VOTE.as_bytes(), Some(meta::seal_vote(&Vote::new(1, 1))));
    assert!(matches!(refusal(&disk), LogOpenError::Regressed { .. }));
    disk.tamper(Space::Meta, meta::VOTE.as_bytes(), Some(meta::seal_vote(&Vote::new_committed(1, 2))));
    assert!(matches!(refusal(&disk), LogOpenError::Regressed { .. }));
    disk.tamper(Space::Meta, meta::VOTE.as_bytes(), Some(meta::seal_vote(&Vote::new(2, 2))));
    open(&disk).unwrap();
}

#[tokio::test]
async fn disk_that_lied_about_a_sync_is_noticed_at_the_next_opening() {
    let disk = filled(3).await;
    let mut log = open(&disk).unwrap();
    disk.fail_next(DiskFault::LyingSync);
    log.save_vote(&Vote::new(5, 1)).await.unwrap();
    assert!(matches!(refusal(&disk.after_crash(0)), LogOpenError::Regressed { .. }));
}

#[tokio::test]
async fn mark_whose_newest_slot_was_damaged_protects_again_after_the_next_opening() {
    use crate::disk::Folder;

    let disk = filled(10).await;
    let newest = |bytes: &[u8]| {
        let sequence = |at: usize| u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        if sequence(0) > sequence(4096) { 0 } else { 4096 }
    };
    disk.tamper_file(Folder::Root, mark::FILE, |bytes| {
        let at = newest(bytes);
        bytes[at + 50] ^= 1;
    });
    open(&disk).unwrap();
    disk.tamper(Space::Log, &frame::key(9), None);
    assert!(matches!(refusal(&disk), LogOpenError::Regressed { .. }));
}

#[tokio::test]
async fn missing_mark_of_a_used_log_is_refused() {
    use crate::disk::{Disk, Folder};

    let disk = filled(1).await;
    disk.remove(Folder::Root, mark::FILE).unwrap();
    assert!(matches!(refusal(&disk), LogOpenError::Mark { .. }));
}

#[tokio::test]
async fn purge_keeps_the_chain_across_reopening() {
    let disk = filled(20).await;
    let mut log = open(&disk).unwrap();
    log.purge(log_id(1, 3)).await.unwrap();
    log.purge(log_id(1, 12)).await.unwrap();
    log.view().barrier().await.unwrap();
    let disk = disk.after_crash(0);
    let mut log = open(&disk).unwrap();
    assert_eq!(all(&log).await.first().map(RaftEntry::index), Some(13));
    assert!(append(&mut log, vec![entry(2, 20, "after")]).await);
    log.purge(log_id(2, 20)).await.unwrap();
    assert!(append(&mut log, vec![entry(2, 21, "later")]).await);
    let log = open(&disk.after_crash(0)).unwrap();
    assert_eq!(all(&log).await, [entry(2, 21, "later")]);
    disk.tamper(Space::Log, &frame::key(21), Some(frame::encode(&entry(2, 21, "later"), 0).0));
    assert!(matches!(refusal(&disk), LogOpenError::DamagedEntry { index: 21, .. }));
}

#[tokio::test]
async fn purge_beyond_the_log_starts_a_new_chain() {
    let disk = filled(5).await;
    let mut log = open(&disk).unwrap();
    log.purge(log_id(3, 100)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(3, 100)));
    assert!(append(&mut log, vec![entry(3, 101, "next")]).await);
    let log = open(&disk.after_crash(0)).unwrap();
    assert_eq!(all(&log).await, [entry(3, 101, "next")]);
}

#[tokio::test]
async fn truncated_entries_are_replaced_and_a_crash_before_the_mark_is_harmless() {
    let disk = filled(10).await;
    let mut log = open(&disk).unwrap();
    log.save_vote(&Vote::new_committed(2, 2)).await.unwrap();
    log.truncate_after(Some(log_id(1, 3))).await.unwrap();
    assert!(append(&mut log, vec![entry(2, 4, "replaced")]).await);
    let log = open(&disk.after_crash(0)).unwrap();
    let entries = all(&log).await;
    assert_eq!((entries.len(), &entries[4]), (5, &entry(2, 4, "replaced")));
}

#[tokio::test]
async fn gap_in_an_append_is_refused() {
    let mut log = open(&MemoryDisk::new()).unwrap();
    let (done, _) = TypeConfig::oneshot();
    log.append([entry(1, 3, "x")], IOFlushed::signal(done)).await.unwrap_err();
}

#[tokio::test]
async fn failed_sync_is_fatal_and_acknowledges_nothing() {
    let disk = MemoryDisk::new();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = reasons.clone();
    let fatal = FatalHandler::replaced_by(move |reason| seen.lock().push(reason.to_owned()));
    let mut log = LogStore::open(Arc::new(disk.clone()), LogOptions { fatal, ..options() }).unwrap();
    disk.fail_next(DiskFault::Sync);
    assert!(!append(&mut log, vec![entry(1, 0, "lost")]).await);
    assert_eq!(reasons.lock().len(), 1);
    assert!(reasons.lock()[0].contains("injected fault"));
    log.save_vote(&Vote::new(2, 1)).await.unwrap_err();
    assert!(!append(&mut log, vec![entry(1, 1, "after")]).await);
}

#[test]
fn entry_bytes_are_golden() {
    let golden = include_str!("../../tests/golden/entry-v1.hex");
    let normal = entry(3, 7, "payload");
    let blank = Entry::new(log_id(3, 8), EntryPayload::Blank);
    let (first, chain) = frame::encode(&normal, 0x0102_0304);
    let (second, _) = frame::encode(&blank, chain);
    let lines: Vec<String> = [first, second]
        .iter()
        .map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(lines.join("\n"), golden.trim());
    assert_eq!(frame::size_bytes(&normal), lines[0].len() / 2);
}

#[test]
fn metadata_bytes_are_golden() {
    let owner = DiskOwner { cell: "c".into(), name: "m1".into(), raft_id: 1 };
    let sealed = [
        meta::seal_vote(&Vote::new_committed(5, 3)),
        meta::seal_committed(&log_id(5, 42)),
        meta::seal_purged(&log_id(5, 42), 0x0102_0304),
        meta::seal_identity(&meta::Identity { who: owner, disk_id: [3; 16] }),
    ];
    let lines: Vec<String> =
        sealed.iter().map(|value| value.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(lines.join("\n"), include_str!("../../tests/golden/meta-v1.hex").trim());
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Append { sizes: Vec<usize> },
    Vote,
    Truncate { back: u64 },
    Purge { share: u64 },
    Commit,
    Crash { fault: Option<u8>, kept: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::collection::vec(0..200_usize, 1..5).prop_map(|sizes| Step::Append { sizes }),
        1 => Just(Step::Vote),
        1 => (0..6_u64).prop_map(|back| Step::Truncate { back }),
        1 => (1..10_u64).prop_map(|share| Step::Purge { share }),
        1 => Just(Step::Commit),
        2 => (prop::option::of(0..3_u8), 0..4_usize).prop_map(|(fault, kept)| Step::Crash { fault, kept }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a correct log may and must hold.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    /// Everything below this was acknowledged.
    acked: u64,
    vote: Option<Vote>,
    purged: Option<LogId>,
    term: u64,
    written: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.last().map_or(0, |id| id.index() + 1)
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(RaftEntry::log_id).max(self.purged)
    }

    fn batch(&mut self, sizes: &[usize]) -> Vec<Entry> {
        let first = self.next();
        let entries = sizes.iter().zip(first..).map(|(size, index)| {
            self.written += 1;
            entry(self.term, index, &format!("{:06}{}", self.written, "x".repeat(*size)))
        });
        entries.collect()
    }

    async fn step(&mut self, log: &mut LogStore, step: &Step) -> bool {
        match step {
            Step::Append { sizes } => {
                let batch = self.batch(sizes);
                self.entries.extend(batch.iter().cloned());
                let acked = append(log, batch).await;
                if acked {
                    self.acked = self.next();
                }
                acked
            }
            Step::Vote => {
                self.term += 1;
                let vote = Vote::new_committed(self.term, 1);
                let acked = log.save_vote(&vote).await.is_ok();
                if acked {
                    self.vote = Some(vote);
                }
                acked
            }
            Step::Truncate { back } => {
                let keep = self.entries.len().saturating_sub(usize::try_from(*back).unwrap());
                self.entries.truncate(keep);
                self.acked = self.acked.min(self.next());
                log.truncate_after(self.last()).await.is_ok()
            }
            Step::Purge { share } => {
                let position = self.entries.len() * usize::try_from(*share).unwrap() / 10;
                let Some(upto) = self.entries.get(position).map(RaftEntry::log_id) else { return true };
                self.entries.drain(..=position);
                self.purged = Some(upto);
                log.purge(upto).await.is_ok()
            }
            Step::Commit => log.save_committed(self.last()).await.is_ok(),
            Step::Crash { .. } => true,
        }
    }

    /// Holds a reopened log against the model and goes on from what it really holds.
    async fn compare(&mut self, log: &mut LogStore, before: &[Entry]) {
        let found = all(log).await;
        let purged = log.get_log_state().await.unwrap().last_purged_log_id;
        assert!(purged <= self.purged, "more was purged than asked for");
        for acked in self.entries.iter().filter(|entry| entry.index() < self.acked) {
            assert!(found.contains(acked), "acknowledged {} is lost", acked.log_id());
        }
        for entry in &found {
            assert!(before.contains(entry), "{} was never written", entry.log_id());
        }
        let vote = log.view().reader().read_vote().await.unwrap();
        assert!(vote.map(|v| v.leader_id.term) >= self.vote.map(|v| v.leader_id.term), "a vote is lost");
        self.vote = vote;
        self.entries = found;
        self.purged = purged;
        self.acked = self.next();
        self.term = self.term.max(self.last().map_or(0, |id| term(&id)));
    }
}

async fn live_through(steps: Vec<Step>) {
    let mut disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    let mut model = Model { term: 1, ..Model::default() };
    let mut ever = Vec::new();
    for step in steps {
        let mut crash = None;
        if let Step::Crash { fault, kept } = &step {
            crash = Some(*kept);
            if let Some(fault) = fault {
                let faults = [DiskFault::Write, DiskFault::Sync, DiskFault::FileSync, DiskFault::LyingSync];
                disk.fail_next(faults[usize::from(*fault)]);
                model.step(&mut log, &Step::Append { sizes: vec![5, 50] }).await;
            }
        }
        let healthy = model.step(&mut log, &step).await;
        ever.extend(model.entries.iter().filter(|entry| !ever.contains(*entry)).cloned().collect::<Vec<_>>());
        if let Some(kept) = crash.or(if healthy { None } else { Some(0) }) {
            disk = disk.after_crash(kept);
            log = open(&disk).expect("a crash alone must never make a log unusable");
            model.compare(&mut log, &ever).await;
        }
    }
    model.compare(&mut log, &ever).await;
}

/// The canary: the checker above must notice a disk that loses what it called durable.
#[tokio::test]
#[should_panic(expected = "acknowledged 1.0 is lost")]
async fn checker_catches_a_disk_that_loses_acknowledged_entries() {
    let mut model = Model { term: 1, ..Model::default() };
    let mut log = open(&MemoryDisk::new()).unwrap();
    assert!(model.step(&mut log, &Step::Append { sizes: vec![1] }).await);
    model.compare(&mut open(&MemoryDisk::new()).unwrap(), &[]).await;
}

/// The mark is synced right behind the group, on a disk that did not sync the group.
#[tokio::test]
#[should_panic(expected = "a crash alone must never make a log unusable: Regressed")]
async fn disk_that_lies_about_the_sync_of_a_group_is_found_out_by_the_mark() {
    live_through(vec![Step::Append { sizes: vec![1] }, Step::Crash { fault: Some(3), kept: 0 }]).await;
}

#[tokio::test]
async fn mark_follows_the_log_without_being_waited_for() {
    let disk = filled(3).await;
    let mark = |disk: &MemoryDisk| mark::read(disk).unwrap().last_log_id;
    assert_eq!(mark(&disk.after_crash(0)), Some(log_id(1, 2)), "it is durable behind the last group");
    let mut log = open(&disk).unwrap();
    let (done, durable) = TypeConfig::oneshot();
    // The mark cannot be synced, and the entry is acknowledged all the same.
    disk.fail_next(DiskFault::FileSync);
    log.append([entry(1, 3, "x")], IOFlushed::signal(done)).await.unwrap();
    durable.await.unwrap().unwrap();
    assert_eq!(all(&open(&disk.after_crash(0)).unwrap()).await.len(), 4);
}

#[tokio::test]
async fn commit_index_waits_for_company() {
    let disk = filled(3).await;
    let mut log = open(&disk).unwrap();
    let before = (disk.syncs(), disk.pending_batches());
    log.save_committed(Some(log_id(1, 1))).await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((disk.syncs(), disk.pending_batches()), before, "on its own it is not written");
    assert_eq!(log.view().committed(), Some(log_id(1, 1)), "and known all the same");
    assert!(append(&mut log, vec![entry(1, 3, "x")]).await);
    assert_eq!(open(&disk.after_crash(0)).unwrap().view().committed(), Some(log_id(1, 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_entries_and_votes_survive_every_crash(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live_through(steps));
    }
}
