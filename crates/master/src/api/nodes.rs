//! The nodes service.

use std::collections::BTreeMap;

use bytes::Bytes;
use paceline_api::v1;
use paceline_api::v1::nodes_server::Nodes;
use paceline_cell::CommandBody;
use paceline_types::NodeName;
use tonic::{Request, Response, Status};

use super::{Caller, Services};
use crate::pages::{self, Page};
use crate::{refuse, show};

/// Nodes in a page that does not say how many, and at most.
const NODES_PER_PAGE: u32 = 1_000;
const NODES_PER_PAGE_MAX: u32 = 10_000;

pub(super) struct NodesService(pub Services);

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn list(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesReply>, Status> {
        let request = request.into_inner();
        let size = pages::size(request.page_size, NODES_PER_PAGE, NODES_PER_PAGE_MAX)?;
        let page = match self.0.pages.find(&request.page_token)? {
            Some(page) => page,
            None => Page::first(self.0.reads.view(request.read.as_ref()).await?),
        };
        let links = self.0.links().await;
        let by_name: BTreeMap<_, _> = page.view.nodes().map(|node| (&node.name, node)).collect();
        let start = usize::try_from(page.position).unwrap_or(usize::MAX);
        let mut rest = by_name.values().skip(start);
        let nodes: Vec<v1::Node> = rest.by_ref().take(size).map(|node| show::node(node, &links)).collect();
        let next_page_token = match rest.next() {
            Some(_) => self.0.pages.token(&page.view, page.position + nodes.len() as u64),
            None => Bytes::new(),
        };
        Ok(Response::new(v1::ListNodesReply { revision: page.view.revision().0, nodes, next_page_token }))
    }

    async fn get(&self, request: Request<v1::GetNodeRequest>) -> Result<Response<v1::GetNodeReply>, Status> {
        let v1::GetNodeRequest { read, node } = request.into_inner();
        let name = name(&node)?;
        let view = self.0.reads.view(read.as_ref()).await?;
        let missing = || refuse::plain(v1::ErrorCode::NotFound, format!("there is no node `{node}`"));
        let found = view.node_by_name(&name).ok_or_else(missing)?;
        let node = Some(show::node(found, &self.0.links().await));
        Ok(Response::new(v1::GetNodeReply { revision: view.revision().0, node }))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::DrainNodeRequest { request: id, node } = request.into_inner();
        let body = CommandBody::DrainNode { node: name(&node)? };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::DrainNodeReply { revision: revision.0 }))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeNodeRequest>,
    ) -> Result<Response<v1::ResumeNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::ResumeNodeRequest { request: id, node } = request.into_inner();
        let body = CommandBody::ResumeNode { node: name(&node)? };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::ResumeNodeReply { revision: revision.0 }))
    }

    async fn label(
        &self,
        request: Request<v1::LabelNodeRequest>,
    ) -> Result<Response<v1::LabelNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::LabelNodeRequest { request: id, node, set, unset } = request.into_inner();
        let body = CommandBody::LabelNode { node: name(&node)?, set: set.into_iter().collect(), unset };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::LabelNodeReply { revision: revision.0 }))
    }

    async fn taint(
        &self,
        request: Request<v1::TaintNodeRequest>,
    ) -> Result<Response<v1::TaintNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::TaintNodeRequest { request: id, node, set, unset } = request.into_inner();
        let set = set.into_iter().map(Into::into).collect();
        let body = CommandBody::TaintNode { node: name(&node)?, set, unset };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::TaintNodeReply { revision: revision.0 }))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::RemoveNodeRequest { request: id, node } = request.into_inner();
        let body = CommandBody::RemoveNode { node: name(&node)? };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::RemoveNodeReply { revision: revision.0 }))
    }

    async fn replace(
        &self,
        request: Request<v1::ReplaceNodeRequest>,
    ) -> Result<Response<v1::ReplaceNodeReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::ReplaceNodeRequest { request: id, node } = request.into_inner();
        let body = CommandBody::ReplaceNode { node: name(&node)? };
        let (revision, _) = self.0.command(&caller, id, body).await?;
        Ok(Response::new(v1::ReplaceNodeReply { revision: revision.0 }))
    }
}

fn name(node: &str) -> Result<NodeName, Status> {
    node.parse().map_err(|_| refuse::invalid_field("node", node, "the name of a node"))
}
