//! openraft's way to its peers: one network object per target, every call with a deadline.
//!
//! A target that is down is reported as unreachable, so that openraft waits before it tries again; an answer that does not
//! come is a timeout, so that a lost response never wedges replication.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::errors::{
    ErrorSource, NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, network};
use paceline_types::plant::{Plant, is_planted};

use super::check::address;
use super::client::{Answers, PeerClient, PeerError, PeerTransport};
use super::{Me, transfer};
use crate::history::HistorySource;
use crate::member::Member;
use crate::raft::{Snapshot, TypeConfig, Vote};
use crate::snapshot::SnapshotFile;
use crate::wire::{self, proto};

/// Waits after a peer could not be reached: short enough that a restarted master is found within an election timeout,
/// long enough not to spin on a dead one.
const BACKOFF_MS: [u64; 5] = [20, 50, 100, 200, 400];

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

/// Makes networks for openraft.
pub struct NetworkFactory {
    me: Me,
    transport: Arc<dyn PeerTransport>,
    stall: Duration,
    history: HistorySource,
}

impl NetworkFactory {
    /// `stall` is how long an append may stay unanswered on a stream before the stream is given up; `history` is what
    /// goes with snapshots.
    pub fn new(me: Me, transport: Arc<dyn PeerTransport>, stall: Duration, history: HistorySource) -> Self {
        Self { me, transport, stall, history }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, member: &Member) -> Network {
        let member = Member { raft_id: target, ..member.clone() };
        let client = self.transport.client(&member);
        Network { me: self.me.clone(), member, client, stall: self.stall, history: self.history.clone() }
    }
}

/// The way to one peer.
pub struct Network {
    me: Me,
    member: Member,
    client: Arc<dyn PeerClient>,
    stall: Duration,
    history: HistorySource,
}

impl Network {
    fn address(&self) -> Option<proto::Addressing> {
        Some(address(&self.me, &self.member))
    }

    fn error(&self, error: PeerError, action: RPCTypes, deadline: Duration) -> RPCError<TypeConfig> {
        rpc_error(error, action, self.me.raft_id, self.member.raft_id, deadline)
    }

    fn vote_request(&self, rpc: &VoteRequest<TypeConfig>, pre_vote: bool) -> proto::VoteRequest {
        proto::VoteRequest {
            addressing: self.address(),
            vote: Some(wire::vote(&rpc.vote)),
            last_log_id: rpc.last_log_id.as_ref().map(wire::log_id),
            leadership_transfer: rpc.leadership_transfer,
            pre_vote,
        }
    }
}

fn append_request(
    rpc: &AppendEntriesRequest<TypeConfig>,
    addressing: Option<proto::Addressing>,
) -> proto::AppendRequest {
    proto::AppendRequest {
        addressing,
        vote: Some(wire::vote(&rpc.vote)),
        prev_log_id: rpc.prev_log_id.as_ref().map(wire::log_id),
        entries: rpc.entries.iter().map(wire::entry).collect(),
        leader_commit: rpc.leader_commit.as_ref().map(wire::log_id),
    }
}

/// A stream of one request and one answer.
async fn append_once(
    client: &dyn PeerClient,
    request: proto::AppendRequest,
    deadline: Duration,
) -> Result<proto::AppendResponse, PeerError> {
    let requests = futures::stream::once(std::future::ready(request)).boxed();
    let mut answers = client.append(requests, deadline).await?;
    let ended =
        || PeerError::Unreachable { peer: "the peer".into(), cause: "it ended without an answer".into() };
    answers.next().await.unwrap_or_else(|| Err(ended()))
}

fn rpc_error(
    error: PeerError,
    action: RPCTypes,
    id: u64,
    target: u64,
    timeout: Duration,
) -> RPCError<TypeConfig> {
    match error {
        PeerError::Timeout { .. } => RPCError::Timeout(Timeout { action, id, target, timeout }),
        // A refusal does not pass by asking again at once, so it backs off like an absent peer.
        PeerError::Unreachable { .. } | PeerError::Refused { .. } => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(error))
}

