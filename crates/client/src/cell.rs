//! The cell as a whole: what an operator asks and changes.

use paceline_api::v1;
use paceline_api::v1::cell_client::CellClient;
use paceline_types::Revision;
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;
use crate::snapshot::Snapshot;

/// Calls on the cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a>(pub(crate) &'a Client);

fn service(channel: Channel) -> CellClient<Channel> {
    CellClient::new(channel)
}

impl Cell<'_> {
    /// What an operator looks at first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<v1::CellStatusReply, ClientError> {
        self.status_at(Revision(0)).await
    }

    /// The same with the digest of another revision than the view's; zero means the view's.
    ///
    /// # Errors
    /// [`ClientError`]; refused where that digest is not kept.
    pub async fn status_at(&self, revision: Revision) -> Result<v1::CellStatusReply, ClientError> {
        let request = v1::CellStatusRequest { read: None, at_revision: revision.0 };
        self.0.read(request, |to, request| async move { service(to).status(request).await }).await
    }

    /// The committed configuration.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn config(&self) -> Result<v1::CellConfig, ClientError> {
        let request = v1::GetConfigRequest::default();
        let reply: v1::GetConfigReply =
            self.0.read(request, |to, request| async move { service(to).get_config(request).await }).await?;
        reply.config.ok_or_else(|| ClientError::protocol("the configuration was not sent"))
    }

    /// Changes the fields that are set, and returns all of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_config(&self, config: v1::CellConfig) -> Result<v1::CellConfig, ClientError> {
        let request = v1::SetConfigRequest { request: None, config: Some(config) };
        let call = |to, request| async move { service(to).set_config(request).await };
        let reply: v1::SetConfigReply = self.0.mutate(request, call).await?;
        reply.config.ok_or_else(|| ClientError::protocol("the configuration was not sent"))
    }

    /// A consistent view of the whole state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let request = v1::SnapshotRequest::default();
        let call = |to, request| async move { service(to).snapshot(request).await };
        Ok(Snapshot::new(self.0.stream(request, call).await?))
    }

    /// Says that the silent nodes are gone, so that they are written off as ever. Says whether the brake was on. The term
    /// is read first, so that a repeated try does not release the brake of a later leader.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release_brake(&self) -> Result<bool, ClientError> {
        let if_term = self.status().await?.term;
        let request = v1::ReleaseBrakeRequest { request: None, if_term };
        let call = |to, request| async move { service(to).release_brake(request).await };
        Ok(self.0.mutate(request, call).await?.released)
    }

    /// Hands the leadership over to a master by name, or to the one that is furthest. The term is read first, so
    /// that a repeated try cannot hand over twice.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn transfer_leadership(
        &self,
        to: Option<&str>,
    ) -> Result<v1::TransferLeadershipReply, ClientError> {
        let if_term = self.status().await?.term;
        let to = to.unwrap_or_default().to_owned();
        let request = v1::TransferLeadershipRequest { request: None, to, if_term };
        let call = |to, request| async move { service(to).transfer_leadership(request).await };
        self.0.mutate(request, call).await
    }
}
