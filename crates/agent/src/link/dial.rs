//! From an address to an open session: connect, sign, say Hello. One future per step, each with a deadline.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paceline_api::v1::agent_link_client::AgentLinkClient;
use paceline_api::v1::master_directory_client::MasterDirectoryClient;
use paceline_api::{DecodeError, FRAME_BYTES_MAX, v1};
use paceline_identity::{BoxFuture, Connector, Credentials, Expect, PeerStream, Role, channel};
use paceline_link::message::{AgentMessage, Hello, ShardList};
use paceline_types::{NodeName, ParseIdError, ShardName};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::targets::Target;

/// Frames between the owner and the stream: enough to keep it busy, few enough that what changes meanwhile
/// is still merged in the table instead of queued here.
const UP_FRAMES_MAX: usize = 8;

/// Why a step failed. All of them are tried again, elsewhere or later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no connection within {0:?}")]
    Late(Duration),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the shard's certificate has no usable name")]
    Name(#[source] ParseIdError),
    #[error("the call failed")]
    Call(#[source] Box<tonic::Status>),
    #[error("the answer makes no sense")]
    Answer(#[source] DecodeError),
    #[error("the answer has no shards")]
    NoShards,
}

impl DialError {
    /// Whether somebody was there and had work with us. A connection that nobody takes costs nobody anything.
    pub(super) fn is_costly(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
        let absent = [ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable];
        !matches!(self, Self::Connect(error) if absent.contains(&error.kind()))
    }
}

impl From<tonic::Status> for DialError {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// A shard that is connected and has not heard a Hello.
pub(crate) struct Reached {
    pub(super) shard: ShardName,
    pub(super) address: String,
    stream: PeerStream,
}

/// The two directions of a session.
pub(crate) struct Opened {
    pub(super) shard: ShardName,
    pub(super) address: String,
    pub(super) up: mpsc::Sender<v1::AgentFrame>,
    pub(super) down: Streaming<v1::OrderFrame>,
    pub(super) channel: Channel,
}

/// What dialling needs.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) cell: String,
    pub(crate) deadline: Duration,
}

impl Dialler {
    /// Connects to a shard.
    pub(super) fn reach(
        &self,
        address: String,
        name: Option<ShardName>,
    ) -> BoxFuture<'static, Result<Reached, DialError>> {
        let expect = Expect { role: Role::Shard, name: name.map(|name| name.to_string()) };
        let connecting = self.connector.connect(&address, &expect);
        let deadline = self.deadline;
        Box::pin(async move {
            let stream = timeout(deadline, connecting).await.map_err(|_| DialError::Late(deadline))?;
            let stream = stream.map_err(DialError::Connect)?;
            let shard = stream.peer().name.parse().map_err(DialError::Name)?;
            Ok(Reached { shard, address, stream })
        })
    }

    /// Signs the Hello for this shard and opens the session with it.
    pub(super) fn open(
        &self,
        reached: Reached,
        mut hello: Hello,
    ) -> BoxFuture<'static, Result<Opened, DialError>> {
        let Reached { shard, address, stream } = reached;
        hello.certificate_der = self.credentials.identity().certificate_der.to_vec();
        hello.signature = self.credentials.sign(&Hello::signed_bytes(&self.cell, &hello, &shard));
        let deadline = self.deadline;
        Box::pin(async move {
            let expect = Expect::named(Role::Shard, shard.as_str());
            let channel = channel(Arc::new(OneStream(Mutex::new(Some(stream)))), &address, expect);
            let mut client = AgentLinkClient::new(channel.clone()).max_decoding_message_size(FRAME_BYTES_MAX);
            let (up, frames) = mpsc::channel(UP_FRAMES_MAX);
            let first = AgentMessage::Hello(Box::new(hello));
            up.try_send(first.into()).expect("a new channel has room for its first frame");
            let opening = client.connect(ReceiverStream::new(frames));
            let down = timeout(deadline, opening).await.map_err(|_| DialError::Late(deadline))??.into_inner();
            Ok(Opened { shard, address, up, down, channel })
        })
    }

    /// Asks a master for the shards.
    pub(super) fn ask(
        &self,
        address: &str,
        node: &NodeName,
    ) -> BoxFuture<'static, Result<ShardList, DialError>> {
        let channel = channel(Arc::clone(&self.connector), address, Expect::any(Role::Master));
        let request = v1::WhereIsMyShardRequest { node: node.to_string() };
        let deadline = self.deadline;
        Box::pin(async move {
            let mut client = MasterDirectoryClient::new(channel);
            let asking = client.where_is_my_shard(request);
            let reply = timeout(deadline, asking).await.map_err(|_| DialError::Late(deadline))??.into_inner();
            let list = reply.shards.ok_or(DialError::NoShards)?;
            let list: ShardList = list.try_into().map_err(DialError::Answer)?;
            if list.shards.is_empty() { Err(DialError::NoShards) } else { Ok(list) }
        })
    }

    pub(super) fn dial(&self, target: Target, node: &NodeName) -> Dialling {
        match target {
            Target::Shard { address, name } => Dialling::Shard(self.reach(address, name)),
            Target::Master { address } => Dialling::Master(self.ask(&address, node)),
        }
    }
}

/// A step on its way.
pub(super) enum Dialling {
    Shard(BoxFuture<'static, Result<Reached, DialError>>),
    Master(BoxFuture<'static, Result<ShardList, DialError>>),
}

/// Hands a session's channel the one stream that was connected for it: a session never moves to another.
struct OneStream(Mutex<Option<PeerStream>>);

impl Connector for OneStream {
    fn connect(&self, address: &str, _expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended =
            || io::Error::new(io::ErrorKind::NotConnected, format!("the session through {address} ended"));
        let stream = stream.ok_or_else(ended);
        Box::pin(async move { stream })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_identity::{Authority, CERTIFICATE_LIFE, TlsConnector};

    async fn failure(address: &str) -> DialError {
        let dir = tempfile::TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("ca"), "c1").unwrap();
        let own = dir.path().join("own");
        authority.issue(Role::Agent, "n1", CERTIFICATE_LIFE).unwrap().write(&own).unwrap();
        let credentials = Arc::new(Credentials::load(&own).unwrap());
        let connector = Arc::new(TlsConnector::new(Arc::clone(&credentials)));
        let deadline = Duration::from_secs(30);
        let dialler = Dialler { connector, credentials, cell: "c1".to_owned(), deadline };
        dialler.reach(address.to_owned(), None).await.err().expect("nobody serves there")
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_costs_nothing_and_a_broken_handshake_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let closing = async { drop(listener.accept().await) };
        let (broken, ()) = tokio::join!(failure(&address), closing);
        assert!(broken.is_costly(), "{broken:?}");
        drop(listener);
        let refused = failure(&address).await;
        assert!(!refused.is_costly(), "{refused:?}");
    }
}
