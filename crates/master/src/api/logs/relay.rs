//! Tickets and the streams of shards: one question out, one piece back, or why there is none.
//!
//! Every shard keeps a stream to every master, so a follower is as good as the leader here. A ticket is a random
//! number that is good for one piece, on the stream that it was asked on, until whoever asked gives up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_api::v1::{ErrorCode, LogFailure, LogPiece};
use paceline_link::message::LogRequest;
use paceline_types::ShardName;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::refuse;

/// How long a piece may take from the node's disk to here. Longer than a busy disk needs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Questions that wait for one shard: more than there are readers, so only a shard that does not read fills it.
pub(crate) const QUESTIONS_MAX: usize = 256;

/// What the response stream of a shard yields.
pub(crate) type Question = Result<paceline_api::v1::LogRequest, Status>;

/// Why there is no piece.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("shard {0} is not connected to this master")]
    ShardAway(ShardName),
    #[error("the node does not speak through shard {0}")]
    NodeNotHere(ShardName),
    #[error("{0}")]
    Busy(String),
    #[error("a stream ended before the node answered")]
    StreamEnded,
    #[error("the node did not answer for {} s", ANSWER_DEADLINE.as_secs())]
    Silent,
    #[error("{0}")]
    NoOutput(String),
    #[error("{0}")]
    Unreadable(String),
}

/// The streams of all shards at this master; clones share them.
#[derive(Clone)]
pub(crate) struct LogRelay(Arc<Relay>);

struct Relay {
    state: Mutex<State>,
    random: SystemRandom,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    shards: BTreeMap<ShardName, ShardStream>,
    open: BTreeMap<u64, Open>,
    numbers: u64,
}

/// The newest stream of a shard; an older one ends when it is replaced.
struct ShardStream {
    number: u64,
    questions: mpsc::Sender<Question>,
    /// Ends the reader of a stream that is replaced.
    replaced: CancellationToken,
}

/// A question under way.
struct Open {
    stream: u64,
    answer: oneshot::Sender<LogPiece>,
}

impl LogRelay {
    pub(crate) fn new() -> Self {
        let (state, closed) = (Mutex::default(), CancellationToken::new());
        Self(Arc::new(Relay { state, random: SystemRandom::new(), closed }))
    }

    /// Ends all streams and takes no more: the master leaves.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }

    /// Completes when the master leaves.
    pub(super) async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// One shard's stream, from its start to its end.
    pub(crate) async fn serve_shard(
        self,
        shard: ShardName,
        mut pieces: Streaming<LogPiece>,
        questions: mpsc::Sender<Question>,
    ) {
        let replaced = CancellationToken::new();
        let number = self.opened(shard.clone(), questions.clone(), replaced.clone());
        let read = async {
            while let Some(piece) = pieces.message().await? {
                self.answered(number, piece);
            }
            Ok(())
        };
        let unavailable = |message| Err(refuse::plain(ErrorCode::Unavailable, message));
        let outcome: Result<(), Status> = tokio::select! {
            biased;
            () = self.closed() => unavailable("this master is leaving"),
            () = replaced.cancelled() => unavailable("a newer stream of the shard took its place"),
            () = questions.closed() => Ok(()),
            outcome = read => outcome,
        };
        if let Err(status) = outcome {
            tracing::debug!(%shard, status = status.message(), "a shard's stream for output has ended");
            // A full outbox means that the shard does not read: the end of the stream says it too.
            let _ = questions.try_send(Err(status));
        }
        self.ended(&shard, number);
    }

    fn opened(
        &self,
        shard: ShardName,
        questions: mpsc::Sender<Question>,
        replaced: CancellationToken,
    ) -> u64 {
        let mut state = self.state();
        state.numbers += 1;
        let number = state.numbers;
        if let Some(older) = state.shards.insert(shard, ShardStream { number, questions, replaced }) {
            older.replaced.cancel();
        }
        number
    }

    /// Whoever waits for an answer of the stream hears at once that none comes.
    fn ended(&self, shard: &ShardName, number: u64) {
        let mut state = self.state();
        if state.shards.get(shard).is_some_and(|stream| stream.number == number) {
            state.shards.remove(shard);
        }
        state.open.retain(|_, open| open.stream != number);
    }

