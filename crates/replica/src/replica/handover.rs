//! Handing the leadership over to another voter.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use super::errors::TransferError;
use super::membership::Changes;
use super::status::{ReplicaStatus, ServerRole};
use crate::member::Member;
use crate::raft::Raft;

/// What it takes.
pub struct Handover {
    pub me: u64,
    pub raft: Raft,
    pub status: watch::Receiver<ReplicaStatus>,
    pub changes: Changes,
    pub deadline: Duration,
}

impl Handover {
    /// Hands over to this master, or to the most advanced other voter that answers; returns once another master leads.
    pub async fn hand_over(&self, to: Option<String>) -> Result<(), TransferError> {
        let target = self.target(to)?;
        let trigger = self.raft.trigger().transfer_leader(target).await;
        trigger.map_err(|e| TransferError::Raft(e.to_string()))?;
        let mut status = self.status.clone();
        let moved = status.wait_for(|s| s.leader.as_ref().is_some_and(|leader| leader.raft_id != self.me));
        match tokio::time::timeout(self.deadline, moved).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TransferError::NotTaken { deadline_ms: self.deadline.as_millis() }),
        }
    }

    fn target(&self, to: Option<String>) -> Result<u64, TransferError> {
        let status = self.status.borrow().clone();
        if status.role != ServerRole::Leader {
            return Err(TransferError::NotLeader { leader: status.leader });
        }
        let others = status.voters.iter().filter(|member| member.raft_id != self.me);
        match to {
            Some(name) => {
                let target = others.clone().find(|member| member.name == name);
                target.map(|member| member.raft_id).ok_or(TransferError::NoSuchVoter { name })
            }
            None => {
                let live =
                    self.changes.picture().map_or_else(|_| BTreeSet::new(), |(picture, _)| picture.live);
                let matched = |member: &&Member| status.matched.get(&member.raft_id).copied().flatten();
                let rank = |member: &&Member| (live.contains(&member.raft_id), matched(member));
                others.max_by_key(rank).map(|member| member.raft_id).ok_or(TransferError::NoOtherVoter)
            }
        }
    }
}
