//! The masters as members of the cell: what an operator asks and changes.

use paceline_api::v1;
use paceline_api::v1::members_client::MembersClient;
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;

/// Which master: by its name, and by its Raft id where two have the name while one replaces the other.
#[derive(Clone, Copy, Debug)]
pub struct MasterRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Raft id; looked up where it is not said.
    pub raft_id: Option<u64>,
}

impl<'a> From<&'a str> for MasterRef<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, raft_id: None }
    }
}

/// Calls on members.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a>(pub(crate) &'a Client);

pub(crate) fn service(channel: Channel) -> MembersClient<Channel> {
    MembersClient::new(channel)
}

impl Members<'_> {
    /// All masters, those without a vote included.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self) -> Result<v1::ListMembersReply, ClientError> {
        let request = v1::ListMembersRequest::default();
        let reply: v1::ListMembersReply =
            self.0.read(request, |to, request| async move { service(to).list(request).await }).await?;
        self.0.learn(&reply);
        Ok(reply)
    }

    /// Takes a master into the cell that runs and waits. It gets its vote when it has caught up; `list` shows it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add(&self, name: &str, peer: &str, api: &str) -> Result<v1::AddMemberReply, ClientError> {
        let request = v1::AddMemberRequest {
            request: None,
            name: name.to_owned(),
            peer_address: peer.to_owned(),
            api_address: api.to_owned(),
        };
        self.0.mutate(request, |to, request| async move { service(to).add(request).await }).await
    }

    /// The same, in the place of another master, which goes as the new one gets its vote. Who goes is looked up first,
    /// so that a repeated try is known to be one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn replace(
        &self,
        old: impl Into<MasterRef<'_>>,
        by: &str,
        peer: &str,
        api: &str,
    ) -> Result<v1::ReplaceMemberReply, ClientError> {
        let old = old.into();
        // The same command again means the one that is already being replaced.
        let replaced =
            |named: &[v1::Member]| named.iter().min_by_key(|it| it.replaces != 0).map(|it| it.raft_id);
        let request = v1::ReplaceMemberRequest {
            request: None,
            name: old.name.to_owned(),
            raft_id: self.raft_id_of(old, replaced).await?,
            by: by.to_owned(),
            peer_address: peer.to_owned(),
            api_address: api.to_owned(),
        };
        self.0.mutate(request, |to, request| async move { service(to).replace(request).await }).await
    }

    /// Removes a master for good. Says whether it was still there. It is looked up first, as above.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove(&self, old: impl Into<MasterRef<'_>>) -> Result<v1::RemoveMemberReply, ClientError> {
        let old = old.into();
        let only = |named: &[v1::Member]| if let [only] = named { Some(only.raft_id) } else { None };
        let raft_id = self.raft_id_of(old, only).await?;
        let request = v1::RemoveMemberRequest { request: None, name: old.name.to_owned(), raft_id };
        self.0.mutate(request, |to, request| async move { service(to).remove(request).await }).await
    }

    /// 0 where there is none to choose: the cell says why.
    async fn raft_id_of(
        &self,
        which: MasterRef<'_>,
        choose: impl Fn(&[v1::Member]) -> Option<u64>,
    ) -> Result<u64, ClientError> {
        if let Some(raft_id) = which.raft_id {
            return Ok(raft_id);
        }
        let mut members = self.list().await?.members;
        members.retain(|member| member.name == which.name);
        Ok(choose(&members).unwrap_or(0))
    }
}
