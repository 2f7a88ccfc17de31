//! How a change of the membership is made: one at a time, on the membership that it was decided on, in bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use openraft::raft::Precondition;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::picture::{Picture, Step};
use crate::member::Member;
use crate::raft::{LogId, Raft, TypeConfig};
use crate::replica::errors::MembershipError;

/// A member that has not answered its leader for this long does not answer: a few elections, so that a pause that Raft
/// itself shrugs off does not count.
pub const SILENCE: Duration = Duration::from_secs(2);
/// A change has no outcome after this long: the majority of the voters before or after it does not answer.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// The changes of one replica. Clones are handles on the same.
#[derive(Clone)]
pub struct Changes {
    me: u64,
    raft: Raft,
    one_at_a_time: Arc<Mutex<()>>,
    /// The term that this replica leads in, and since when it is known to.
    leads: Arc<parking_lot::Mutex<Option<(u64, Instant)>>>,
}

/// The right to change, and what the membership was when it was taken.
pub struct Change<'a> {
    changes: &'a Changes,
    _held: MutexGuard<'a, ()>,
}

impl Changes {
    pub fn new(me: u64, raft: Raft) -> Self {
        Self { me, raft, one_at_a_time: Arc::default(), leads: Arc::default() }
    }

    /// Waits for the change under way, if there is one.
    pub async fn begin(&self) -> Change<'_> {
        Change { changes: self, _held: self.one_at_a_time.lock().await }
    }

    /// The same, or nothing where a change is under way.
    pub fn try_begin(&self) -> Option<Change<'_>> {
        let held = self.one_at_a_time.try_lock().ok()?;
        Some(Change { changes: self, _held: held })
    }

    /// The membership now, and the entry that made it so. Nothing on a master that does not lead.
    pub fn picture(&self) -> Result<(Picture, Option<LogId>), MembershipError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let stored = &metrics.membership_config;
        let leader = metrics.current_leader.and_then(|id| stored.get_node(&id).cloned());
        let (Some(replication), Some(heartbeat)) = (&metrics.replication, &metrics.heartbeat) else {
            return Err(MembershipError::NotLeader { leader: leader.filter(|it| it.raft_id != self.me) });
        };
        let has_begun = self.leads_for(metrics.current_term) < SILENCE;
        let answered = |at: &Option<_>| at.as_ref().is_some_and(|at| is_recent(at));
        let is_known = |id: &u64| {
            let has_answered = heartbeat.get(id).is_some_and(Option::is_some);
            *id == self.me || (has_answered && replication.get(id).is_some_and(Option::is_some))
        };
        let unheard = stored.nodes().map(|(id, _)| *id).filter(|id| has_begun && !is_known(id)).collect();
        let live = heartbeat.iter().filter(|(_, at)| answered(at)).map(|(id, _)| *id);
        let picture = Picture {
            me: self.me,
            voters: stored.voter_ids().collect(),
            is_joint: stored.membership().get_joint_config().len() > 1,
            members: stored.nodes().map(|(id, member)| (*id, member.clone())).collect(),
            changed_at: stored.log_id().as_ref().map_or(0, |id| id.index()),
            last_log: metrics.last_log_index.unwrap_or(0),
            matched: replication.iter().map(|(id, at)| (*id, at.as_ref().map(|at| at.index()))).collect(),
            live: live.chain([self.me]).collect(),
            unheard,
        };
        Ok((picture, *stored.log_id()))
    }

    /// How long this replica leads in this term: since the first look in it.
    fn leads_for(&self, term: u64) -> Duration {
        let mut leads = self.leads.lock();
        if leads.is_none_or(|(known, _)| known != term) {
            *leads = Some((term, Instant::now()));
        }
        leads.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

fn is_recent(at: &openraft::type_config::alias::SerdeInstantOf<TypeConfig>) -> bool {
    openraft::Instant::elapsed(&**at) < SILENCE
}

impl Change<'_> {
    /// Mints a Raft id: the index of an entry of its own, so unique for ever.
    pub async fn mint(&self) -> Result<u64, MembershipError> {
        let written = tokio::time::timeout(CHANGE_DEADLINE, self.changes.raft.write_blank()).await;
        let written = written.map_err(|_| too_slow())?.map_err(change_error)?;
        Ok(super::FIRST_MINTED_RAFT_ID + written.log_id.index())
    }

    /// Adds a member without a vote, where the membership is still this one.
    pub async fn add(&self, member: Member, seen: Option<LogId>) -> Result<(), MembershipError> {
        self.make(ChangeMembers::AddNodes(BTreeMap::from([(member.raft_id, member)])), seen).await
    }

    /// Puts a new member in the place of one without a vote, in one entry: what that one was to do is the new one's.
    pub async fn put(&self, member: Member, old: u64, seen: Option<LogId>) -> Result<(), MembershipError> {
        let gone = ChangeMembers::RemoveNodes(BTreeSet::from([old]));
        let new = ChangeMembers::AddNodes(BTreeMap::from([(member.raft_id, member)]));
        self.make(ChangeMembers::Batch(vec![gone, new]), seen).await
    }

    /// Takes a step, where the membership is still this one. A handover is none: it changes no membership.
    pub async fn take(
        &self,
        step: Step,
        picture: &Picture,
        seen: Option<LogId>,
    ) -> Result<(), MembershipError> {
        let add = |id| ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        let remove = |id| ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        let change = match step {
            Step::Finish => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Step::Promote(new) => add(new),
            Step::Swap { new, old } => ChangeMembers::Batch(vec![add(new), remove(old)]),
            Step::Remove(old) if picture.voters.contains(&old) => remove(old),
            // To openraft a member without a vote is no voter to remove, and would stay.
            Step::Remove(old) => ChangeMembers::RemoveNodes(BTreeSet::from([old])),
            Step::HandOver => return Ok(()),
        };
        self.make(change, seen).await
    }

    async fn make(
        &self,
        change: ChangeMembers<u64, Member>,
        seen: Option<LogId>,
    ) -> Result<(), MembershipError> {
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id: seen }];
        let changing = self.changes.raft.change_membership_if(change, false, unchanged);
        let changed = tokio::time::timeout(CHANGE_DEADLINE, changing).await;
        changed.map_err(|_| too_slow())?.map(drop).map_err(change_error)
    }
}

fn too_slow() -> MembershipError {
    MembershipError::Unknown { cause: format!("no majority has answered within {CHANGE_DEADLINE:?}") }
}

fn change_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_node, .. })) => {
            MembershipError::NotLeader { leader: leader_node }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(refused)) => {
            MembershipError::Busy { cause: refused.to_string() }
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(changed)) => {
            MembershipError::Busy { cause: changed.to_string() }
        }
        other => MembershipError::Unknown { cause: other.to_string() },
    }
}
