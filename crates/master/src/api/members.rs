//! The members service: the masters themselves, added, replaced and removed while the cell serves.
//!
//! The replica makes the changes and holds every rule; here requests are checked, and its answers put into words.

mod input;
mod refusals;

use std::time::Duration;

use paceline_api::v1;
use paceline_api::v1::members_server::Members;
use paceline_replica::{Leaving, Member, NewMaster, ReplicaStatus, ServerRole};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{Caller, Services};
use crate::refuse;
use input::Faults;
use refusals::refusal;

/// The status follows the commit within milliseconds.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct MembersService(pub Services);

#[tonic::async_trait]
impl Members for MembersService {
    async fn list(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersReply>, Status> {
        let view = self.0.reads.view(request.get_ref().read.as_ref()).await?;
        let status = self.0.replica.status();
        let leads = status.role == ServerRole::Leader;
        Ok(Response::new(v1::ListMembersReply {
            revision: view.revision().0,
            members: status.committed_members.iter().map(|member| self.show(member, &status)).collect(),
            members_revision: status.members_at.unwrap_or(0),
            last_revision: status.last_log.filter(|_| leads),
            answered_by: self.0.config.name.clone(),
        }))
    }

    async fn add(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::AddMemberRequest { name, peer_address, api_address, .. } = request.into_inner();
        let mut faults = Faults::default();
        faults.name("name", &name);
        faults.addresses(&peer_address, &api_address);
        faults.done()?;
        let new = NewMaster { name, peer_address, api_address, replaces: None };
        let member = Some(self.join(&caller, new).await?);
        Ok(Response::new(v1::AddMemberReply { revision: self.revision(), member }))
    }

    async fn replace(
        &self,
        request: Request<v1::ReplaceMemberRequest>,
    ) -> Result<Response<v1::ReplaceMemberReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::ReplaceMemberRequest { name, raft_id, by, peer_address, api_address, .. } =
            request.into_inner();
        let by = if by.is_empty() { name.clone() } else { by };
        let mut faults = Faults::default();
        faults.name("name", &name);
        if by != name {
            faults.name("by", &by);
        }
        faults.addresses(&peer_address, &api_address);
        faults.done()?;
        let replaces = Some(leaving(name, raft_id));
        let new = NewMaster { name: by, peer_address, api_address, replaces };
        let member = Some(self.join(&caller, new).await?);
        Ok(Response::new(v1::ReplaceMemberReply { revision: self.revision(), member }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::RemoveMemberRequest { name, raft_id, .. } = request.into_inner();
        let mut faults = Faults::default();
        faults.name("name", &name);
        faults.done()?;
        self.leads()?;
        tracing::info!(by = caller.identity.principal(), master = name, raft_id, "asked to remove a master");
        let removed = self.0.replica.remove(&leaving(name, raft_id)).await;
        let removed = removed.map_err(|error| refusal(&error))?;
        Ok(Response::new(v1::RemoveMemberReply { revision: self.revision(), removed }))
    }
}

fn leaving(name: String, raft_id: u64) -> Leaving {
    Leaving { name, raft_id: (raft_id != 0).then_some(raft_id) }
}

impl MembersService {
    /// Only whoever leads and has applied its own term's first entry changes anything.
    fn leads(&self) -> Result<(), Status> {
        let status = self.0.replica.status();
        if status.leading {
            return Ok(());
        }
        let other = status.leader.as_ref().filter(|leader| leader.name != self.0.config.name);
        Err(refuse::not_leader(other))
    }

    async fn join(&self, caller: &Caller, new: NewMaster) -> Result<v1::Member, Status> {
        self.leads()?;
        tracing::info!(by = caller.identity.principal(), ?new, "asked to take a master into the cell");
        let member = self.0.replica.join_master(new).await.map_err(|error| refusal(&error))?;
        Ok(self.show(&member, &self.settled(member.raft_id).await))
    }

    /// The status once a member that was just committed shows in it, so that the next list has it.
    async fn settled(&self, raft_id: u64) -> ReplicaStatus {
        let mut status = self.0.replica.subscribe();
        let shows = |now: &ReplicaStatus| now.committed_members.iter().any(|it| it.raft_id == raft_id);
        // Where it does not come, the leader leads no longer, and the next list is another master's.
        match timeout(SHOWN_WITHIN, status.wait_for(shows)).await {
            Ok(Ok(now)) => now.clone(),
            Ok(Err(_)) | Err(_) => self.0.replica.status(),
        }
    }

    fn revision(&self) -> u64 {
        self.0.published.view().revision().0
    }

    fn show(&self, member: &Member, status: &ReplicaStatus) -> v1::Member {
        let id = member.raft_id;
        let leads_here = status.role == ServerRole::Leader;
        let is_leader = status.leader.as_ref().is_some_and(|leader| leader.raft_id == id);
        let own = leads_here && is_leader;
        let matched = if own { status.last_log } else { status.matched.get(&id).copied().flatten() };
        let matched = matched.filter(|_| leads_here);
        let lag = matched.zip(status.last_log).map(|(matched, last)| last.saturating_sub(matched));
        let silence =
            if own { Some(Duration::ZERO) } else { self.0.replica.silences().get(&id).copied().flatten() };
        let votes = status.committed_voters.iter().any(|voter| voter.raft_id == id);
        let is_there = |old: &u64| status.committed_members.iter().any(|other| other.raft_id == *old);
        v1::Member {
            raft_id: id,
            name: member.name.clone(),
            peer_address: member.peer_address.clone(),
            api_address: member.api_address.clone(),
            disk_id: member.disk_id.to_vec().into(),
            state: if votes { v1::MemberState::Voter } else { v1::MemberState::Learner }.into(),
            leads: is_leader,
            matched_revision: matched,
            lag,
            silent_ms: silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
            replaces: member.replaces.filter(is_there).unwrap_or_default(),
        }
    }
}