fn append_outcome(response: proto::AppendResponse) -> RpcResult<StreamAppendResult<TypeConfig>> {
    use proto::append_response::Outcome;

    Ok(match response.outcome {
        Some(Outcome::Matching(matching)) => Ok(matching.log_id.map(wire::log_id_from)),
        Some(Outcome::Conflict(id)) => Err(StreamAppendError::Conflict(wire::log_id_from(id))),
        Some(Outcome::HigherVote(vote)) => {
            Err(StreamAppendError::HigherVote(wire::vote_from(Some(vote)).map_err(malformed)?))
        }
        None => return Err(malformed("the answer to an append has no outcome")),
    })
}

fn vote_outcome(response: proto::VoteResponse) -> RpcResult<VoteResponse<TypeConfig>> {
    let vote = wire::vote_from(response.vote).map_err(malformed)?;
    Ok(VoteResponse::new(vote, response.last_log_id.map(wire::log_id_from), response.vote_granted))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Arc<SnapshotFile>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let deadline = option.soft_ttl();
        let last = rpc.entries.last().map(openraft::entry::RaftEntry::log_id).or(rpc.prev_log_id);
        let request = append_request(&rpc, self.address());
        let answer =
            tokio::time::timeout(deadline, append_once(self.client.as_ref(), request, deadline)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(PeerError::Timeout { peer: self.member.name.clone(), deadline_ms: deadline.as_millis() })
        });
        let answer = answer.map_err(|e| self.error(e, RPCTypes::AppendEntries, deadline))?;
        Ok(match append_outcome(answer)? {
            Ok(matching) if matching == last => AppendEntriesResponse::Success,
            Ok(matching) => AppendEntriesResponse::PartialSuccess(matching),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        // The heartbeat interval that openraft passes is shorter than a sync; a stream is watched for stalls instead.
        let stall = self.stall;
        let (id, target) = (self.me.raft_id, self.member.raft_id);
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let mut addressing = self.address();
        let requests = input.map(move |rpc| {
            // ORDERING: Relaxed, only a count of requests for `watch_stalls`; it guards no memory.
            counter.fetch_add(1, Ordering::Relaxed);
            append_request(&rpc, addressing.take())
        });
        let client = self.client.clone();
        Box::pin(async move {
            let answers = client.append(begun(requests.boxed()).await, stall).await;
            let error = move |e| rpc_error(e, RPCTypes::AppendEntries, id, target, stall);
            let answers = watch_stalls(answers.map_err(error)?, sent, stall);
            let results = answers.map(move |answer| answer.map_err(error).and_then(append_outcome));
            Ok(results.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let deadline = option.soft_ttl();
        let answer = self.client.vote(self.vote_request(&rpc, false), deadline).await;
        vote_outcome(answer.map_err(|e| self.error(e, RPCTypes::Vote, deadline))?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        if is_planted(Plant::PreVoteGranted) {
            return Ok(VoteResponse::new(rpc.vote, rpc.last_log_id, true));
        }
        let deadline = option.soft_ttl();
        let answer = self.client.vote(self.vote_request(&rpc, true), deadline).await;
        vote_outcome(answer.map_err(|e| self.error(e, RPCTypes::Vote, deadline))?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let deadline = option.soft_ttl();
        let client = self.client.as_ref();
        let file = &snapshot.snapshot;
        let sending = transfer::send(client, &self.me, &self.member, vote, file, &self.history, deadline);
        let sent = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            sent = sending => sent,
        };
        let vote = sent.map_err(|e| match e {
            transfer::SendError::Peer(e) => self.error(e, RPCTypes::InstallSnapshot, deadline).into(),
            transfer::SendError::Read(e) => {
                StreamingError::StorageError(openraft::StorageError::read_snapshot(
                    Some(snapshot.meta.signature()),
                    openraft::impls::BoxedErrorSource::from_error(&e),
                ))
            }
            transfer::SendError::Malformed(e) => malformed(e).into(),
        })?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        use proto::transfer_leader_response::Refusal;

        let deadline = option.soft_ttl();
        let request = proto::TransferLeaderRequest {
            addressing: self.address(),
            from_leader: Some(wire::vote(req.from_leader())),
            to_raft_id: *req.to_node_id(),
            last_log_id: req.last_log_id().map(wire::log_id),
        };
        let answer = self.client.transfer_leader(request, deadline).await;
        let answer = answer.map_err(|e| self.error(e, RPCTypes::TransferLeader, deadline))?;
        Ok(match answer.refusal {
            None => Ok(()),
            Some(Refusal::VoteChanged(changed)) => Err(TransferLeaderError::VoteChanged {
                expected: wire::vote_from(changed.expected).map_err(malformed)?,
                actual: wire::vote_from(changed.actual).map_err(malformed)?,
            }),
            Some(Refusal::LogNotFlushed(behind)) => Err(TransferLeaderError::LogNotFlushed {
                expected: behind.expected.map(wire::log_id_from),
                actual: behind.actual.map(wire::log_id_from),
            }),
        })
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = *BACKOFF_MS.last().expect("the table is not empty");
        let waits = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(network::Backoff::new(waits.map(Duration::from_millis)))
    }
}

/// The same stream once its first item is there. openraft waits between tries inside the stream that it gives us,
/// and a dead peer refuses the connection before anything is read from that: whoever dials first never waits.
///
/// Its stream panics when it is asked again after its end, and that would end the connection for every other call too.
async fn begun<T: Send + 'static>(stream: BoxStream<'static, T>) -> BoxStream<'static, T> {
    let mut stream = stream.fuse();
    let first = stream.next().await;
    futures::stream::iter(first).chain(stream).boxed()
}

/// Ends the stream with a timeout if a request stays unanswered for `stall`. An idle stream is not a stalled one.
fn watch_stalls(answers: Answers, sent: Arc<AtomicU64>, stall: Duration) -> Answers {
    let state = Some((answers, 0_u64));
    futures::stream::unfold(state, move |state| {
        let sent = sent.clone();
        async move {
            let (mut answers, answered) = state?;
            loop {
                if let Ok(answer) = tokio::time::timeout(stall, answers.next()).await {
                    let answer = answer?;
                    let next = answer.is_ok().then_some((answers, answered + 1));
                    return Some((answer, next));
                }
                // ORDERING: Relaxed, see the increment in `stream_append`.
                if sent.load(Ordering::Relaxed) > answered {
                    let error =
                        PeerError::Timeout { peer: "the peer".into(), deadline_ms: stall.as_millis() };
                    return Some((Err(error), None));
                }
            }
        }
    })
    .boxed()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use futures::FutureExt;
    use futures::stream::pending;

    use super::super::LocalTransport;
    use super::*;

    #[tokio::test]
    async fn a_stream_that_has_ended_is_not_polled_again() {
        let ended = || futures::stream::unfold((), |()| std::future::ready(None::<(u8, ())>)).boxed();
        assert_eq!(begun(ended()).await.collect::<Vec<_>>().await, []);
        let one = futures::stream::unfold(1, |left: u8| {
            std::future::ready(left.checked_sub(1).map(|left| (left, left)))
        });
        assert_eq!(begun(one.boxed()).await.collect::<Vec<_>>().await, [0]);
    }

    /// openraft's wait is a stream that has nothing yet. Whoever dials a dead peer meanwhile is told at once, and
    /// comes again at once: thousands of times a second.
    #[tokio::test]
    async fn a_dead_peer_is_not_dialled_while_openraft_waits() {
        let me = Me { cell: "c".into(), name: "m1".into(), raft_id: 1, disk_id: [1; 16], ..Me::default() };
        let transport = Arc::new(LocalTransport::new().from("m1"));
        let stall = Duration::from_secs(1);
        let member = Member { name: "m2".into(), raft_id: 2, ..Member::default() };
        let history = HistorySource::new(Arc::new(crate::MemoryHistory::new()), crate::Execution::Tasks);
        let mut network = NetworkFactory::new(me, transport, stall, history).new_client(2, &member).await;
        let option = || RPCOption::new(stall);
        assert!(network.stream_append(pending(), option()).now_or_never().is_none());
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        let input = futures::stream::iter([request]);
        let outcome = network.stream_append(input, option()).await;
        assert!(matches!(outcome.map(|_| ()), Err(RPCError::Unreachable(_))));
    }
}
