//! The streams of agents: checked frames in, orders out; and beside them the streams for output of tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use paceline_api::v1::agent_link_server::AgentLink;
use paceline_api::v1::{self, ErrorCode, LogPiece};
use paceline_identity::{PeerIdentity, Role};
use paceline_link::message::AgentMessage;
use paceline_link::{Claim, ConnectionId, agent_message_bytes};
use paceline_telemetry::Metrics;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::connection::{AGENT_OUTBOX_FRAMES, AgentFrame, AgentStream, refusal};
use crate::intake::Intake;
use crate::logs::{AGENT_QUESTIONS_MAX, LogDesk, Question};
use crate::owner::Event;

/// Largest frame of an agent; a full table goes in several reports.
pub(crate) const AGENT_FRAME_BYTES_MAX: usize = 1 << 20;

/// Serves agents; clones share the numbering.
#[derive(Clone)]
pub(crate) struct AgentService {
    events: mpsc::Sender<Event>,
    intake: Intake,
    metrics: Arc<Metrics>,
    logs: LogDesk,
    next: Arc<AtomicU64>,
}

impl AgentService {
    pub(crate) fn new(events: mpsc::Sender<Event>, logs: LogDesk, metrics: Arc<Metrics>) -> Self {
        Self { events, intake: Intake::of_agents(), metrics, logs, next: Arc::new(AtomicU64::new(1)) }
    }
}

type OrderStream = ReceiverStream<AgentFrame>;
type LogStream = ReceiverStream<Question>;

#[tonic::async_trait]
impl AgentLink for AgentService {
    type ConnectStream = OrderStream;
    type LogStreamStream = LogStream;

    async fn connect(
        &self,
        request: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<OrderStream>, Status> {
        let claim = claim_of(&request)?;
        // ORDERING: numbers only have to differ.
        let connection = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (outbox, inbox) = mpsc::channel(AGENT_OUTBOX_FRAMES);
        let ended = CancellationToken::new();
        let stream = AgentStream { outbox, _reader: ended.clone().drop_guard() };
        let (events, metrics) = (self.events.clone(), self.metrics.clone());
        let reader = Reader { events, metrics, intake: self.intake.of_agent(), connection };
        reader.pass_on(Event::AgentConnected { connection, claim, stream }).await?;
        let frames = request.into_inner();
        tokio::spawn(ended.run_until_cancelled_owned(reader.run(frames)));
        Ok(Response::new(ReceiverStream::new(inbox)))
    }

    async fn log_stream(&self, request: Request<Streaming<LogPiece>>) -> Result<Response<LogStream>, Status> {
        let claim = claim_of(&request)?;
        let (outbox, questions) = mpsc::channel(AGENT_QUESTIONS_MAX);
        tokio::spawn(self.logs.clone().serve_agent(claim, request.into_inner(), outbox));
        Ok(Response::new(ReceiverStream::new(questions)))
    }
}

/// What the certificate lets a caller speak for.
fn claim_of<T>(request: &Request<T>) -> Result<Claim, Status> {
    let peer = request.extensions().get::<PeerIdentity>();
    let peer = peer.ok_or_else(|| refusal(ErrorCode::PermissionDenied, "the caller has no identity"))?;
    match peer.role {
        Role::Agent => Ok(Claim::Node(peer.name.clone())),
        Role::AgentGroup => Ok(Claim::Prefix(peer.name.clone())),
        _ => {
            let message = format!("{} may not speak for a node", peer.principal());
            Err(refusal(ErrorCode::PermissionDenied, message))
        }
    }
}

/// Reads one agent. It waits where the owner is busy, so an agent that floods slows down nobody but itself.
struct Reader {
    events: mpsc::Sender<Event>,
    metrics: Arc<Metrics>,
    intake: Intake,
    connection: ConnectionId,
}

impl Reader {
    async fn run(self, mut frames: Streaming<v1::AgentFrame>) {
        let connection = self.connection;
        let why = loop {
            match frames.message().await {
                Ok(None) => break None,
                Err(status) => break Some(status.message().to_owned()),
                Ok(Some(frame)) => match Option::<AgentMessage>::try_from(frame) {
                    Err(fault) => break Some(fault.to_string()),
                    Ok(None) => self.metrics.skipped_messages("an agent", 1),
                    Ok(Some(message)) => {
                        let held = self.intake.hold(agent_message_bytes(&message)).await;
                        if self.pass_on(Event::AgentMessage { connection, message, held }).await.is_err() {
                            return;
                        }
                    }
                },
            }
        };
        // An error means that the shard ends, and every stream with it.
        let _ = self.pass_on(Event::AgentDisconnected { connection, why }).await;
    }

    async fn pass_on(&self, event: Event) -> Result<(), Status> {
        let gone = |_| refusal(ErrorCode::Unavailable, "the shard is shutting down");
        self.events.send(event).await.map_err(gone)
    }
}
