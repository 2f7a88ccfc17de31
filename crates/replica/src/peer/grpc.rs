//! The peer protocol over gRPC on identity's streams: channels are kept, deadlines enforced, sizes bounded.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use paceline_identity::{Connector, Expect, PeerIdentity, Role};
use parking_lot::Mutex;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::check::Caller;
use super::client::{Answer, Answers, PeerClient, PeerError, PeerTransport};
use super::handler::{HandleError, PeerHandler};
use crate::config::PEER_MESSAGE_LIMIT_BYTES;
use crate::joining::Waiting;
use crate::member::Member;
use crate::wire::proto;
use crate::wire::proto::raft_client::RaftClient;
use crate::wire::proto::raft_server::{Raft as RaftService, RaftServer};

/// Channels that are kept: those to all members, and to some that were only asked who they are.
const CHANNELS_MAX: usize = 64;

/// Channels by (address, name), shared by replication, heartbeats and votes of one target.
pub struct GrpcTransport {
    connector: Arc<dyn Connector>,
    channels: Mutex<BTreeMap<(String, String), Channel>>,
}

impl GrpcTransport {
    /// Connects through `connector`, which must hold the peer CA's credentials.
    pub fn new(connector: Arc<dyn Connector>) -> Self {
        Self { connector, channels: Mutex::default() }
    }
}

impl PeerTransport for GrpcTransport {
    fn client(&self, member: &Member) -> Arc<dyn PeerClient> {
        let key = (member.peer_address.clone(), member.name.clone());
        let mut channels = self.channels.lock();
        if channels.len() >= CHANNELS_MAX && !channels.contains_key(&key) {
            // Whoever uses one keeps it.
            channels.clear();
        }
        let channel = channels.entry(key).or_insert_with(|| {
            let expect = Expect::named(Role::Master, member.name.clone());
            paceline_identity::channel(self.connector.clone(), &member.peer_address, expect)
        });
        let client = RaftClient::new(channel.clone())
            .max_decoding_message_size(PEER_MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_LIMIT_BYTES);
        Arc::new(GrpcPeer { client, peer: format!("master {} at {}", member.name, member.peer_address) })
    }
}

struct GrpcPeer {
    client: RaftClient<Channel>,
    peer: String,
}

fn peer_error(peer: &str, status: &Status, deadline: Duration) -> PeerError {
    let peer = peer.to_owned();
    let cause = match std::error::Error::source(status) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_owned(),
    };
    match status.code() {
        Code::DeadlineExceeded => PeerError::Timeout { peer, deadline_ms: deadline.as_millis() },
        Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented => {
            PeerError::Refused { peer, cause }
        }
        _ => PeerError::Unreachable { peer, cause },
    }
}

impl GrpcPeer {
    fn call<T, F>(&self, deadline: Duration, call: impl FnOnce(RaftClient<Channel>) -> F) -> Answer<T>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let peer = self.peer.clone();
        let answer = tokio::time::timeout(deadline, call(self.client.clone()));
        async move {
            match answer.await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(peer_error(&peer, &status, deadline)),
                Err(_) => Err(PeerError::Timeout { peer, deadline_ms: deadline.as_millis() }),
            }
        }
        .boxed()
    }
}

impl PeerClient for GrpcPeer {
    fn handshake(
        &self,
        request: proto::HandshakeRequest,
        deadline: Duration,
    ) -> Answer<proto::HandshakeResponse> {
        self.call(deadline, |mut client| async move { client.handshake(request).await })
    }

    fn adopt(&self, request: proto::AdoptRequest, deadline: Duration) -> Answer<proto::AdoptResponse> {
        self.call(deadline, |mut client| async move { client.adopt(request).await })
    }

