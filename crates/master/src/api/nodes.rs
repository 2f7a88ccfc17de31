//! The nodes service.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use paceline_api::v1;
use paceline_api::v1::nodes_server::Nodes;
use paceline_cell::CommandBody;
use paceline_link::Liveness;
use paceline_rules::Violation;
use paceline_types::NodeName;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Caller, Services};
use crate::pages::{self, Page};
use crate::{refuse, show};

/// Nodes in a page that does not say how many, and at most.
const NODES_PER_PAGE: u32 = 1_000;
const NODES_PER_PAGE_MAX: u32 = 10_000;

/// Bytes of nodes in a page: a node may have 128 KiB of labels, and a reply has to be decoded by every client.
const PAGE_BYTES_MAX: usize = 1 << 20;

pub(super) struct NodesService(pub Services);

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn list(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesReply>, Status> {
        let caller = Caller::of(&request)?.identity.principal();
        let request = request.into_inner();
        let size = pages::size(request.page_size, NODES_PER_PAGE, NODES_PER_PAGE_MAX)?;
        let page = match self.0.pages.find(&caller, &request.page_token)? {
            Some(page) => page,
            None => Page::first(self.0.reads.view(request.read.as_ref()).await?),
        };
        let links = self.0.links().await;
        let by_name: BTreeMap<_, _> = page.view.nodes().map(|node| (&node.name, node)).collect();
        let start = usize::try_from(page.position).unwrap_or(usize::MAX);
        let rest = by_name.values().skip(start);
        let shown = rest.map(|node| show::node(node, links.as_deref()));
        let nodes = within_bytes(shown.take(size));
        let next = page.position + nodes.len() as u64;
        let next_page_token = match usize::try_from(next) {
            Ok(next) if next < by_name.len() => self.0.pages.token(&caller, &page.view, next as u64),
            _ => Bytes::new(),
        };
        Ok(Response::new(v1::ListNodesReply { revision: page.view.revision().0, nodes, next_page_token }))
    }

    async fn get(&self, request: Request<v1::GetNodeRequest>) -> Result<Response<v1::GetNodeReply>, Status> {
        let v1::GetNodeRequest { read, node } = request.into_inner();
        let name = name(&node)?;
        let view = self.0.reads.view(read.as_ref()).await?;
        let missing = || refuse::plain(v1::ErrorCode::NotFound, format!("there is no node `{node}`"));
        let found = view.node_by_name(&name).ok_or_else(missing)?;
        let node = Some(show::node(found, self.0.links().await.as_deref()));
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
        disjoint(set.keys(), &unset)?;
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
        disjoint(set.iter().map(|taint| &taint.key), &unset)?;
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
        let node = name(&node)?;
        self.removable(&caller, id.as_ref(), &node).await?;
        let body = CommandBody::RemoveNode { node };
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

impl NodesService {
    /// A node whose agent is heard would be back at once, as a new one that takes work. The retry of a request that has
    /// its answer goes through all the same.
    async fn removable(
        &self,
        caller: &Caller,
        id: Option<&v1::RequestId>,
        node: &NodeName,
    ) -> Result<(), Status> {
        let links = self.0.links_now().await;
        let view = self.0.published.view();
        let known = view.node_by_name(node);
        let link = links.as_ref().zip(known).and_then(|(links, known)| links.nodes.get(&known.id));
        let Err(refused) = silent(node, link.map(|link| link.liveness)) else { return Ok(()) };
        let Some(id) = id else { return Err(refused) };
        let id = caller.request_id(id.clone())?;
        let answered = self.0.reads.view(None).await?.knows_request(&id);
        if answered { Ok(()) } else { Err(refused) }
    }
}

/// As many nodes as a page has bytes for, and at least one.
fn within_bytes(nodes: impl Iterator<Item = v1::Node>) -> Vec<v1::Node> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for node in nodes {
        bytes += node.encoded_len();
        if bytes > PAGE_BYTES_MAX && !page.is_empty() {
            break;
        }
        page.push(node);
    }
    page
}

/// Refuses a node that is heard.
fn silent(node: &NodeName, liveness: Option<Liveness>) -> Result<(), Status> {
    if !matches!(liveness, Some(Liveness::Up | Liveness::Returning)) {
        return Ok(());
    }
    let message = format!(
        "node {node} is up, and its agent would join again at once as a new node: drain it first if its tasks shall finish, stop its agent, and remove it when it is no longer up"
    );
    Err(refuse::plain(v1::ErrorCode::Conflict, message))
}

/// One call either sets a name or takes it away.
fn disjoint<'n>(set: impl Iterator<Item = &'n String>, unset: &[String]) -> Result<(), Status> {
    let unset: BTreeSet<&String> = unset.iter().collect();
    let both = set.filter(|name| unset.contains(name)).map(|name| Violation {
        field: "unset".to_owned(),
        value: name.clone(),
        expected: "none of the names that the same call sets".to_owned(),
    });
    let both: Vec<Violation> = both.collect();
    if both.is_empty() { Ok(()) } else { Err(refuse::invalid(&both)) }
}

fn name(node: &str) -> Result<NodeName, Status> {
    node.parse().map_err(|_| refuse::invalid_field("node", node, "the name of a node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_up_is_not_removed() {
        let node: NodeName = "n1".parse().expect("a name");
        let refused = silent(&node, Some(Liveness::Up)).expect_err("it would be back");
        assert!(refused.message().contains("stop its agent"), "{refused}");
        for gone in [
            None,
            Some(Liveness::Unheard),
            Some(Liveness::Suspect { since_ms: 5 }),
            Some(Liveness::Lost { since_ms: 5 }),
        ] {
            assert!(silent(&node, gone).is_ok(), "{gone:?}");
        }
    }

    #[test]
    fn a_page_of_large_nodes_is_cut_by_bytes_and_never_empty() {
        let node = |bytes: usize| v1::Node { name: "x".repeat(bytes), ..v1::Node::default() };
        assert_eq!(within_bytes((0..100).map(|_| node(64 << 10))).len(), 15);
        assert_eq!(within_bytes((0..100).map(|_| node(2 << 20))).len(), 1);
        assert_eq!(within_bytes((0..100).map(|_| node(10))).len(), 100);
        assert!(within_bytes(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_name_that_is_both_set_and_unset_is_refused_by_name() {
        let set = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert!(disjoint(set.iter(), &["d".to_owned()]).is_ok());
        let refused = disjoint(set.iter(), &["c".to_owned(), "a".to_owned()]).expect_err("both");
        let detail = paceline_api::detail_of(&refused).expect("typed");
        let values: Vec<&str> = detail.violations.iter().map(|fault| fault.value.as_str()).collect();
        assert_eq!(values, ["a", "c"]);
    }
}
