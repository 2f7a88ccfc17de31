//! Nodes: what an operator does with them.

use std::collections::BTreeMap;

use paceline_api::v1;
use paceline_api::v1::nodes_client::NodesClient;
use paceline_rules::Taint;
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;
use crate::jobs::all_pages;

/// Nodes on one page.
const PAGE_NODES: u32 = 1_000;

/// Calls on nodes.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a>(pub(crate) &'a Client);

fn service(channel: Channel) -> NodesClient<Channel> {
    NodesClient::new(channel)
}

impl Nodes<'_> {
    /// All nodes by name, of one view.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self) -> Result<Vec<v1::Node>, ClientError> {
        let page = |page_token| async {
            let request = v1::ListNodesRequest { read: None, page_size: PAGE_NODES, page_token };
            let call = |to, request| async move { service(to).list(request).await };
            let reply: v1::ListNodesReply = self.0.read(request, call).await?;
            Ok((reply.nodes, reply.next_page_token))
        };
        all_pages(page).await
    }

    /// One node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, node: &str) -> Result<v1::Node, ClientError> {
        let request = v1::GetNodeRequest { read: None, node: node.to_owned() };
        let reply: v1::GetNodeReply =
            self.0.read(request, |to, request| async move { service(to).get(request).await }).await?;
        reply.node.ok_or_else(|| ClientError::protocol("a node was found, but not sent"))
    }

    /// No new work; what runs finishes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(&self, node: &str) -> Result<v1::DrainNodeReply, ClientError> {
        let request = v1::DrainNodeRequest { request: None, node: node.to_owned() };
        self.0.mutate(request, |to, request| async move { service(to).drain(request).await }).await
    }

    /// New work again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume(&self, node: &str) -> Result<v1::ResumeNodeReply, ClientError> {
        let request = v1::ResumeNodeRequest { request: None, node: node.to_owned() };
        self.0.mutate(request, |to, request| async move { service(to).resume(request).await }).await
    }

    /// Sets and unsets labels over those of the agent.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn label(
        &self,
        node: &str,
        set: BTreeMap<String, String>,
        unset: Vec<String>,
    ) -> Result<v1::LabelNodeReply, ClientError> {
        let request = v1::LabelNodeRequest { request: None, node: node.to_owned(), set, unset };
        self.0.mutate(request, |to, request| async move { service(to).label(request).await }).await
    }

    /// Sets and unsets taints.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn taint(
        &self,
        node: &str,
        set: Vec<Taint>,
        unset: Vec<String>,
    ) -> Result<v1::TaintNodeReply, ClientError> {
        let set = set.into_iter().map(Into::into).collect();
        let request = v1::TaintNodeRequest { request: None, node: node.to_owned(), set, unset };
        self.0.mutate(request, |to, request| async move { service(to).taint(request).await }).await
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove(&self, node: &str) -> Result<v1::RemoveNodeReply, ClientError> {
        let request = v1::RemoveNodeRequest { request: None, node: node.to_owned() };
        self.0.mutate(request, |to, request| async move { service(to).remove(request).await }).await
    }

    /// Lets another machine take the node's name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn replace(&self, node: &str) -> Result<v1::ReplaceNodeReply, ClientError> {
        let request = v1::ReplaceNodeRequest { request: None, node: node.to_owned() };
        self.0.mutate(request, |to, request| async move { service(to).replace(request).await }).await
    }
}
