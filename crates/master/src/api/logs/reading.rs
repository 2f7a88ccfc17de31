//! One reader's stream, from the first look for the attempt to the last byte or the reason why not.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use paceline_api::LOG_PIECE_BYTES_MAX;
use paceline_api::v1::{ErrorCode, LogPiece, LogsReply};
use paceline_link::message::LogRequest;
use paceline_types::{AttemptId, ShardName};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::place::{Found, Place, Wanted, find};
use super::readers::Seat;
use super::relay::{LogRelay, Unanswered};
use crate::leader::shard_list;
use crate::published::Published;
use crate::refuse;

/// Pieces that wait for a reader: one that is sent while the next is asked for.
pub(super) const PIECES_MAX: usize = 1;
/// A reader hears something at least this often, so that it can tell silence from a master that is gone.
const LIFE_EVERY: Duration = Duration::from_secs(4);
/// Pauses between two looks for new output: short while a task writes, longer while it does not.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Pause before a node that could not be asked is asked again.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a node may be away before a reader hears of it: an agent finds another shard within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a reader that follows: a person who waits would rather wait for the node than start again.
const PATIENCE_FOLLOWING: Duration = Duration::from_secs(60);

/// What a reader asked for.
pub(super) struct Wants {
    pub wanted: Wanted,
    /// Where it is, for a job that has retired.
    pub settled: Option<Place>,
    pub stderr: bool,
    pub offset: u64,
    /// Nothing where there is no bound.
    pub max_bytes: Option<u64>,
    pub follow: bool,
}

/// One reader's stream.
pub(super) struct Reading {
    relay: LogRelay,
    published: Arc<Published>,
    seat: Seat,
    wanted: Wanted,
    /// Of a retired job: the view says nothing of it any more.
    settled: Option<Place>,
    stderr: bool,
    /// The next byte that the reader has not had.
    offset: u64,
    /// Bytes that it still wants, where it wants a bounded number.
    left: Option<u64>,
    follow: bool,
    /// How long a node may be away.
    patience: Duration,
    /// Which shard answered last.
    shard: Option<ShardName>,
    /// When the reader was last told something.
    said: Instant,
    out: mpsc::Sender<Result<LogsReply, Status>>,
}

