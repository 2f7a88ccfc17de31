//! What a replica can ask of another one, whatever carries it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::member::Member;
use crate::wire::proto;

/// A call that gave no answer to use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// Not there: wait before trying again.
    #[error("{peer} cannot be reached: {cause}")]
    Unreachable {
        /// Whom we called.
        peer: String,
        /// What the transport said.
        cause: String,
    },
    /// No answer within the deadline.
    #[error("{peer} did not answer within {deadline_ms} ms")]
    Timeout {
        /// Whom we called.
        peer: String,
        /// How long we waited.
        deadline_ms: u128,
    },
    /// It answered that it will not.
    #[error("{peer} refuses: {cause}")]
    Refused {
        /// Whom we called.
        peer: String,
        /// Its words.
        cause: String,
    },
}

/// Answers to a stream of append requests, in order.
pub type Answers = BoxStream<'static, Result<proto::AppendResponse, PeerError>>;

/// One answer.
pub type Answer<T> = BoxFuture<'static, Result<T, PeerError>>;

/// One peer. Every call ends by its deadline, answered or not.
pub trait PeerClient: Send + Sync + 'static {
    /// Asks who answers there.
    fn handshake(
        &self,
        request: proto::HandshakeRequest,
        deadline: Duration,
    ) -> Answer<proto::HandshakeResponse>;
    /// Gives a master that waits its Raft id.
    fn adopt(&self, request: proto::AdoptRequest, deadline: Duration) -> Answer<proto::AdoptResponse>;
    /// Appends in a pipeline. The deadline is for the start; the caller watches for stalls.
    fn append(
        &self,
        requests: BoxStream<'static, proto::AppendRequest>,
        deadline: Duration,
    ) -> Answer<Answers>;
    /// Asks for a vote, or whether it would be given.
    fn vote(&self, request: proto::VoteRequest, deadline: Duration) -> Answer<proto::VoteResponse>;
    /// Tells the peer to take over.
    fn transfer_leader(
        &self,
        request: proto::TransferLeaderRequest,
        deadline: Duration,
    ) -> Answer<proto::TransferLeaderResponse>;
    /// One step of a snapshot transfer.
    fn snapshot(
        &self,
        request: proto::SnapshotRequest,
        deadline: Duration,
    ) -> Answer<proto::SnapshotResponse>;
}

/// Makes clients. Called once per member and purpose; connecting is the client's business.
pub trait PeerTransport: Send + Sync + 'static {
    /// A client for `member`; it must not deliver to anyone else.
    fn client(&self, member: &Member) -> Arc<dyn PeerClient>;
}
