//! The model held to its promises: what was synced always survives, and nothing survives that the rules do not allow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new("d", Draw::new(seed))
}

fn number(disk: &SimDisk) -> Option<u64> {
    let value = disk.read(Space::Meta, b"number").unwrap();
    value.map(|value| u64::from_le_bytes(value[..].try_into().unwrap()))
}

/// A batch that counts, and leaves one key per count.
fn count(number: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(Space::Meta, "number", number.to_le_bytes().to_vec());
    batch.put(Space::Log, number.to_be_bytes(), vec![1]);
    batch
}

fn written(seed: u64, synced: u64, unsynced: u64) -> SimDisk {
    let disk = disk(seed);
    for at in 1..=synced {
        disk.write(count(at)).unwrap();
    }
    disk.sync().unwrap();
    for at in synced + 1..=synced + unsynced {
        disk.write(count(at)).unwrap();
    }
    disk
}

proptest! {
    #[test]
    fn a_prefix_of_the_unsynced_batches_survives(seed: u64, synced in 0..5_u64, unsynced in 0..5_u64) {
        let disk = written(seed, synced, unsynced);
        let loss = disk.crash(CrashKind::PowerCut);
        let disk = disk.reopen();
        let survived = number(&disk).unwrap_or(0);
        prop_assert!((synced..=synced + unsynced).contains(&survived));
        prop_assert_eq!(loss.batches_kept as u64, survived - synced);
        let mut keys = Vec::new();
        disk.range(Space::Log, &[], &[0xff; 9], &mut |key, _| {
            keys.push(u64::from_be_bytes(key.try_into().unwrap()));
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(keys, (1..=survived).collect::<Vec<_>>(), "no hole");
    }

    #[test]
    fn a_killed_process_loses_nothing_and_what_it_left_is_safe_once_reopened(seed: u64, unsynced in 1..5_u64) {
        let disk = written(seed, 1, unsynced);
        disk.crash(CrashKind::Kill);
        let disk = disk.reopen();
        prop_assert_eq!(number(&disk), Some(1 + unsynced));
        disk.crash(CrashKind::PowerCut);
        prop_assert_eq!(number(&disk.reopen()), Some(1 + unsynced));
    }

    /// Every byte of a file after a power cut is one that was there at the last sync, one that was written since, or a
    /// zero where the length had grown.
    #[test]
    fn bytes_of_a_file_are_synced_or_written_later_a_sector_at_a_time(
        seed: u64,
        before in proptest::collection::vec((0..3000_usize, 1..1500_usize), 0..4),
        after in proptest::collection::vec((0..3000_usize, 1..1500_usize), 0..4),
    ) {
        let disk = disk(seed);
        let file = disk.create(Folder::Root, "f").unwrap();
        let mut model = Vec::new();
        let mut value = 0_u8;
        let mut write = |model: &mut Vec<u8>, (at, length): (usize, usize)| {
            value += 1;
            model.resize(model.len().max(at + length), 0);
            model[at..at + length].fill(value);
            file.write_at(at as u64, &vec![value; length]).unwrap();
        };
        for range in before {
            write(&mut model, range);
        }
        file.sync().unwrap();
        disk.sync_folder(Folder::Root).unwrap();
        let mut possible: Vec<Vec<u8>> = vec![model.clone()];
        for range in after {
            write(&mut model, range);
            possible.push(model.clone());
        }
        disk.crash(CrashKind::PowerCut);
        let disk = disk.reopen();
        let file = disk.open(Folder::Root, "f").unwrap().expect("its name was synced");
        let survived = file.read_at(0, usize::MAX).unwrap();
        prop_assert!(survived.len() >= possible[0].len() && survived.len() <= model.len());
        for (at, byte) in survived.iter().enumerate() {
            let allowed = *byte == 0 && at >= possible[0].len()
                || possible.iter().any(|content| content.get(at) == Some(byte));
            prop_assert!(allowed, "byte {} is {}", at, byte);
        }
    }

    #[test]
    fn names_of_a_folder_survive_as_a_prefix_of_their_changes(seed: u64, unsynced in 0..6_usize) {
        let disk = disk(seed);
        disk.create(Folder::Snapshots, "0").unwrap();
        disk.sync_folder(Folder::Snapshots).unwrap();
        let mut allowed = vec![disk.list(Folder::Snapshots).unwrap()];
        for at in 0..unsynced {
            if at % 3 == 2 {
                disk.remove(Folder::Snapshots, &at.to_string()).unwrap();
            } else {
                disk.rename(Folder::Snapshots, &at.to_string(), &(at + 1).to_string()).ok();
                disk.create(Folder::Snapshots, &format!("n{at}")).unwrap();
            }
            allowed.push(disk.list(Folder::Snapshots).unwrap());
        }
        // A creation after a rename is a change of its own, so names between two steps are allowed too.
        let loss = disk.crash(CrashKind::PowerCut);
        let survived = disk.reopen().list(Folder::Snapshots).unwrap();
        let as_before = allowed.contains(&survived);
        prop_assert!(as_before || !loss.names_lost.is_empty());
        prop_assert!(loss.names_lost.is_empty() == (Some(&survived) == allowed.last()));
    }

    #[test]
    fn the_same_seed_loses_the_same(seed: u64, unsynced in 0..9_u64) {
        let [one, two] = [(); 2].map(|()| written(seed, 2, unsynced).crash(CrashKind::PowerCut));
        prop_assert_eq!(one, two);
    }
}

/// How often each of two things survived over many seeds.
fn outcomes(
    prepare: impl Fn(&SimDisk),
    look: impl Fn(&SimDisk) -> (bool, bool),
) -> BTreeMap<(bool, bool), u32> {
    let mut seen = BTreeMap::new();
    for seed in 0..200 {
        let disk = disk(seed);
        prepare(&disk);
        disk.crash(CrashKind::PowerCut);
        *seen.entry(look(&disk.reopen())).or_default() += 1;
    }
    seen
}

#[test]
fn a_rename_can_survive_without_the_bytes_and_the_bytes_without_the_rename() {
    let seen = outcomes(
        |disk| {
            disk.create(Folder::Root, "tmp").unwrap().write_at(0, b"bytes").unwrap();
            disk.rename(Folder::Root, "tmp", "name").unwrap();
        },
        |disk| {
            let file = disk.open(Folder::Root, "name").unwrap();
            let bytes = file.as_ref().map(|file| file.read_at(0, 9).unwrap());
            (file.is_some(), bytes.is_some_and(|bytes| &bytes[..] == b"bytes"))
        },
    );
    assert!(seen.contains_key(&(true, false)) && seen.contains_key(&(true, true)), "{seen:?}");
    assert!(seen.contains_key(&(false, false)), "{seen:?}");
}

#[test]
fn a_later_range_can_survive_an_earlier_one() {
    let seen = outcomes(
        |disk| {
            let file = disk.create(Folder::Root, "f").unwrap();
            file.write_at(0, &[0; 1024]).unwrap();
            file.sync().unwrap();
            disk.sync_folder(Folder::Root).unwrap();
            file.write_at(0, &[1; 512]).unwrap();
            file.write_at(512, &[2; 512]).unwrap();
        },
        |disk| {
            let content = disk.open(Folder::Root, "f").unwrap().unwrap().read_at(0, 1024).unwrap();
            (content[0] == 1, content[512] == 2)
        },
    );
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn failed_file_sync_loses_bytes_that_the_next_sync_does_not_bring_back() {
    let seen = outcomes(
        |disk| {
            let file = disk.create(Folder::Root, "f").unwrap();
            disk.sync_folder(Folder::Root).unwrap();
            file.write_at(0, b"x").unwrap();
            disk.fail_next(Operation::SyncFile);
            file.sync().unwrap_err();
            assert_eq!(&file.read_at(0, 1).unwrap()[..], b"x", "it is still seen");
            file.sync().unwrap();
        },
        |disk| {
            let file = disk.open(Folder::Root, "f").unwrap().unwrap();
            (&file.read_at(0, 1).unwrap()[..] == b"x", true)
        },
    );
    assert!(seen.contains_key(&(false, true)), "{seen:?}");
}

#[test]
fn key_spaces_are_read_only_after_a_failed_sync() {
    let disk = written(1, 1, 1);
    disk.fail_next(Operation::SyncKeys);
    disk.sync().unwrap_err();
    disk.write(count(3)).unwrap_err();
    disk.sync().unwrap_err();
    assert_eq!(number(&disk), Some(2), "reads go on");
    disk.crash(CrashKind::PowerCut);
    disk.reopen().write(count(3)).unwrap();
}

#[test]
fn refused_write_is_not_seen_and_may_be_on_the_disk() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let disk = written(seed, 1, 0);
        disk.fail_next(Operation::WriteKeys);
        disk.write(count(2)).unwrap_err();
        assert_eq!(number(&disk), Some(1));
        disk.crash(if seed % 2 == 0 { CrashKind::Kill } else { CrashKind::PowerCut });
        seen.push(number(&disk.reopen()).unwrap());
    }
    assert!(seen.contains(&1) && seen.contains(&2), "{seen:?}");
}

#[test]
fn full_disk_says_so_before_and_when_it_is_written() {
    let disk = written(1, 1, 0);
    let faults = Faults { capacity_bytes: Some(100), ..Faults::default() };
    disk.set_faults(faults);
    assert_eq!(disk.free_bytes().unwrap(), Some(100 - 6 - 8 - 8 - 1));
    let file = disk.create(Folder::Root, "f").unwrap();
    file.write_at(0, &[0; 77]).unwrap();
    let refused = file.write_at(77, &[0]).unwrap_err();
    assert!(refused.to_string().contains("no space left"), "{refused}");
    disk.remove(Folder::Root, "f").unwrap();
    assert_eq!(disk.free_bytes().unwrap(), Some(77));
}

#[test]
fn lying_sync_saves_nothing() {
    let lost = (0..50).any(|seed| {
        let disk = written(seed, 1, 0);
        disk.set_faults(Faults { lying_sync: true, ..Faults::default() });
        disk.write(count(2)).unwrap();
        disk.sync().unwrap();
        disk.crash(CrashKind::PowerCut).batches_kept == 0
    });
    assert!(lost);
}

#[test]
fn handles_of_a_dead_process_are_refused() {
    let disk = written(1, 1, 1);
    let file = disk.create(Folder::Root, "f").unwrap();
    disk.crash(CrashKind::Kill);
    disk.write(count(9)).unwrap_err();
    let next = disk.reopen();
    file.write_at(0, b"late").unwrap_err();
    disk.sync().unwrap_err();
    next.write(count(3)).unwrap();
}

#[test]
fn a_planned_cut_fails_everything_from_its_operation_on() {
    let disk = disk(1);
    disk.cut_after(3, CrashKind::PowerCut);
    disk.write(count(1)).unwrap();
    disk.sync().unwrap();
    assert!(!disk.is_cut());
    disk.write(count(2)).unwrap_err();
    assert!(disk.is_cut());
    disk.read(Space::Meta, b"number").unwrap_err();
    let loss = disk.crash(CrashKind::Kill);
    assert_eq!(loss.kind, CrashKind::PowerCut, "the cut was first");
    assert_eq!(number(&disk.reopen()), Some(1));
}

#[test]
fn slow_syncs_ask_for_a_wait_within_their_bound() {
    let disk = disk(1);
    assert_eq!(disk.stall(), Duration::ZERO);
    let longest = Duration::from_millis(40);
    disk.set_faults(Faults { slow_sync: Some(SlowSync { permille: 500, longest }), ..Faults::default() });
    let stalls: Vec<_> = (0..100).map(|_| disk.stall()).collect();
    assert!(stalls.iter().all(|stall| *stall <= longest));
    assert!(stalls.iter().any(|stall| stall.is_zero()) && stalls.iter().any(|stall| !stall.is_zero()));
}

#[test]
fn damage_at_rest_changes_what_is_read_and_says_what_it_did() {
    let disk = written(1, 2, 0);
    let file = disk.create(Folder::Root, "f").unwrap();
    file.write_at(0, &[7; 5000]).unwrap();
    file.sync().unwrap();
    let earlier = disk.rest_point();
    disk.write(count(3)).unwrap();
    disk.sync().unwrap();
    let vote = Target::Value { space: Space::Meta, key: b"number".to_vec() };
    let done = disk.damage(&vote, &Damage::StaleCopy(earlier.clone())).unwrap();
    assert_eq!((done.as_str(), number(&disk)), ("older copy of number", Some(2)));
    assert_eq!(disk.damage(&vote, &Damage::StaleCopy(earlier)), None, "it is that copy already");
    let target = Target::File { folder: Folder::Root, name: "f".into() };
    assert!(disk.targets().contains(&target));
    disk.damage(&target, &Damage::ZeroPage { page: 1 }).unwrap();
    assert_eq!(file.read_at(4095, 2).unwrap()[..], [7, 0]);
    disk.damage(&target, &Damage::FlipBit { bit: 0 }).unwrap();
    assert_eq!(file.read_at(0, 1).unwrap()[..], [6]);
    disk.damage(&target, &Damage::Truncate { keep: 10 }).unwrap();
    assert_eq!(file.length_bytes().unwrap(), 10);
    disk.damage(&target, &Damage::Vanish).unwrap();
    assert!(disk.open(Folder::Root, "f").unwrap().is_none());
    let entry = Target::Value { space: Space::Log, key: 2_u64.to_be_bytes().to_vec() };
    assert_eq!(entry.to_string(), "log entry 2");
}
