//! Output of tasks on its way through a shard: questions of masters down to agents, pieces up, on streams beside the
//! links.
//!
//! ```text
//! master ══ dial ══►  ┌──────┐  ◄══ service ══ agent
//!   question ───────► │ desk │ ───────► question
//!   piece   ◄──────── │      │ ◄──────── piece
//! ```
//!
//! A master asks for one piece at a time and for the next when its reader has taken the last one, so back-pressure
//! reaches the agent by itself, and no queue here ever holds more than the tickets that [`broker`] lets be open.
//! The owner of the links has no part in this: a reader of output costs it nothing.

mod broker;
mod dial;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_api::LOG_PIECE_BYTES_MAX;
use paceline_api::v1::{ErrorCode, LogFailure, LogPiece, LogRequest};
use paceline_link::Claim;
use paceline_types::NodeName;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::connection::refusal;
use broker::{AgentStreamId, Broker, MasterStreamId, OPEN_MAX, OPEN_PER_NODE_MAX};
pub(crate) use dial::LogDiallers;

/// Streams of agents at once, somewhat above the agents that a shard serves: some leave theirs behind for a moment.
const AGENT_STREAMS_MAX: usize = 24_000;
/// The first piece names the node and comes with the call.
const NAME_WITHIN: Duration = Duration::from_secs(10);
/// Longest explanation on the wire.
const ERROR_BYTES_MAX: usize = 1_024;

/// What the response stream of an agent's log stream yields.
pub(crate) type Question = Result<LogRequest, Status>;

/// The ends of all log streams; clones share them.
#[derive(Clone)]
pub(crate) struct LogDesk(Arc<Desk>);

struct Desk {
    state: Mutex<State>,
    closed: CancellationToken,
    started: Instant,
}

#[derive(Default)]
struct State {
    broker: Broker,
    agents: BTreeMap<AgentStreamId, mpsc::Sender<Question>>,
    masters: BTreeMap<MasterStreamId, mpsc::Sender<LogPiece>>,
    numbers: u64,
}

impl LogDesk {
    pub(crate) fn new() -> Self {
        let (state, closed) = (Mutex::default(), CancellationToken::new());
        Self(Arc::new(Desk { state, closed, started: Instant::now() }))
    }

    /// Ends all streams and takes no more: the shard leaves.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }

    /// One agent's stream, from its first piece to its end.
    pub(crate) async fn serve_agent(
        self,
        claim: Claim,
        mut pieces: Streaming<LogPiece>,
        questions: mpsc::Sender<Question>,
    ) {
        let outcome = tokio::select! {
            biased;
            () = self.0.closed.cancelled() => Err(leaving()),
            outcome = self.read_agent(&claim, &mut pieces, &questions) => outcome,
            () = questions.closed() => Ok(()),
        };
        if let Err(status) = outcome {
            tracing::info!(status = status.message(), "an agent's stream for output is closed");
            // A full outbox means that the agent does not read: the end of the stream says it too.
            let _ = questions.try_send(Err(status));
        }
    }

    async fn read_agent(
        &self,
        claim: &Claim,
        pieces: &mut Streaming<LogPiece>,
        questions: &mpsc::Sender<Question>,
    ) -> Result<(), Status> {
        let invalid = |message: &str| refusal(ErrorCode::InvalidArgument, message);
        let first = timeout(NAME_WITHIN, pieces.message()).await;
        let first = first.map_err(|_| invalid("no piece that names the node came in time"))??;
        let first = first.ok_or_else(|| invalid("the stream begins with a piece that names the node"))?;
        let node: NodeName = first
            .node
            .parse()
            .map_err(|fault| refusal(ErrorCode::InvalidArgument, format!("node: {fault}")))?;
        if !claim.covers(&node) {
            let message = format!("the certificate does not speak for node {node}");
            return Err(refusal(ErrorCode::PermissionDenied, message));
        }
        let stream = self.agent_opened(node, questions.clone())?;
        while let Some(piece) = pieces.message().await? {
            stream.answered(piece);
        }
        Ok(())
    }

    fn agent_opened(&self, node: NodeName, questions: mpsc::Sender<Question>) -> Result<AgentStream, Status> {
        let mut state = self.state();
        if state.agents.len() >= AGENT_STREAMS_MAX {
            let message =
                format!("the shard holds {AGENT_STREAMS_MAX} streams for output, which is its limit");
            return Err(refusal(ErrorCode::Overloaded, message));
        }
        state.numbers += 1;
        let id = AgentStreamId(state.numbers);
        if !state.broker.agent_opened(id, &node) {
            let message = format!("node {node} has too many streams for output already");
            return Err(refusal(ErrorCode::Overloaded, message));
        }
        state.agents.insert(id, questions);
        Ok(AgentStream { desk: self.clone(), id, node })
    }

