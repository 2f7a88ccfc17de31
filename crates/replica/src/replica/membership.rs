//! Changing the masters of a running cell: one at a time, with Raft ids that are never used twice.
//!
//! An id is minted from the index of an entry of its own, so it is unique for ever; a member may only join with an id that
//! was minted after the last change of the membership, so an id cannot come back after it was removed. (An empty disk
//! under an old id could elect itself under an old configuration and lose what the cell acknowledged.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use openraft::raft::Precondition;

use super::Replica;
use super::errors::MembershipError;
use crate::member::Member;
use crate::raft::{LogId, TypeConfig};

/// Ids below this are the operator's, for the first members; minted ids lie above.
pub const FIRST_MINTED_RAFT_ID: u64 = 1 << 20;
/// A new member has to receive the whole state before it may vote.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(600);

impl Replica {
    /// Mints the Raft id of a master that is to join. Only on the leader.
    pub async fn mint_raft_id(&self) -> Result<u64, MembershipError> {
        let written = self.inner.raft.write_blank().await.map_err(change_error)?;
        Ok(FIRST_MINTED_RAFT_ID + written.log_id.index())
    }

    /// Makes a running, empty master a voter: it first receives the state, then the vote. Repeating it after an error is
    /// fine. Only on the leader.
    pub async fn add_master(&self, member: Member) -> Result<(), MembershipError> {
        let id = member.raft_id;
        if let Some(last_change) = self.check_joining(&member)? {
            let found =
                self.probe(&member.peer_address, &member.name).await.map_err(MembershipError::Probe)?;
            if (found.raft_id, found.disk_id) != (id, member.disk_id) {
                return Err(MembershipError::OtherMaster { name: member.name, raft_id: id });
            }
            // Only on the membership that the id was checked against.
            let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id: last_change }];
            let join = ChangeMembers::AddNodes(BTreeMap::from([(id, member.clone())]));
            self.inner.raft.change_membership_if(join, false, unchanged).await.map_err(change_error)?;
        }
        let catching_up = self.inner.raft.add_learner(id, member, true);
        let caught_up = tokio::time::timeout(CATCH_UP_DEADLINE, catching_up).await;
        caught_up.map_err(|_| MembershipError::TooSlow)?.map_err(change_error)?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await
    }

    /// Takes the vote and the membership from a master. It should be stopped for good afterwards: its id and disk are
    /// never heard again. Only on the leader, which steps down after it has removed itself.
    pub async fn remove_master(&self, name: &str) -> Result<(), MembershipError> {
        let status = self.status();
        let member = status.members.iter().find(|member| member.name == name);
        let id = member.ok_or_else(|| MembershipError::NoSuchMaster { name: name.to_owned() })?.raft_id;
        if status.voters.iter().all(|voter| voter.raft_id == id) {
            return Err(MembershipError::LastVoter { name: name.to_owned() });
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id]))).await
    }

    async fn change(&self, change: ChangeMembers<u64, Member>) -> Result<(), MembershipError> {
        self.inner.raft.change_membership(change, false).await.map(drop).map_err(change_error)
    }

    /// `None` if an earlier attempt already made it a member, otherwise the membership that it may join; refuses ids,
    /// names and disks that are taken, and ids that are stale.
    fn check_joining(&self, member: &Member) -> Result<Option<Option<LogId>>, MembershipError> {
        let membership = self.inner.raft.metrics().borrow_watched().membership_config.clone();
        if membership.get_node(&member.raft_id) == Some(member) {
            return Ok(None);
        }
        let taken = membership.nodes().find(|(id, known)| {
            **id == member.raft_id || known.name == member.name || known.disk_id == member.disk_id
        });
        if let Some((_, known)) = taken {
            return Err(MembershipError::Taken { by: known.clone() });
        }
        let last_change = membership.log_id().as_ref().map_or(0, |id| id.index());
        let minted_at = member.raft_id.checked_sub(FIRST_MINTED_RAFT_ID);
        let last = self.status().last_log.unwrap_or(0);
        match minted_at {
            Some(minted_at) if minted_at > last_change && minted_at <= last => Ok(Some(*membership.log_id())),
            _ => Err(MembershipError::StaleId { raft_id: member.raft_id }),
        }
    }
}

fn change_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_node, .. })) => {
            MembershipError::NotLeader { leader: leader_node }
        }
        other => MembershipError::Raft(other.to_string()),
    }
}