/// How a stream ends before the output does.
enum End {
    /// The reader has gone.
    Gone,
    /// With a reason.
    Refused(Box<Status>),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Reading {
    pub(super) fn new(
        relay: LogRelay,
        published: Arc<Published>,
        seat: Seat,
        wants: Wants,
        out: mpsc::Sender<Result<LogsReply, Status>>,
    ) -> Self {
        let Wants { wanted, settled, stderr, offset, max_bytes, follow } = wants;
        let patience = if follow { PATIENCE_FOLLOWING } else { PATIENCE };
        let (shard, said) = (None, Instant::now());
        Self {
            relay,
            published,
            seat,
            wanted,
            settled,
            stderr,
            offset,
            left: max_bytes,
            follow,
            patience,
            shard,
            said,
            out,
        }
    }

    /// Until the output ends, the reader goes, or patience does.
    pub(super) async fn run(mut self) {
        let (out, relay) = (self.out.clone(), self.relay.clone());
        let outcome = tokio::select! {
            outcome = self.read() => outcome,
            () = out.closed() => return,
            () = relay.closed() => Err(refuse::plain(ErrorCode::Unavailable, "this master is leaving").into()),
        };
        if let Err(End::Refused(status)) = outcome {
            // An error means that nobody listens any more.
            let _ = out.send(Err(*status)).await;
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        let mut place = self.begun().await?;
        // From here on it is this attempt, whatever becomes of the task.
        self.wanted.attempt = place.attempt;
        let mut troubled: Option<Instant> = None;
        let mut look = LOOK_FIRST;
        loop {
            let most = self.left.unwrap_or(u64::MAX).min(LOG_PIECE_BYTES_MAX as u64);
            let asked = Instant::now();
            match self.piece(&place, most).await? {
                Ok(piece) => {
                    troubled = None;
                    let (bytes, end) = (piece.data.len() as u64, piece.end);
                    self.pass_on(piece).await?;
                    let all = self.left == Some(0) || (!self.follow && bytes < most);
                    if end || all {
                        return Ok(());
                    }
                    if bytes == 0 {
                        self.pause(look).await?;
                        look = (look * 2).min(LOOK_LAST);
                    } else {
                        look = LOOK_FIRST;
                    }
                }
                Err(why) => {
                    let since = *troubled.get_or_insert(asked);
                    place = self.look_again(place, &why, since)?;
                    self.pause(AGAIN).await?;
                }
            }
        }
    }

    /// What is known of it now.
    fn found(&self) -> Result<Found, Status> {
        match &self.settled {
            Some(place) => Ok(Found::At(place.clone())),
            None => find(&self.published.view(), &self.published, self.wanted),
        }
    }

    /// Where the attempt is, as soon as it has begun.
    async fn begun(&mut self) -> Result<Place, End> {
        loop {
            match self.found()? {
                Found::At(place) => {
                    self.seat.at(&place.node)?;
                    return Ok(place);
                }
                Found::NotYet(why) if !self.follow => return Err(why.into()),
                Found::NotYet(_) => self.pause(AGAIN).await?,
            }
        }
    }

    /// What to do about a piece that did not come: the place to ask again, or the end of patience.
    fn look_again(&self, place: Place, why: &Unanswered, since: Instant) -> Result<Place, Status> {
        let what = self.named(&place);
        if let Unanswered::Unreadable(error) = why {
            let message = format!("{what} cannot be read: {error}");
            return Err(refuse::plain(ErrorCode::Conflict, message));
        }
        if !matches!(why, Unanswered::NoOutput(_)) {
            return if since.elapsed() < self.patience {
                Ok(place)
            } else {
                Err(away(&what, &place, why, since))
            };
        }
        // The node knows nothing of the attempt: what has become of it, the newest view says.
        let now = match self.found()? {
            Found::At(now) => now,
            Found::NotYet(why) => return Err(why),
        };
        if now.open && self.follow && (now.starting || since.elapsed() < self.patience) {
            return Ok(now);
        }
        Err(if now.open {
            let message = format!(
                "{what} is not there yet: node {} was told to run the attempt and has not begun it; wait for it with -f",
                now.node
            );
            refuse::plain(ErrorCode::Conflict, message)
        } else {
            let message = format!(
                "{what} is gone or there never was any: node {} keeps the output of attempts that have ended within \
                 bounds, the oldest goes first, and of an attempt that wrote nothing it keeps nothing",
                now.node
            );
            refuse::plain(ErrorCode::NotFound, message)
        })
    }

    fn named(&self, place: &Place) -> String {
        let stream = if self.stderr { "standard error" } else { "standard output" };
        let Wanted { job, task, .. } = self.wanted;
        format!("the {stream} of attempt {} of task {task} of job {job}", place.attempt)
    }

    /// One piece, from whichever shard has the node; the reader hears meanwhile that the stream lives.
    async fn piece(&mut self, place: &Place, most: u64) -> Result<Result<LogPiece, Unanswered>, End> {
        let relay = self.relay.clone();
        let attempt = AttemptId { job: self.wanted.job, task: self.wanted.task, attempt: place.attempt };
        let node = place.node.clone();
        let question = LogRequest {
            ticket: 0,
            node,
            attempt,
            stderr: self.stderr,
            offset: self.offset,
            max_bytes: most,
        };
        let shards = self.order(place);
        let mut asking = std::pin::pin!(ask_in_turn(&relay, shards, question));
        let (shard, outcome) = loop {
            tokio::select! {
                answer = &mut asking => break answer,
                () = tokio::time::sleep_until(self.said + LIFE_EVERY) => self.live().await?,
            }
        };
        self.shard = shard;
        Ok(outcome)
    }

    /// Shards to ask: the one that answered last, then as the node ranks them, then any other.
    fn order(&self, place: &Place) -> Vec<ShardName> {
        let connected = self.relay.shards();
        let list = shard_list(&self.published.view());
        let ranked = paceline_link::home::ranked(&place.node, &list).into_iter().map(|shard| &shard.name);
        let mut order: Vec<ShardName> = Vec::with_capacity(connected.len());
        for shard in self.shard.iter().chain(ranked).chain(&connected) {
            if connected.contains(shard) && !order.contains(shard) {
                order.push(shard.clone());
            }
        }
        order
    }

    async fn pass_on(&mut self, piece: LogPiece) -> Result<(), End> {
        let bytes = piece.data.len() as u64;
        if bytes == 0 && !piece.end {
            return Ok(());
        }
        self.offset = piece.offset + bytes;
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        let reply = LogsReply { offset: piece.offset, data: piece.data, end: piece.end, ..self.reply() };
        self.send(reply).await
    }

    fn reply(&self) -> LogsReply {
        LogsReply {
            revision: self.published.view().revision().0,
            attempt: self.wanted.attempt.0,
            offset: self.offset,
            uid: Some(self.wanted.job.into()),
            ..LogsReply::default()
        }
    }

    /// Waits; the reader hears meanwhile that the stream lives.
    async fn pause(&mut self, pause: Duration) -> Result<(), End> {
        sleep(pause).await;
        if self.said.elapsed() >= LIFE_EVERY { self.live().await } else { Ok(()) }
    }

    async fn live(&mut self) -> Result<(), End> {
        self.send(self.reply()).await
    }

    /// Waits until the reader has taken the piece before: back-pressure begins here.
    async fn send(&mut self, reply: LogsReply) -> Result<(), End> {
        let sent = self.out.send(Ok(reply)).await;
        self.said = Instant::now();
        sent.map_err(|_| End::Gone)
    }
}

/// Asks one shard after the other until one has the node.
async fn ask_in_turn(
    relay: &LogRelay,
    shards: Vec<ShardName>,
    question: LogRequest,
) -> (Option<ShardName>, Result<LogPiece, Unanswered>) {
    let mut last = Unanswered::StreamEnded;
    for shard in shards {
        match relay.ask(&shard, question.clone()).await {
            Err(elsewhere @ (Unanswered::NodeNotHere(_) | Unanswered::ShardAway(_))) => last = elsewhere,
            outcome => return (Some(shard), outcome),
        }
    }
    (None, Err(last))
}

/// The end of patience with a node.
fn away(what: &str, place: &Place, why: &Unanswered, since: Instant) -> Status {
    let (node, waited) = (&place.node, since.elapsed().as_secs());
    let cause = match why {
        Unanswered::NodeNotHere(_) | Unanswered::ShardAway(_) | Unanswered::StreamEnded => {
            format!("node {node} spoke through no shard that this master can ask for {waited} s")
        }
        Unanswered::Silent => format!("the agent of node {node} did not answer for {waited} s"),
        other => format!("{other} for {waited} s"),
    };
    let message = format!(
        "{what} cannot be read now: {cause}; it stays on the node within bounds: ask again when `paceline node list` \
         shows the node up"
    );
    refuse::plain(ErrorCode::Conflict, message)
}
