//! The masters as members of the cell: what an operator asks and changes.

use paceline_api::v1;
use paceline_api::v1::members_client::MembersClient;
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;

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
        old: &str,
        by: &str,
        peer: &str,
        api: &str,
    ) -> Result<v1::ReplaceMemberReply, ClientError> {
        let request = v1::ReplaceMemberRequest {
            request: None,
            name: old.to_owned(),
            raft_id: self.raft_id_of(old).await?,
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
    pub async fn remove(&self, name: &str) -> Result<v1::RemoveMemberReply, ClientError> {
        let raft_id = self.raft_id_of(name).await?;
        let request = v1::RemoveMemberRequest { request: None, name: name.to_owned(), raft_id };
        self.0.mutate(request, |to, request| async move { service(to).remove(request).await }).await
    }

    /// Of two with one name, while one replaces the other, the one that is replaced; 0 where there is none: the cell
    /// says so.
    async fn raft_id_of(&self, name: &str) -> Result<u64, ClientError> {
        let members = self.list().await?.members;
        let named = members.iter().filter(|member| member.name == name);
        Ok(named.min_by_key(|member| member.replaces != 0).map_or(0, |member| member.raft_id))
    }
}
