//! The shards service.

use paceline_api::v1::shards_server::Shards;
use paceline_api::v1::{ListShardsReply, ListShardsRequest, RemoveShardReply, RemoveShardRequest};
use paceline_cell::CommandBody;
use tonic::{Request, Response, Status};

use super::{Caller, Services};
use crate::refuse;
use crate::show;

pub(super) struct ShardsService(pub Services);

#[tonic::async_trait]
impl Shards for ShardsService {
    async fn list(&self, request: Request<ListShardsRequest>) -> Result<Response<ListShardsReply>, Status> {
        let view = self.0.reads.view(request.get_ref().read.as_ref()).await?;
        let links = self.0.links().await;
        Ok(Response::new(ListShardsReply {
            revision: view.revision().0,
            shards: view.shards().map(|shard| show::shard(shard, links.as_deref())).collect(),
            list_version: view.shard_list_version().0,
        }))
    }

    async fn remove(
        &self,
        request: Request<RemoveShardRequest>,
    ) -> Result<Response<RemoveShardReply>, Status> {
        let caller = Caller::of(&request)?;
        let RemoveShardRequest { request: id, shard } = request.into_inner();
        let name =
            shard.parse().map_err(|_| refuse::invalid_field("shard", &shard, "the name of a shard"))?;
        let (revision, _) = self.0.command(&caller, id, CommandBody::RemoveShard { name }).await?;
        Ok(Response::new(RemoveShardReply { revision: revision.0 }))
    }
}
