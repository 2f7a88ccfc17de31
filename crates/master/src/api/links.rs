//! The streams of shards: checked frames in, batches out. What they mean is the hub's business; those for output of
//! tasks are the log relay's.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use paceline_api::v1::master_link_server::MasterLink;
use paceline_api::v1::{ErrorCode, LogPiece, ShardFrame};
use paceline_cell::Cell;
use paceline_identity::{PeerIdentity, Role};
use paceline_link::LinkId;
use paceline_link::message::{AgentOrder, Hello, MasterMessage, ShardMessage};
use paceline_replica::{Member, ReplicaStatus};
use paceline_types::ShardName;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::logs::{QUESTIONS_MAX, Question};
use super::{Caller, Services};
use crate::leader::{FrameStream, LinkEvent, LinkStream, Outbox};
use crate::refuse;

/// When an agent whose signature does not hold may come again: somebody has to look at it first.
const UNSIGNED_RETRY_MS: u64 = 60_000;

pub(super) struct LinkService(pub Services);

type LogStream = ReceiverStream<Question>;

#[tonic::async_trait]
impl MasterLink for LinkService {
    type ConnectStream = FrameStream;
    type LogStreamStream = LogStream;

    async fn connect(
        &self,
        request: Request<Streaming<ShardFrame>>,
    ) -> Result<Response<FrameStream>, Status> {
        let caller = Caller::of(&request)?;
        let status = self.0.replica.status();
        if !status.leading {
            return Err(refuse::not_leader(status.leader.as_ref()));
        }
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| wrong("a stream begins with a ShardHello"))?;
        let mut messages = decode(first)?;
        if messages.is_empty() {
            return Err(wrong("a stream begins with a ShardHello"));
        }
        let ShardMessage::Hello { name, address } = messages.remove(0) else {
            return Err(wrong("a stream begins with a ShardHello"));
        };
        if name.as_str() != caller.identity.name {
            let message = format!("{} may not speak as shard `{name}`", caller.identity.principal());
            return Err(refuse::plain(ErrorCode::PermissionDenied, message));
        }
        // ORDERING: numbers only have to differ.
        let link = LinkId(self.0.next_link.fetch_add(1, Ordering::Relaxed));
        let (outbox, stream_of_frames) = Outbox::new();
        let (alive, mut ended) = oneshot::channel();
        let stream = LinkStream { outbox: outbox.clone(), _alive: alive };
        let connected = LinkEvent::Connected { link, name: name.clone(), address, stream };
        let reader = Reader { services: self.0.clone(), link, shard: name, outbox: outbox.clone() };
        tokio::spawn(async move {
            let mut status = reader.services.replica.subscribe();
            let read = reader.read(connected, messages, frames);
            let outcome = tokio::select! {
                outcome = read => outcome,
                // The stream of a leader that is none any more ends, so that the shard looks for the next one.
                leader = lost(&mut status) => Err(refuse::not_leader(leader.as_ref())),
                _ = &mut ended => Err(refuse::plain(ErrorCode::Unavailable, "the leader has closed this link")),
                () = outbox.closed() => Ok(()),
            };
            if let Err(status) = outcome {
                outbox.end(status);
            }
            let _ = reader.services.links.send(LinkEvent::Disconnected { link }).await;
        });
        Ok(Response::new(stream_of_frames))
    }

    async fn log_stream(&self, request: Request<Streaming<LogPiece>>) -> Result<Response<LogStream>, Status> {
        let name = Caller::of(&request)?.identity.name;
        let shard: ShardName = name.parse().map_err(|_| {
            refuse::plain(ErrorCode::PermissionDenied, format!("`{name}` is not the name of a shard"))
        })?;
        let (outbox, questions) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(self.0.logs.clone().serve_shard(shard, request.into_inner(), outbox));
        Ok(Response::new(ReceiverStream::new(questions)))
    }
}

/// Waits until this master leads no more; then who does.
async fn lost(status: &mut watch::Receiver<ReplicaStatus>) -> Option<Member> {
    match status.wait_for(|status| !status.leading).await {
        Ok(status) => status.leader.clone(),
        Err(_) => None,
    }
}

/// Reads one shard's stream.
struct Reader {
    services: Services,
    link: LinkId,
    shard: ShardName,
    outbox: Outbox,
}

impl Reader {
    /// Until the stream ends or says something that it may not.
    async fn read(
        &self,
        connected: LinkEvent,
        first: Vec<ShardMessage>,
        mut frames: Streaming<ShardFrame>,
    ) -> Result<(), Status> {
        self.pass_on(connected).await?;
        let mut messages = first;
        loop {
            let checked: Vec<ShardMessage> =
                messages.into_iter().filter(|message| self.holds(message)).collect();
            if !checked.is_empty() {
                self.pass_on(LinkEvent::Messages { link: self.link, messages: checked }).await?;
            }
            match frames.message().await? {
                Some(frame) => messages = decode(frame)?,
                None => return Ok(()),
            }
        }
    }

    async fn pass_on(&self, event: LinkEvent) -> Result<(), Status> {
        let gone = |_| refuse::plain(ErrorCode::Unavailable, "this master is shutting down");
        self.services.links.send(event).await.map_err(gone)
    }

    /// Whether a node's Hello is signed by the node itself, for this shard. Anything else is not a claim.
    fn holds(&self, message: &ShardMessage) -> bool {
        let ShardMessage::NodeHello(hello) = message else { return true };
        let outcome = self.check(hello);
        if let Err(why) = &outcome {
            tracing::warn!(node = %hello.node, shard = %self.shard, why, "a session is refused");
            let order = AgentOrder::Refused { message: why.clone(), retry_after_ms: UNSIGNED_RETRY_MS };
            let refused = MasterMessage::ToNode { node: hello.node.clone(), session: hello.session, order };
            // A full outbox ends the link anyway; the agent then hears of it by losing its session.
            let _ = self.outbox.send(vec![refused]);
        }
        outcome.is_ok()
    }

    fn check(&self, hello: &Hello) -> Result<(), String> {
        let signed = Hello::signed_bytes(&self.services.config.cell, hello, &self.shard);
        let credentials = &self.services.credentials;
        let identity = credentials
            .verify_signed(&hello.certificate_der, &signed, &hello.signature, unix_seconds())
            .map_err(|error| error.to_string())?;
        if !admitted(&identity, &self.services.published.view()) {
            return Err(format!(
                "{} may not speak for nodes: agent_groups is 0 in this cell",
                identity.principal()
            ));
        }
        if identity.speaks_for_node(hello.node.as_str()) {
            Ok(())
        } else {
            Err(format!("{} may not speak for node {}", identity.principal(), hello.node))
        }
    }
}

/// Whether the cell takes sessions of such a peer: groups of agents only where its configuration allows them.
pub(super) fn admitted(peer: &PeerIdentity, view: &Cell) -> bool {
    peer.role != Role::AgentGroup || view.config().agent_groups_allowed()
}

fn decode(frame: ShardFrame) -> Result<Vec<ShardMessage>, Status> {
    Ok(Vec::<ShardMessage>::try_from(frame)?)
}

fn wrong(message: &str) -> Status {
    refuse::plain(ErrorCode::InvalidArgument, message)
}

/// The wall clock, for certificates.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
