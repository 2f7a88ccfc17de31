//! One master: propose, reply, restart, snapshot, purge, refusals.

mod support;

use bytes::Bytes;
use paceline_replica::{ENTRY_LIMIT_BYTES, Folder, LocalTransport, OpenError, ProposeError, ReplicaConfig};
use support::{Disks, cell, config, leader, open, within};

fn payload(number: u32) -> Bytes {
    Bytes::from(format!("entry {number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_are_replied_to_and_survive_a_restart() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let first = masters[0].replica.propose(payload(1)).await.unwrap();
    assert_eq!(first.reply, "1");
    let second = masters[0].replica.propose(payload(2)).await.unwrap();
    assert_eq!(second.reply, "2");
    assert!(second.revision > first.revision);
    assert_eq!(masters[0].replica.read_index().await.unwrap(), second.revision);
    assert!(masters[0].replica.log_bytes_written() > 0);
    let before = masters[0].payloads();

    let disk_id = masters[0].replica.disk_id();
    let disk = masters.remove(0).stop(&net).await;
    let again = open(&net, &disk, config("m1", 1)).await.unwrap();
    assert_eq!(again.replica.disk_id(), disk_id);
    let masters = [again];
    leader(&masters).await;
    assert_eq!(masters[0].payloads(), before);
    assert_eq!(masters[0].replica.propose(payload(3)).await.unwrap().reply, "3");
}

/// On one thread, so that nothing but the opening itself can have told it.
#[tokio::test]
async fn a_master_knows_its_cell_from_the_moment_it_is_open() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let disk = masters.remove(0).stop(&net).await;
    let again = open(&net, &disk, config("m1", 1)).await.unwrap();
    assert_eq!(again.replica.status().members.len(), 1, "a founder would take its folder for an empty one");
}

/// A follower may hold an entry of the old term that this leader sent out and lost: it must never be written anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_comes_back_is_elected_again_in_another_term() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    masters[0].replica.propose(payload(1)).await.unwrap();
    let led_in = masters[0].replica.status().term;
    let disk = masters.remove(0).stop(&net).await;
    let masters = [open(&net, &disk, config("m1", 1)).await.unwrap()];
    leader(&masters).await;
    let leads_in = masters[0].replica.status().term;
    assert!(leads_in > led_in, "it led in term {led_in} and leads in term {leads_in}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialising_twice_with_the_same_members_is_fine_and_with_others_is_refused() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let member = masters[0].member();
    masters[0].replica.initialize(vec![member.clone()]).await.unwrap();
    let other = paceline_replica::Member { api_address: "elsewhere:1".into(), ..member.clone() };
    masters[0].replica.initialize(vec![other]).await.unwrap_err();
    let stranger = paceline_replica::Member { disk_id: [7; 16], ..member };
    masters[0].replica.initialize(vec![stranger]).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_above_the_limit_is_refused_with_the_limit() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let refused = masters[0].replica.propose(Bytes::from(vec![0; ENTRY_LIMIT_BYTES + 1])).await.unwrap_err();
    assert_eq!(refused, ProposeError::TooLarge { bytes: ENTRY_LIMIT_BYTES + 1, limit: ENTRY_LIMIT_BYTES });
    masters[0].replica.propose(Bytes::from(vec![0; ENTRY_LIMIT_BYTES])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_another_master_is_refused() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    let disk = masters.remove(0).stop(&net).await;
    for other in [config("m2", 1), config("m1", 2), ReplicaConfig { cell: "other".into(), ..config("m1", 1) }]
    {
        let refused = open(&net, &disk, other).await.err().expect("another owner is refused");
        assert!(refused.to_string().contains("belongs to master m1 (Raft id 1) of cell test"), "{refused}");
    }
}

fn compacting(config: &mut ReplicaConfig) {
    config.snapshot_after_log_bytes = 1024 * 1024;
    config.log_tail_bytes = 0;
    config.memory_tail_bytes = 64 * 1024;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_compacted_by_bytes_and_restarts_from_the_snapshot() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, compacting).await;
    leader(&masters).await;
    for number in 0..40_u8 {
        masters[0].replica.propose(Bytes::from(vec![number; 64 * 1024])).await.unwrap();
    }
    masters[0].until("a purge after a snapshot", |s| s.purged.is_some() && s.snapshot >= s.purged).await;
    let before = masters[0].payloads();
    let disk = masters.remove(0).stop(&net).await;

    let mut options = config("m1", 1);
    compacting(&mut options);
    let masters = [open(&net, &disk, options).await.unwrap()];
    leader(&masters).await;
    assert_eq!(masters[0].payloads(), before);
    assert_eq!(masters[0].replica.propose(payload(1)).await.unwrap().reply, "41");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_on_request_covers_what_was_applied() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let proposed = masters[0].replica.propose(payload(1)).await.unwrap();
    let covered = within("a snapshot", masters[0].replica.snapshot_now()).await.unwrap();
    assert!(covered >= proposed.revision);
    assert_eq!(masters[0].replica.log_bytes_since_snapshot(), 0);
}

async fn disk_with_snapshot() -> (LocalTransport, Disks, String) {
    use paceline_replica::Disk;

    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    for number in 0..10 {
        masters[0].replica.propose(payload(number)).await.expect("a healthy master");
    }
    within("a snapshot", masters[0].replica.snapshot_now()).await.expect("a healthy master");
    let disk = masters.remove(0).stop(&net).await;
    let names = disk.list(Folder::Snapshots).expect("a healthy master");
    assert_eq!(names.len(), 1, "{names:?}");
    (net, disk, names[0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_snapshot_is_refused_by_name_wherever_the_damage_is() {
    use paceline_replica::Disk;

    let (net, disk, name) = disk_with_snapshot().await;
    let length = disk.open(Folder::Snapshots, &name).unwrap().unwrap().length_bytes().unwrap();
    let step = usize::try_from(length / 40).unwrap().max(1);
    for at in (0..usize::try_from(length).unwrap()).step_by(step) {
        let damaged = disk.after_crash(usize::MAX);
        damaged.tamper_file(Folder::Snapshots, &name, |bytes| bytes[at] ^= 0x10);
        let refused = open(&net, &damaged, config("m1", 1)).await.err();
        let refused = refused.unwrap_or_else(|| panic!("a flipped bit at {at} of {length} was not noticed"));
        assert!(matches!(refused, OpenError::Snapshot(_)), "{refused:?}");
        assert!(refused.to_string().contains(&name), "{refused}");
    }
    for kept in [0, 7, length / 2, length - 1] {
        let damaged = disk.after_crash(usize::MAX);
        damaged.tamper_file(Folder::Snapshots, &name, |bytes| bytes.truncate(usize::try_from(kept).unwrap()));
        let refused = open(&net, &damaged, config("m1", 1)).await.err().expect("a cut file is noticed");
        assert!(refused.to_string().contains(&name), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_whose_history_is_gone_is_refused() {
    let (net, disks, name) = disk_with_snapshot().await;
    let wiped = Disks { disk: disks.disk.clone(), ..Disks::new() };
    let refused = open(&net, &wiped, config("m1", 1)).await.err().expect("finished jobs are missing");
    assert!(refused.to_string().contains(&name), "{refused}");
    open(&net, &disks, config("m1", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_written_snapshots_are_cleared_away() {
    use paceline_replica::Disk;

    let (net, disk, name) = disk_with_snapshot().await;
    for suffix in [".building", ".incoming"] {
        let half = disk.create(Folder::Snapshots, &format!("{name}{suffix}")).unwrap();
        half.write_at(0, b"half").unwrap();
    }
    open(&net, &disk, config("m1", 1)).await.unwrap();
    assert_eq!(disk.list(Folder::Snapshots).unwrap(), [name]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_share_rounds_and_see_what_was_written() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let written = masters[0].replica.propose(payload(1)).await.unwrap().revision;
    let reads = (0..500).map(|_| masters[0].replica.read_index());
    for read in within("500 reads", futures::future::join_all(reads)).await {
        assert!(read.unwrap() >= written);
    }
}
