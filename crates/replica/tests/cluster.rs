//! Three masters in one process: elect, replicate, lose a leader, catch up by log and by snapshot, hand over.

mod support;

use std::time::Duration;

use bytes::Bytes;
use paceline_replica::{
    Dismissal, Leaving, LocalTransport, Member, MembershipError, NewMaster, ProposeError, ReadError, Replica,
    ReplicaConfig, ServerRole,
};
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

/// Opens a master on an empty disk under an id of its own.
async fn joining(net: &LocalTransport, leader: &Replica) -> Master {
    let id = within("an id", leader.mint_raft_id()).await.unwrap();
    open(net, &Disks::new(), config(&format!("m{id}"), id)).await.unwrap()
}

fn as_new(master: &Master, replaces: Option<&str>) -> NewMaster {
    let Member { name, peer_address, api_address, .. } = master.member();
    let replaces = replaces.map(|name| Leaving { name: name.to_owned(), raft_id: None });
    NewMaster { name, peer_address, api_address, replaces }
}

/// Asks again while the leader has only begun to lead, as a client does.
async fn remove(replica: &Replica, name: &str) -> Result<(), MembershipError> {
    within("an answer to a removal", async {
        loop {
            match replica.remove_master(name).await {
                Err(MembershipError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                answered => return answered,
            }
        }
    })
    .await
}

fn voters(replica: &Replica) -> Vec<String> {
    replica.status().voters.into_iter().map(|member| member.name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_has_no_vote_before_it_has_the_log() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    propose_all(&masters[0], 0..10).await;
    let first = masters[0].replica.clone();
    let new = joining(&net, &first).await;
    net.deafen(&new.name, true);
    let adding = tokio::spawn({
        let (first, member) = (first.clone(), new.member());
        async move { first.add_master(member).await }
    });
    masters[0].until("the new master to be a member", |s| s.members.len() == 2).await;
    // With a vote it would be half of a majority of two, and nothing could be committed without it.
    propose_all(&masters[0], 10..40).await;
    assert_eq!(voters(&first), ["m1"]);
    assert!(!adding.is_finished());
    net.deafen(&new.name, false);
    within("the new master's vote", adding).await.unwrap().unwrap();
    assert_eq!(voters(&first).len(), 2);
    let last = propose_all(&masters[0], 40..50).await;
    new.until("the new master to have everything", |s| s.applied >= Some(last)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_a_vote_can_be_removed_again() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let first = masters[0].replica.clone();
    let new = joining(&net, &first).await;
    net.deafen(&new.name, true);
    let member = within("a member", first.join_master(as_new(&new, None))).await.unwrap();
    let again = within("the same again", first.join_master(as_new(&new, None))).await.unwrap();
    assert_eq!(member, again);
    let leaving = Leaving { name: member.name.clone(), raft_id: Some(member.raft_id) };
    assert!(within("the removal", first.remove(&leaving)).await.unwrap());
    assert!(!within("the same again", first.remove(&leaving)).await.unwrap(), "it had left before");
    assert_eq!(first.status().members.len(), 1);
    let unknown = Leaving { name: "m9".into(), raft_id: None };
    let refused = within("a refusal", first.remove(&unknown)).await.unwrap_err();
    assert!(matches!(refused, MembershipError::NoSuchMaster { .. }), "{refused}");
    propose_all(&masters[0], 0..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_founder_is_replaced_one_after_another_while_the_cell_serves() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let mut proposed = 0;
    for old in ["m1", "m2", "m3"] {
        let at = leader(&masters).await;
        propose_all(&masters[at], proposed..proposed + 20).await;
        proposed += 20;
        let new = joining(&net, &masters[at].replica).await;
        let asked = as_new(&new, Some(old));
        within("a member", masters[at].replica.join_master(asked)).await.unwrap();
        masters.push(new);
        // Whoever leads by then goes on: the leader itself may be the one that goes.
        let new = masters.last().unwrap();
        new.until("the new master to vote alone in the place of the old", |s| {
            let named = |name: &str| s.voters.iter().any(|it| it.name == name);
            named(&new.name) && !s.members.iter().any(|it| it.name == old)
        })
        .await;
        let gone = masters.iter().position(|master| master.name == old).unwrap();
        let mut dismissal = masters[gone].replica.dismissal();
        let why = within("the old master to hear of it", dismissal.wait_for(Option::is_some));
        assert!(matches!(why.await.unwrap().clone(), Some(Dismissal::Removed { .. })));
        masters.remove(gone).stop(&net).await;
    }
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], proposed..proposed + 20).await;
    all_have(&masters, last).await;
    assert_eq!(masters[0].payloads(), (0..proposed + 20).map(payload).collect::<Vec<_>>());
    assert_eq!(masters[0].replica.status().members.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_master_is_replaced_and_learns_of_it_when_it_comes_back() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    propose_all(&masters[at], 0..10).await;
    let dead = masters.remove((at + 1) % 3);
    let (name, id) = (dead.name.clone(), dead.member().raft_id);
    let disk = dead.stop(&net).await;
    let at = leader(&masters).await;
    let new = joining(&net, &masters[at].replica).await;
    let asked = as_new(&new, Some(&name));
    within("a member", masters[at].replica.join_master(asked.clone())).await.unwrap();
    new.until("the new master in the place of the dead one", |s| s.members.len() == 3).await;
    let repeated =
        NewMaster { replaces: Some(Leaving { name: name.clone(), raft_id: Some(id) }), ..asked.clone() };
    let at = leader(&masters).await;
    within("the same again", masters[at].replica.join_master(repeated)).await.unwrap();
    let last = propose_all(&masters[at], 10..20).await;
    new.until("it to have everything", |s| s.applied >= Some(last)).await;

    let term = masters[at].replica.status().term;
    let back = open(&net, &disk, config(&name, id)).await.unwrap();
    let mut dismissal = back.replica.dismissal();
    let why =
        within("the dead one to hear of it", dismissal.wait_for(Option::is_some)).await.unwrap().clone();
    assert!(matches!(why, Some(Dismissal::Removed { .. })), "{why:?}");
    propose_all(&masters[at], 20..30).await;
    assert_eq!(masters[at].replica.status().term, term, "it has cost the others no election");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_leaves_no_majority_that_answers_is_refused_with_the_numbers() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    let dead = masters.remove((at + 1) % 3);
    let dead_name = dead.name.clone();
    dead.stop(&net).await;
    let at = leader(&masters).await;
    let other = masters[(at + 1) % 2].name.clone();
    // Right after its death it still counts as one that answers.
    let is_silent = || {
        let dead = masters[at].replica.status().members.into_iter().find(|it| it.name == dead_name);
        let silence = masters[at].replica.silences()[&dead.unwrap().raft_id];
        silence.is_none_or(|silence| silence > Duration::from_secs(3))
    };
    within("silence", async {
        while !is_silent() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let refused = remove(&masters[at].replica, &other).await.unwrap_err().to_string();
    let expected = "there would be 2 voting masters, of which 1 answer and keep up, and 2 have to; silent: ";
    assert!(refused.contains(expected) && refused.contains(&dead_name), "{refused}");
    remove(&masters[at].replica, &dead_name).await.unwrap();
    propose_all(&masters[at], 0..10).await;
    let refused = masters[at].replica.remove_master("m9").await.unwrap_err();
    assert!(matches!(refused, MembershipError::NoSuchMaster { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_to_go_lets_another_lead_first() {
    let net = LocalTransport::new();
    let masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    propose_all(&masters[at], 0..10).await;
    let name = masters[at].name.clone();
    let told = within("an answer", masters[at].replica.remove_master(&name)).await.unwrap_err();
    let MembershipError::NotLeader { leader: Some(next) } = told else { panic!("{told}") };
    assert_ne!(next.name, name);
    let next = masters.iter().find(|master| master.name == next.name).unwrap();
    next.until("the next leader to lead", |s| s.leading).await;
    remove(&next.replica, &name).await.unwrap();
    assert_eq!(next.replica.status().members.len(), 2);
    propose_all(next, 10..20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_on_an_empty_disk_under_its_old_id_is_told_that_it_is_another_disk() {
    let net = LocalTransport::new();
    let mut masters = cell(&net, 3, |_| ()).await;
    let at = leader(&masters).await;
    let last = propose_all(&masters[at], 0..5).await;
    all_have(&masters, last).await;
    let wiped = masters.remove((at + 1) % 3);
    let (name, id, known) = (wiped.name.clone(), wiped.member().raft_id, wiped.replica.disk_id());
    wiped.stop(&net).await;
    let impostor = open(&net, &Disks::new(), config(&name, id)).await.unwrap();
    let mut dismissal = impostor.replica.dismissal();
    let why = within("it to hear of it", dismissal.wait_for(Option::is_some)).await.unwrap().clone();
    assert_eq!(why, Some(Dismissal::OtherDisk { known }));
    let at = leader(&masters).await;
    let refused = within("a refusal", masters[at].replica.join_master(as_new(&impostor, None))).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("replace"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_the_new_master_does_not_have_or_another_has_is_refused() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let first = &masters[0].replica;
    let new = joining(&net, first).await;
    let asked = as_new(&new, None);
    let cases = [
        (NewMaster { api_address: "m7:2".into(), ..asked.clone() }, "api_address: `m7:2`", "started with"),
        (NewMaster { api_address: "m1:2".into(), ..asked.clone() }, "api_address: `m1:2`", "master m1"),
        (NewMaster { api_address: "m1:1".into(), ..asked.clone() }, "api_address: `m1:1`", "master m1"),
        (NewMaster { peer_address: "m1:1".into(), ..asked.clone() }, "peer_address: `m1:1`", "master m1"),
    ];
    for (asked, fault, why) in cases {
        let refused = within("a refusal", first.join_master(asked)).await.unwrap_err().to_string();
        assert!(refused.contains(fault) && refused.contains(why), "{refused}");
    }
    assert_eq!(first.status().members.len(), 1);
    within("a member", first.join_master(asked)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_master_is_wished_away_once_and_who_replaces_the_heir_inherits() {
    let net = LocalTransport::new();
    let masters = cell(&net, 1, |_| ()).await;
    leader(&masters).await;
    let first = &masters[0].replica;
    let stuck = joining(&net, first).await;
    net.deafen(&stuck.name, true);
    let stuck = within("a member", first.join_master(as_new(&stuck, Some("m1")))).await.unwrap();
    let new = joining(&net, first).await;
    let refused = within("a refusal", first.join_master(as_new(&new, Some("m1")))).await.unwrap_err();
    let words = refused.to_string();
    assert!(words.contains(&stuck.name) && words.contains("being replaced"), "{words}");

    let asked = as_new(&new, Some(&stuck.name));
    let heir = within("a member", first.join_master(asked.clone())).await.unwrap();
    assert_eq!(heir.replaces, Some(1), "what the stuck one was to do");
    new.until("the heir to be the only master", |s| s.leading && s.members.len() == 1).await;
    let again = within("the same again", new.replica.join_master(asked)).await.unwrap();
    assert_eq!(again, heir);
    let impostor = NewMaster { api_address: "m8:2".into(), ..as_new(&new, Some("m1")) };
    let refused = within("a refusal", new.replica.join_master(impostor)).await.unwrap_err();
    assert!(matches!(refused, MembershipError::NoSuchMaster { .. }), "{refused}");
}