    /// A stream to a master is open; pieces for it come out of the receiver.
    pub(crate) fn master_opened(&self) -> (MasterStream, mpsc::Receiver<LogPiece>) {
        let (outbox, pieces) = mpsc::channel(OPEN_MAX + 1);
        let mut state = self.state();
        state.numbers += 1;
        let id = MasterStreamId(state.numbers);
        // The first piece opens the stream.
        outbox.try_send(LogPiece::default()).expect("a new channel has room for its first piece");
        state.masters.insert(id, outbox);
        (MasterStream { desk: self.clone(), id }, pieces)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Room for the questions that may be open, those that were given up unread, and the reason of the end.
pub(crate) const AGENT_QUESTIONS_MAX: usize = 2 * OPEN_PER_NODE_MAX + 1;

/// An agent's stream; dropping it tells whoever waits for its answers.
struct AgentStream {
    desk: LogDesk,
    id: AgentStreamId,
    node: NodeName,
}

impl AgentStream {
    /// A piece that nobody waits for is dropped: its reader has gone, or it never was asked for.
    fn answered(&self, mut piece: LogPiece) {
        let now_ms = self.desk.now_ms();
        let mut state = self.desk.state();
        let Some(master) = state.broker.answered(self.id, piece.ticket, now_ms) else { return };
        self.node.as_str().clone_into(&mut piece.node);
        if piece.data.len() > LOG_PIECE_BYTES_MAX {
            let error = format!("the agent answered with {} bytes at once", piece.data.len());
            piece = failed(piece.ticket, piece.node, LogFailure::Unspecified, error);
        }
        state.to_master(master, piece);
    }
}

impl Drop for AgentStream {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.agents.remove(&self.id);
        for (master, ticket) in state.broker.agent_closed(self.id, &self.node) {
            let error = format!("the stream of node {} ended before it answered", self.node);
            let piece = failed(ticket, self.node.to_string(), LogFailure::StreamEnded, error);
            state.to_master(master, piece);
        }
    }
}

/// A stream to a master; dropping it drops the tickets that came by it.
pub(crate) struct MasterStream {
    desk: LogDesk,
    id: MasterStreamId,
}

impl MasterStream {
    /// Passes a question on, or answers it with the reason why not.
    pub(crate) fn asked(&self, question: LogRequest) {
        let now_ms = self.desk.now_ms();
        let (ticket, name) = (question.ticket, question.node.clone());
        let mut state = self.desk.state();
        let not_asked = match name.parse::<NodeName>() {
            Err(fault) => Some((LogFailure::Unspecified, format!("node: {fault}"))),
            Ok(node) => state.pass_on(self.id, &node, question, now_ms),
        };
        if let Some((failure, error)) = not_asked {
            state.to_master(self.id, failed(ticket, name, failure, error));
        }
    }
}

impl Drop for MasterStream {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.masters.remove(&self.id);
        state.broker.master_closed(self.id);
    }
}

impl State {
    /// The reason why not, if not.
    fn pass_on(
        &mut self,
        master: MasterStreamId,
        node: &NodeName,
        question: LogRequest,
        now_ms: u64,
    ) -> Option<(LogFailure, String)> {
        let ticket = question.ticket;
        let agent = match self.broker.asked(master, ticket, node, now_ms) {
            Ok(agent) => agent,
            Err(not_asked) => return Some((not_asked.failure(), not_asked.to_string())),
        };
        let sent = match self.agents.get(&agent) {
            Some(questions) => questions.try_send(Ok(question)),
            None => Err(TrySendError::Closed(Ok(question))),
        };
        let failure = match sent {
            Ok(()) => return None,
            Err(TrySendError::Full(_)) => (LogFailure::Busy, format!("node {node} does not take questions")),
            Err(TrySendError::Closed(_)) => {
                (LogFailure::StreamEnded, format!("the stream of node {node} has ended"))
            }
        };
        self.broker.withdrawn(ticket);
        Some(failure)
    }

    fn to_master(&self, master: MasterStreamId, piece: LogPiece) {
        if let Some(outbox) = self.masters.get(&master) {
            // Full means that the master has taken nothing for longer than it waits for a piece.
            let _ = outbox.try_send(piece);
        }
    }
}

fn leaving() -> Status {
    refusal(ErrorCode::Unavailable, "the shard is leaving")
}

fn failed(ticket: u64, node: String, failure: LogFailure, mut error: String) -> LogPiece {
    let cut = (0..=ERROR_BYTES_MAX.min(error.len())).rev().find(|&at| error.is_char_boundary(at));
    error.truncate(cut.unwrap_or_default());
    LogPiece { ticket, node, error, failure: failure.into(), ..LogPiece::default() }
}
