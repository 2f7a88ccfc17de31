//! The one thing that masters answer to agents: where the shards are.

use paceline_api::v1::master_directory_server::MasterDirectory;
use paceline_api::v1::{ErrorCode, WhereIsMyShardReply, WhereIsMyShardRequest};
use tonic::{Request, Response, Status};

use super::links::admitted;
use super::{Caller, Services};
use crate::leader::shard_list;
use crate::refuse;

pub(super) struct DirectoryService(pub Services);

#[tonic::async_trait]
impl MasterDirectory for DirectoryService {
    async fn where_is_my_shard(
        &self,
        request: Request<WhereIsMyShardRequest>,
    ) -> Result<Response<WhereIsMyShardReply>, Status> {
        let caller = Caller::of(&request)?;
        let node = &request.get_ref().node;
        let is_agent = matches!(
            caller.identity.role,
            paceline_identity::Role::Agent | paceline_identity::Role::AgentGroup
        );
        if is_agent && !caller.identity.speaks_for_node(node) {
            let message = format!("{} may not ask for node `{node}`", caller.identity.principal());
            return Err(refuse::plain(ErrorCode::PermissionDenied, message));
        }
        let view = self.0.published.view();
        if !admitted(&caller.identity, &view) {
            let message =
                format!("{} is not admitted: agent_groups is 0 in this cell", caller.identity.principal());
            return Err(refuse::plain(ErrorCode::PermissionDenied, message));
        }
        // The view may be behind: the agent that finds a shard gone asks again.
        let shards = Some(shard_list(&view).into());
        Ok(Response::new(WhereIsMyShardReply { revision: view.revision().0, shards }))
    }
}
