//! The streams of shards: checked frames in, batches out. What they mean is the hub's business; those for output of
//! tasks are the log relay's.

mod masters;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{Stream, StreamExt as _};
use paceline_api::Known;
use paceline_api::v1::master_link_server::MasterLink;
use paceline_api::v1::{ErrorCode, LogPiece, ShardFrame};
use paceline_cell::Cell;
use paceline_identity::{PeerIdentity, Role};
use paceline_link::message::{AgentOrder, Hello, MasterMessage, ShardMessage};
use paceline_link::{LinkId, shard_message_bytes};
use paceline_replica::{Member, ReplicaStatus};
use paceline_types::ShardName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::logs::{QUESTIONS_MAX, Question};
use super::{Caller, Services};
use crate::leader::{FrameStream, LinkEvent, LinkStream, Outbox};
use crate::refuse;

/// Kilobytes of one shard's frames that wait for the leader's loop: two of the largest, and many batches. Beyond it the
/// stream is read no further; with as many shards as a leader serves they cannot exhaust it.
const INTAKE_KILOBYTES: usize = 8 * 1024;
/// How long a stream may say nothing before its Hello, which a shard sends at once.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

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
        let First { name, address, unknown, messages } = first(&mut frames, HELLO_DEADLINE).await?;
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
        reader.skipped(unknown);
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
        let masters = masters::frames(self.0.replica.subscribe());
        Ok(Response::new(masters::beside(stream_of_frames, masters)))
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

/// What a stream begins with.
struct First {
    name: ShardName,
    address: String,
    /// What the shard said with its Hello.
    messages: Vec<ShardMessage>,
    unknown: usize,
}

/// Waits for the Hello.
async fn first(
    frames: &mut (impl Stream<Item = Result<ShardFrame, Status>> + Unpin),
    within: Duration,
) -> Result<First, Status> {
    let late = |_| wrong(format!("a stream begins with a ShardHello, within {within:?}"));
    let none = || wrong("a stream begins with a ShardHello");
    let frame = timeout(within, frames.next()).await.map_err(late)?.ok_or_else(none)??;
    let Known { mut messages, unknown } = decode(frame)?;
    if messages.is_empty() {
        return Err(none());
    }
    match messages.remove(0) {
        ShardMessage::Hello { name, address } => Ok(First { name, address, messages, unknown }),
        _ => Err(none()),
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
        let intake = Arc::new(Semaphore::new(INTAKE_KILOBYTES));
        let mut messages = first;
        loop {
            let checked: Vec<ShardMessage> =
                messages.into_iter().filter(|message| self.holds(message)).collect();
            if !checked.is_empty() {
                let held = hold(&intake, &checked).await;
                self.pass_on(LinkEvent::Messages { link: self.link, messages: checked, held }).await?;
            }
            match frames.message().await? {
                Some(frame) => {
                    let known = decode(frame)?;
                    self.skipped(known.unknown);
                    messages = known.messages;
                }
                None => return Ok(()),
            }
        }
    }

    /// Counts messages of kinds that only a newer shard has.
    fn skipped(&self, messages: usize) {
        self.services.proposer.metrics().skipped_messages(self.shard.as_str(), messages);
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

/// Waits until there is room for what a shard said; what is larger than all the room there is takes all of it.
async fn hold(intake: &Arc<Semaphore>, messages: &[ShardMessage]) -> OwnedSemaphorePermit {
    let bytes: usize = messages.iter().map(shard_message_bytes).sum();
    let kilobytes =
        u32::try_from(bytes.div_ceil(1024).min(INTAKE_KILOBYTES)).expect("at most a constant that fits");
    intake.clone().acquire_many_owned(kilobytes).await.expect("nobody closes it")
}

/// Whether the cell takes sessions of such a peer: groups of agents only where its configuration allows them.
pub(super) fn admitted(peer: &PeerIdentity, view: &Cell) -> bool {
    peer.role != Role::AgentGroup || view.config().agent_groups_allowed()
}

fn decode(frame: ShardFrame) -> Result<Known<ShardMessage>, Status> {
    Ok(Known::try_from(frame)?)
}

fn wrong(message: impl Into<String>) -> Status {
    refuse::plain(ErrorCode::InvalidArgument, message)
}

/// The wall clock, for certificates.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use paceline_link::message::Report;
    use paceline_link::message::{Observed, ReportRun};
    use paceline_types::{Attempt, JobUid, LinkSession, Revision};

    fn hello() -> ShardFrame {
        let name = "s1".parse().expect("a name");
        vec![ShardMessage::Hello { name, address: "h:1".to_owned() }, ShardMessage::Alive].into()
    }

    #[tokio::test]
    async fn a_stream_that_says_nothing_is_ended_at_the_deadline_of_its_hello() {
        let mut silent = futures::stream::pending::<Result<ShardFrame, Status>>();
        let refused = first(&mut silent, Duration::from_millis(5)).await.err().expect("too late");
        assert_eq!(refused.message(), "a stream begins with a ShardHello, within 5ms");
        let mut spoken = futures::stream::iter([Ok(hello())]);
        let first = first(&mut spoken, HELLO_DEADLINE).await.expect("a hello");
        assert_eq!((first.name.as_str(), first.address.as_str()), ("s1", "h:1"));
        assert_eq!((first.messages, first.unknown), (vec![ShardMessage::Alive], 0));
    }

    #[tokio::test]
    async fn a_stream_that_begins_with_something_else_or_ends_is_refused() {
        let alive = ShardFrame::from(vec![ShardMessage::Alive]);
        for frames in [vec![], vec![Ok(ShardFrame::default())], vec![Ok(alive), Ok(hello())]] {
            let refused =
                first(&mut futures::stream::iter(frames), HELLO_DEADLINE).await.err().expect("refused");
            assert_eq!(refused.message(), "a stream begins with a ShardHello");
        }
    }

    #[test]
    fn what_one_shard_has_waiting_is_bounded_by_bytes() {
        let run = ReportRun {
            job: JobUid { revision: Revision(1), ordinal: 0 },
            attempt: Attempt(1),
            tasks: "0-262143".parse().expect("indices"),
            observed: Observed::Running,
            pids: vec![1; 262_144],
        };
        let report = Report { sequence: 1, runs: vec![run], table_complete: false };
        let node = "n".parse().expect("a name");
        let said = [ShardMessage::NodeReport { node, session: LinkSession(1), report }];
        let intake = Arc::new(Semaphore::new(INTAKE_KILOBYTES));
        let held: Vec<_> = std::iter::from_fn(|| hold(&intake, &said).now_or_never()).collect();
        assert_eq!(held.len(), 6, "of one and a quarter mebibytes each");
        drop(held);
        let many: Vec<_> = std::iter::repeat_n(said[0].clone(), 100).collect();
        assert!(hold(&intake, &many).now_or_never().is_some(), "too large for the room takes all of it");
    }
}