    /// A piece that nobody waits for is dropped.
    fn answered(&self, stream: u64, piece: LogPiece) {
        let mut state = self.state();
        if state.open.get(&piece.ticket).is_some_and(|open| open.stream == stream)
            && let Some(open) = state.open.remove(&piece.ticket)
        {
            // Whoever asked has gone; then nobody misses it.
            let _ = open.answer.send(piece);
        }
    }

    /// The shards that can be asked now.
    pub(super) fn shards(&self) -> Vec<ShardName> {
        self.state().shards.keys().cloned().collect()
    }

    /// Asks one shard. The question's ticket is minted here. Dropping the future gives the ticket back.
    pub(super) async fn ask(
        &self,
        shard: &ShardName,
        mut question: LogRequest,
    ) -> Result<LogPiece, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let asked = question.offset;
        let most = question.max_bytes;
        let ticket = {
            let ticket = self.ticket()?;
            let mut state = self.state();
            let stream = state.shards.get(shard).ok_or_else(|| Unanswered::ShardAway(shard.clone()))?;
            question.ticket = ticket;
            match stream.questions.try_send(Ok(question.into())) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return Err(Unanswered::Busy(format!("shard {shard} does not take questions")));
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(Unanswered::StreamEnded),
            }
            let stream = stream.number;
            state.open.insert(ticket, Open { stream, answer });
            ticket
        };
        let _ticket = Ticket { relay: self, ticket };
        let piece = match timeout(ANSWER_DEADLINE, answered).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(_)) => return Err(Unanswered::StreamEnded),
            Err(_) => return Err(Unanswered::Silent),
        };
        checked(shard, asked, most, piece)
    }

    /// A number that nobody can guess and that is not in use.
    fn ticket(&self) -> Result<u64, Unanswered> {
        let broken = |_| Unanswered::Unreadable("the system's source of randomness failed".to_owned());
        loop {
            let mut bytes = [0; 8];
            self.0.random.fill(&mut bytes).map_err(broken)?;
            let ticket = u64::from_le_bytes(bytes);
            if ticket != 0 && !self.state().open.contains_key(&ticket) {
                return Ok(ticket);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ticket under way; dropping it closes it.
struct Ticket<'a> {
    relay: &'a LogRelay,
    ticket: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.relay.state().open.remove(&self.ticket);
    }
}

/// What a node may say to a question; anything else is its fault, and is said to be.
fn checked(shard: &ShardName, asked: u64, most: u64, piece: LogPiece) -> Result<LogPiece, Unanswered> {
    if !piece.error.is_empty() || piece.failure != 0 {
        return Err(match piece.failure() {
            LogFailure::NodeNotHere => Unanswered::NodeNotHere(shard.clone()),
            LogFailure::Busy => Unanswered::Busy(piece.error),
            LogFailure::StreamEnded => Unanswered::StreamEnded,
            LogFailure::NoOutput => Unanswered::NoOutput(piece.error),
            LogFailure::Unspecified => Unanswered::Unreadable(piece.error),
        });
    }
    if piece.offset < asked || piece.data.len() as u64 > most {
        return Err(Unanswered::Unreadable(format!(
            "the node answered with {} bytes from byte {} where at most {most} from byte {asked} were asked for",
            piece.data.len(),
            piece.offset
        )));
    }
    Ok(piece)
}

#[cfg(test)]
impl LogRelay {
    /// A shard without a network.
    pub(super) fn open_for_tests(&self, shard: &ShardName, questions: mpsc::Sender<Question>) -> u64 {
        self.opened(shard.clone(), questions, CancellationToken::new())
    }

    pub(super) fn answer_for_tests(&self, stream: u64, piece: LogPiece) {
        self.answered(stream, piece);
    }

    pub(super) fn end_for_tests(&self, shard: &ShardName, stream: u64) {
        self.ended(shard, stream);
    }

    pub(super) fn open_tickets(&self) -> usize {
        self.state().open.len()
    }
}

#[cfg(test)]
mod tests;