    fn append(
        &self,
        requests: BoxStream<'static, proto::AppendRequest>,
        deadline: Duration,
    ) -> Answer<Answers> {
        let requests = Requests(requests);
        let started = self.call(deadline, |mut client| async move { client.append(requests).await });
        let peer = self.peer.clone();
        async move {
            let answers = started.await?;
            let answers = answers.map(move |answer| answer.map_err(|e| peer_error(&peer, &e, deadline)));
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(&self, request: proto::VoteRequest, deadline: Duration) -> Answer<proto::VoteResponse> {
        self.call(deadline, |mut client| async move { client.vote(request).await })
    }

    fn transfer_leader(
        &self,
        request: proto::TransferLeaderRequest,
        deadline: Duration,
    ) -> Answer<proto::TransferLeaderResponse> {
        self.call(deadline, |mut client| async move { client.transfer_leader(request).await })
    }

    fn snapshot(
        &self,
        request: proto::SnapshotRequest,
        deadline: Duration,
    ) -> Answer<proto::SnapshotResponse> {
        self.call(deadline, |mut client| async move { client.snapshot(request).await })
    }
}

/// A named type for the boxed stream: the compiler cannot prove the bare one `Send` within a call.
struct Requests(BoxStream<'static, proto::AppendRequest>);

impl Stream for Requests {
    type Item = proto::AppendRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// The routes that serve the peer protocol; to be mounted behind identity's listener with the peer CA.
pub fn routes(door: Door) -> Router {
    let server = RaftServer::new(Service { door })
        .max_decoding_message_size(PEER_MESSAGE_LIMIT_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_LIMIT_BYTES);
    paceline_identity::grpc(server)
}

/// Who answers behind the port.
#[derive(Clone)]
pub enum Door {
    /// A replica.
    Open(PeerHandler),
    /// A master that waits to be taken into a cell, and has a replica afterwards.
    Waiting(Arc<Waiting>),
}

impl Door {
    fn handler(&self) -> Result<PeerHandler, Status> {
        let handler = match self {
            Self::Open(handler) => Some(handler),
            Self::Waiting(waiting) => waiting.handler(),
        };
        handler.cloned().ok_or_else(|| Status::unavailable("this master waits to be taken into the cell"))
    }
}

struct Service {
    door: Door,
}

impl From<HandleError> for Status {
    fn from(error: HandleError) -> Self {
        let code = match &error {
            HandleError::Refused(_) | HandleError::Adopt(_) => Code::FailedPrecondition,
            HandleError::Malformed(_) => Code::InvalidArgument,
            HandleError::Transfer(_) => Code::Aborted,
            HandleError::Stopped(_) => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

/// The authorize layer has let only masters in; the name comes from the certificate and from nowhere else.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let identity = request.extensions().get::<PeerIdentity>();
    let identity = identity.filter(|identity| identity.role == Role::Master);
    let identity = identity.ok_or_else(|| Status::permission_denied("only masters speak Raft"))?;
    Ok(Caller { name: identity.name.clone() })
}

#[tonic::async_trait]
impl RaftService for Service {
    type AppendStream = BoxStream<'static, Result<proto::AppendResponse, Status>>;

    async fn handshake(
        &self,
        request: Request<proto::HandshakeRequest>,
    ) -> Result<Response<proto::HandshakeResponse>, Status> {
        caller(&request)?;
        let answer = match &self.door {
            Door::Waiting(waiting) if waiting.handler().is_none() => waiting.handshake(request.get_ref())?,
            door => door.handler()?.handshake(request.get_ref()).await?,
        };
        Ok(Response::new(answer))
    }

    async fn adopt(
        &self,
        request: Request<proto::AdoptRequest>,
    ) -> Result<Response<proto::AdoptResponse>, Status> {
        caller(&request)?;
        match &self.door {
            Door::Waiting(waiting) => {
                waiting.adopt(request.into_inner()).await?;
                Ok(Response::new(proto::AdoptResponse {}))
            }
            Door::Open(_) => Err(Status::failed_precondition("this master has its Raft id already")),
        }
    }

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let caller = caller(&request)?;
        // A broken stream ends; the leader begins a new one from what was acknowledged.
        let requests = request.into_inner();
        let requests = requests.take_while(|request| futures::future::ready(request.is_ok()));
        let requests = requests.filter_map(|request| futures::future::ready(request.ok())).boxed();
        let answers = self.door.handler()?.append(requests, &caller).await?;
        Ok(Response::new(answers.map(|answer| answer.map_err(Status::from)).boxed()))
    }

    async fn vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(self.door.handler()?.vote(request.into_inner(), &caller).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(self.door.handler()?.transfer_leader(request.into_inner(), &caller).await?))
    }

    async fn snapshot(
        &self,
        request: Request<proto::SnapshotRequest>,
    ) -> Result<Response<proto::SnapshotResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(self.door.handler()?.snapshot(request.into_inner(), &caller).await?))
    }
}
