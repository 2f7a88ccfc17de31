//! Three masters in one process: elect, replicate, lose a leader, catch up by log and by snapshot, hand over.

mod support;

use bytes::Bytes;
use paceline_replica::{LocalTransport, ProposeError, ReadError, ReplicaConfig, ServerRole};
use support::{Disks, Master, RETIRES, cell, config, leader, open, within};

fn payload(number: usize) -> Bytes {
    Bytes::from(format!("entry {number}"))
}

async fn propose_all(master: &Master, numbers: std::ops::Range<usize>) -> u64 {
    let mut last = 0;
    for number in numbers {
        last = within("a proposal", master.replica.propose(payload(number)))
            .await
            .expect("the leader takes it")
            .revision;
    }
    last
}

async fn all_have(masters: &[Master], revision: u64) {
    for master in masters {
        master.until(&format!("{} to apply {revision}", master.name), |s| s.applied >= Some(revision)).await;
    }
    let expected = masters[0].payloads();
    assert!(masters.iter().all(|master| master.payloads() == expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_replicate_and_point_at_the_leader() {
    let net = LocalTransport::new();
    let masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 0..50).await;
    all_have(&masters, last).await;
    for follower in masters.iter().filter(|master| master.name != masters[at].name) {
        assert_eq!(follower.replica.status().role, ServerRole::Follower);
        let refused = follower.replica.propose(payload(99)).await.unwrap_err();
        assert_eq!(refused, ProposeError::NotLeader { leader: Some(masters[at].member()) });
        let refused = follower.replica.read_index().await.unwrap_err();
        assert_eq!(refused, ReadError::NotLeader { leader: Some(masters[at].member()) });
    }
    assert_eq!(within("a read", masters[at].replica.read_index()).await.unwrap(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_leaders_die() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let mut proposed = 0;
    for _ in 0..3 {
        let at = leader(&masters).await;
        propose_all(&masters[at], proposed..proposed + 20).await;
        proposed += 20;
        let dead = masters.remove(at);
        let (name, id) = (dead.name.clone(), dead.member().raft_id);
        // A crash: only what was synced is left.
        let disk = dead.stop(&net).await.after_crash(0);
        let at = leader(&masters).await;
        propose_all(&masters[at], proposed..proposed + 20).await;
        proposed += 20;
        masters.push(open(&net, &disk, config(&name, id)).await.unwrap());
    }
    let at = leader(&masters).await;
    let last = within("a read", masters[at].replica.read_index()).await.unwrap();
    all_have(&masters, last).await;
    assert_eq!(masters[0].payloads(), (0..proposed).map(payload).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_leader_is_replaced_and_comes_back_as_a_follower() {
    let net = LocalTransport::new();
    let masters = cell(&net, 3, |_| ()).await;
    let old = leader(&masters).await;
    propose_all(&masters[old], 0..10).await;
    net.cut(&masters[old].name, true);
    let others: Vec<_> = masters.iter().enumerate().filter(|(at, _)| *at != old).map(|(_, m)| m).collect();
    let new = within("another leader", async {
        loop {
            if let Some(found) = others.iter().find(|master| master.replica.status().leading) {
                break found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let last = propose_all(new, 10..20).await;
    masters[old].replica.read_index().await.unwrap_err();
    net.cut(&masters[old].name, false);
    masters[old].until("the old leader to follow", |s| s.role == ServerRole::Follower).await;
    all_have(&masters, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let net = LocalTransport::new();
    let masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 0..10).await;
    all_have(&masters, last).await;
    let to = masters.iter().find(|master| master.name != masters[at].name).unwrap();
    within("the handover", masters[at].replica.transfer_leadership(Some(to.name.clone()))).await.unwrap();
    to.until("the new leader to lead", |s| s.leading).await;
    propose_all(to, 10..20).await;
    within("the way back", to.replica.transfer_leadership(None)).await.unwrap();
    masters[at].replica.transfer_leadership(Some("m9".into())).await.unwrap_err();
}

fn compacting(config: &mut ReplicaConfig) {
    config.snapshot_after_log_bytes = 1024 * 1024;
    config.log_tail_bytes = 0;
    config.memory_tail_bytes = 64 * 1024;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_behind_the_purged_log_catches_up_by_snapshot() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, compacting).await;
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 0..5).await;
    all_have(&masters, last).await;
    let lagging = (at + 1) % 3;
    let (name, id) = (masters[lagging].name.clone(), masters[lagging].member().raft_id);
    let disk = masters.remove(lagging).stop(&net).await;

    let at = leader(&masters).await;
    let mut last = 0;
    for number in 0..40_u8 {
        let mut payload = vec![number; 64 * 1024];
        if number % 4 == 0 {
            payload[..RETIRES.len()].copy_from_slice(RETIRES);
        }
        last = masters[at].replica.propose(Bytes::from(payload)).await.unwrap().revision;
    }
    for master in &masters {
        master.until("a purge", |s| s.purged > Some(20)).await;
    }
    let mut options = config(&name, id);
    compacting(&mut options);
    masters.push(open(&net, &disk, options.clone()).await.unwrap());
    all_have(&masters, last).await;
    let installed = masters[2].replica.status();
    assert!(installed.snapshot.is_some(), "{installed:?}");
    assert_eq!(masters[2].retired().len(), 10, "what retired in entries that it never saw is here");
    assert!(masters.iter().all(|master| master.retired() == masters[2].retired()));

    // What was installed is also what it restarts from.
    let disk = masters.pop().unwrap().stop(&net).await.after_crash(0);
    masters.push(open(&net, &disk, options).await.unwrap());
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 100..110).await;
    all_have(&masters, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_with_a_wiped_disk_is_not_heard() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 0..5).await;
    all_have(&masters, last).await;
    let wiped = (at + 1) % 3;
    let (name, id) = (masters[wiped].name.clone(), masters[wiped].member().raft_id);
    masters.remove(wiped).stop(&net).await;
    let impostor = open(&net, &Disks::new(), config(&name, id)).await.unwrap();
    let at = leader(&masters).await;
    propose_all(&masters[at], 5..30).await;
    assert_eq!(impostor.replica.status().last_log, None, "a new disk under an old id must stay empty");
    let asked = masters[at].replica.probe("m:1", &name).await.unwrap();
    assert_eq!(asked.disk_id, impostor.replica.disk_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_are_added_and_removed_and_ids_never_come_back() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let last = propose_all(&masters[0], 0..10).await;
    masters[0].until("the entries", |s| s.applied >= Some(last)).await;
    let first = masters[0].replica.clone();
    for _ in 0..2 {
        let id = within("an id", first.mint_raft_id()).await.unwrap();
        let joining = open(&net, &Disks::new(), config(&format!("m{id}"), id)).await.unwrap();
        within("the new master", first.add_master(joining.member())).await.unwrap();
        within("the new master, again", first.add_master(joining.member())).await.unwrap();
        masters.push(joining);
    }
    assert_eq!(first.status().voters.len(), 3);
    let last = propose_all(&masters[0], 10..20).await;
    all_have(&masters, last).await;

    let removed = masters.pop().unwrap();
    let member = removed.member();
    within("the removal", first.remove_master(&member.name)).await.unwrap();
    let refused = within("a refusal", first.add_master(member)).await.unwrap_err();
    assert!(refused.to_string().contains("was not minted since the masters last changed"), "{refused}");
    let last = propose_all(&masters[0], 20..30).await;
    all_have(&masters, last).await;
    assert_eq!(first.status().members.len(), 2);
}
