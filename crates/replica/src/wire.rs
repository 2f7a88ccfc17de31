//! The generated messages of `peer.proto`, and total conversions between them and openraft's types.
//!
//! A message that lacks what it must have is an error that names the field; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use openraft::entry::RaftEntry;
use openraft::{EntryPayload, Membership as RaftMembership};

use crate::member::Member;
use crate::raft::{self, Entry, LogId, Membership, Payload, StoredMembership, Vote};

/// The generated messages, client and server.
#[allow(missing_docs, clippy::pedantic, clippy::all)]
pub mod proto {
    tonic::include_proto!("paceline.peer.v1");
}

/// A message from a peer or a disk that does not have the shape it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {problem}")]
pub struct Malformed {
    /// The message field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

const fn missing(field: &'static str) -> Malformed {
    Malformed { field, problem: "missing" }
}

pub fn log_id(id: &LogId) -> proto::LogId {
    proto::LogId { term: raft::term(id), index: id.index() }
}

pub fn log_id_from(id: proto::LogId) -> LogId {
    raft::log_id(id.term, id.index)
}

pub fn vote(vote: &Vote) -> proto::Vote {
    proto::Vote { term: vote.leader_id.term, raft_id: vote.leader_id.voted_for, committed: vote.committed }
}

pub fn vote_from(vote: Option<proto::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or(missing("vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.raft_id)
    } else {
        Vote::new(vote.term, vote.raft_id)
    })
}

pub fn member(member: &Member) -> proto::Member {
    proto::Member {
        raft_id: member.raft_id,
        name: member.name.clone(),
        peer_address: member.peer_address.clone(),
        api_address: member.api_address.clone(),
        disk_id: member.disk_id.to_vec().into(),
        replaces: member.replaces.unwrap_or_default(),
    }
}

pub fn member_from(member: proto::Member) -> Result<Member, Malformed> {
    let disk_id = member.disk_id.as_ref().try_into();
    let disk_id = disk_id.map_err(|_| Malformed { field: "disk_id", problem: "not 16 bytes" })?;
    Ok(Member {
        raft_id: member.raft_id,
        name: member.name,
        peer_address: member.peer_address,
        api_address: member.api_address,
        disk_id,
        replaces: (member.replaces != 0).then_some(member.replaces),
    })
}

pub fn membership(membership: &Membership) -> proto::Membership {
    let configs = membership.get_joint_config().iter();
    proto::Membership {
        configs: configs.map(|ids| proto::VoterSet { raft_ids: ids.iter().copied().collect() }).collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| proto::Node { raft_id: *id, member: Some(member(node)) })
            .collect(),
    }
}

pub fn membership_from(membership: proto::Membership) -> Result<Membership, Malformed> {
    let mut members = BTreeMap::new();
    for node in membership.nodes {
        members.insert(node.raft_id, member_from(node.member.ok_or(missing("node.member"))?)?);
    }
    let configs = membership.configs.into_iter();
    let configs: Vec<BTreeSet<u64>> = configs.map(|set| set.raft_ids.into_iter().collect()).collect();
    if configs.is_empty() && members.is_empty() {
        return Ok(Membership::default());
    }
    RaftMembership::new(configs, members)
        .map_err(|_| Malformed { field: "membership", problem: "empty or lacks a voter's address" })
}

pub fn stored_membership(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id),
        membership: Some(membership(stored.membership())),
    }
}

pub fn stored_membership_from(stored: proto::StoredMembership) -> Result<StoredMembership, Malformed> {
    let membership = membership_from(stored.membership.ok_or(missing("membership"))?)?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from), membership))
}

pub fn entry(entry: &Entry) -> proto::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(Payload(bytes)) => Some(proto::entry::Payload::Normal(bytes.clone())),
        EntryPayload::Membership(of) => Some(proto::entry::Payload::Membership(membership(of))),
    };
    proto::Entry { log_id: Some(log_id(&entry.log_id())), payload }
}

pub fn entry_from(entry: proto::Entry) -> Result<Entry, Malformed> {
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(proto::entry::Payload::Normal(bytes)) => EntryPayload::Normal(Payload(bytes)),
        Some(proto::entry::Payload::Membership(of)) => EntryPayload::Membership(membership_from(of)?),
    };
    Ok(Entry::new(log_id_from(entry.log_id.ok_or(missing("entry.log_id"))?), payload))
}
