//! Shards: what an operator does with them.

use paceline_api::v1;
use paceline_api::v1::shards_client::ShardsClient;
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;

/// Calls on shards.
#[derive(Clone, Copy, Debug)]
pub struct Shards<'a>(pub(crate) &'a Client);

fn service(channel: Channel) -> ShardsClient<Channel> {
    ShardsClient::new(channel)
}

impl Shards<'_> {
    /// All shards by number.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self) -> Result<v1::ListShardsReply, ClientError> {
        let request = v1::ListShardsRequest::default();
        self.0.read(request, |to, request| async move { service(to).list(request).await }).await
    }

    /// Forgets a shard; its agents move to the others.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove(&self, shard: &str) -> Result<v1::RemoveShardReply, ClientError> {
        let request = v1::RemoveShardRequest { request: None, shard: shard.to_owned() };
        self.0.mutate(request, |to, request| async move { service(to).remove(request).await }).await
    }
}
