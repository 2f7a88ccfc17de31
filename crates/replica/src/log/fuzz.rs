//! What is read from the log database, the mark file and peers against broken bytes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use paceline_fuzz::Campaign;
use prost::Message;

use super::{frame, mark, meta};
use crate::member::Member;
use crate::raft::{Entry, Membership, Payload, Vote, log_id};
use crate::wire::{self, proto};

fn entries() -> Vec<Entry> {
    let member = |raft_id| Member {
        raft_id,
        name: format!("m{raft_id}"),
        peer_address: "10.0.0.1:7000".to_owned(),
        api_address: "10.0.0.1:7001".to_owned(),
        disk_id: [3; 16],
        replaces: (raft_id == 3).then_some(9),
    };
    let members = BTreeMap::from([1, 2, 3].map(|id| (id, member(id))));
    let membership = Membership::new(vec![[1, 2].into(), [2, 3].into()], members).unwrap();
    vec![
        Entry::new(log_id(3, 7), EntryPayload::Normal(Payload(Bytes::from_static(b"payload")))),
        Entry::new(log_id(3, 8), EntryPayload::Blank),
        Entry::new(log_id(4, 9), EntryPayload::Membership(membership)),
    ]
}

/// The checksum would stop every change: it is made anew for what stands before it.
fn sealed(body: &[u8]) -> Bytes {
    [body, &crc32c::crc32c(body).to_le_bytes()].concat().into()
}

fn unsealed(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - 4].to_vec()
}

/// What a frame holds, as it is written.
fn written(bytes: Bytes) -> Option<Vec<u8>> {
    let read = frame::decode(bytes).ok()?;
    Some(frame::encode(&read.entry, read.previous).0.to_vec())
}

#[test]
fn frames() {
    let whole: Vec<Vec<u8>> =
        entries().iter().map(|entry| frame::encode(entry, 0x0102_0304).0.to_vec()).collect();
    let bodies = whole.iter().map(|bytes| unsealed(bytes)).collect();
    Campaign::new("log frame", bodies)
        .run(|body| written(sealed(body)), |bytes| written(bytes.clone().into()));
    Campaign::new("log frame as it is", whole)
        .run(|bytes| written(Bytes::copy_from_slice(bytes)), |bytes| written(bytes.clone().into()));
}

#[test]
fn entries_of_peers() {
    let read = |bytes: &[u8]| {
        let entry = wire::entry_from(proto::Entry::decode(bytes).ok()?).ok()?;
        Some(wire::entry(&entry).encode_to_vec())
    };
    let sound = entries().iter().map(|entry| wire::entry(entry).encode_to_vec()).collect();
    Campaign::new("peer entry", sound).run(read, |bytes| read(bytes));
}

#[test]
fn marks() {
    let some = mark::Mark { vote: Some(Vote::new_committed(5, 3)), last_log_id: Some(log_id(5, 42)) };
    let slot = |mark| unsealed(&mark::encode(7, mark));
    let sound = vec![slot(&some), slot(&mark::Mark::default())];
    let read = |body: &[u8]| mark::decode(&sealed(body));
    Campaign::new("mark", sound).run(read, |(sequence, mark)| mark::decode(&mark::encode(*sequence, mark)));
}

fn sealed_value<M: Message + Default + PartialEq + Debug>(name: &'static str, sound: &[u8]) {
    let read = |body: &[u8]| meta::unseal::<M>(meta::VOTE, &sealed(body)).ok();
    let again = |value: &M| meta::unseal(meta::VOTE, &meta::seal(value)).ok();
    Campaign::new(name, vec![unsealed(sound)]).run(read, again);
    let raw = |bytes: &[u8]| meta::unseal::<M>(meta::VOTE, &Bytes::copy_from_slice(bytes)).ok();
    Campaign::new(name, vec![sound.to_vec()]).run(raw, again);
}

#[test]
fn metadata() {
    let who = meta::DiskOwner { cell: "c".into(), name: "m1".into(), raft_id: 1 };
    sealed_value::<proto::Vote>("vote", &meta::seal_vote(&Vote::new_committed(5, 3)));
    sealed_value::<proto::LogId>("committed", &meta::seal_committed(&log_id(5, 42)));
    sealed_value::<proto::PurgePoint>("purged", &meta::seal_purged(&log_id(5, 42), 0x0102_0304));
    let identity = meta::Identity { who, disk_id: [3; 16] };
    sealed_value::<proto::DiskIdentity>("identity", &meta::seal_identity(&identity));
}
