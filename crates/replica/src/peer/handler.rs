//! The receiving side: checks who asks, hands the request to openraft, and answers.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};
use paceline_types::plant::{Plant, is_planted};
use parking_lot::Mutex;

use super::Me;
use super::check::{Caller, Refusal, check};
use crate::fatal::FatalHandler;
use crate::member::{DiskId, Member};
use crate::raft::{self, LogId, Raft, Snapshot, TypeConfig};
use crate::replica::{Dismissal, Hearing, removed_at};
use crate::snapshot::{Incoming, SnapshotError, SnapshotFolder, TransferError};
use crate::wire::{self, Malformed, proto};
use crate::worker::Execution;

/// Why a peer's request was not served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandleError {
    /// Not from or for the right master.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not a message of this protocol.
    #[error("the request is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A snapshot piece that cannot be taken.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A Raft id that this master cannot take.
    #[error("the Raft id cannot be taken: {0}")]
    Adopt(String),
    /// This replica is going away.
    #[error("this master is stopping: {0}")]
    Stopped(String),
}

/// Serves the peer protocol for one replica.
#[derive(Clone)]
pub struct PeerHandler {
    me: Me,
    raft: Raft,
    incoming: Arc<Mutex<Incoming>>,
    execution: Execution,
    fatal: FatalHandler,
    hearing: Hearing,
}

type Handled<T> = Result<T, HandleError>;

/// Answers to a stream of append requests; ends after the first that is not a match.
pub type HandledAppends = BoxStream<'static, Handled<proto::AppendResponse>>;

fn stopped(error: impl std::fmt::Display) -> HandleError {
    HandleError::Stopped(error.to_string())
}

impl PeerHandler {
    pub fn new(
        me: Me,
        raft: Raft,
        folder: Arc<SnapshotFolder>,
        execution: Execution,
        fatal: FatalHandler,
        hearing: Hearing,
    ) -> Self {
        Self { me, raft, incoming: Arc::new(Mutex::new(Incoming::new(folder))), execution, fatal, hearing }
    }

    fn check(&self, addressing: Option<&proto::Addressing>, caller: &Caller) -> Result<(), Refusal> {
        let checked = check(&self.me, addressing, caller, |raft_id| self.member(raft_id));
        if let (Err(Refusal::NotMe { .. }), Some(request)) = (&checked, addressing) {
            self.notice_other_disk(request);
        }
        checked
    }

    /// The others mean this Raft id on another disk. On an empty one this master has lost what it voted for, and must
    /// not vote again; one that knows its masters was sent what was for somebody else.
    fn notice_other_disk(&self, request: &proto::Addressing) {
        let is_empty = !self.has_begun();
        if let Ok(known) = <DiskId>::try_from(request.to_disk_id.as_ref())
            && request.to_raft_id == self.me.raft_id
            && is_empty
        {
            self.hearing.dismiss(Dismissal::OtherDisk { known });
        }
    }

    /// Whether this replica knows the masters of a cell.
    fn has_begun(&self) -> bool {
        self.raft.metrics().borrow_watched().membership_config.log_id().is_some()
    }

    /// A master that was removed asks for votes until it hears of it: they would cost the others an election.
    async fn refuse_removed(&self, addressing: Option<&proto::Addressing>) -> Result<(), Refusal> {
        let Some(request) = addressing else { return Err(Refusal::Unaddressed) };
        match removed_at(&self.raft, request.from_raft_id).await {
            None => Ok(()),
            Some(at) => {
                Err(Refusal::Removed { name: request.from_name.clone(), raft_id: request.from_raft_id, at })
            }
        }
    }

    fn member(&self, raft_id: u64) -> Option<Member> {
        // The borrow is held for a lookup only: the core waits for it.
        self.raft.metrics().borrow_watched().membership_config.get_node(&raft_id).cloned()
    }

    pub async fn handshake(&self, request: &proto::HandshakeRequest) -> Handled<proto::HandshakeResponse> {
        if request.cell != self.me.cell {
            let (me, cell) = (self.me.name.clone(), self.me.cell.clone());
            return Err(Refusal::OtherCell { me, cell, found: request.cell.clone() }.into());
        }
        Ok(proto::HandshakeResponse {
            cell: self.me.cell.clone(),
            raft_id: self.me.raft_id,
            name: self.me.name.clone(),
            disk_id: self.me.disk_id.to_vec().into(),
            has_begun: self.has_begun(),
            removed_at: match request.from_raft_id {
                0 => None,
                asking => removed_at(&self.raft, asking).await,
            },
            peer_address: self.me.peer_address.clone(),
            api_address: self.me.api_address.clone(),
        })
    }

    /// Serves a pipeline. The first request is addressed, the others belong to it.
    pub async fn append(
        &self,
        mut requests: BoxStream<'static, proto::AppendRequest>,
        caller: &Caller,
    ) -> Handled<HandledAppends> {
        let Some(first) = requests.next().await else { return Ok(futures::stream::empty().boxed()) };
        self.check(first.addressing.as_ref(), caller)?;
        let requests = futures::stream::once(async move { first }).chain(requests);
        // A malformed request ends the stream; the leader sees the end and begins again.
        let requests =
            requests.map(append_from).take_while(|request| futures::future::ready(request.is_ok()));
        let hearing = self.hearing.clone();
        let requests = requests.filter_map(move |request| {
            hearing.heard();
            futures::future::ready(request.ok())
        });
        let answers = self.raft.stream_append(requests.boxed());
        Ok(answers.map(|answer| answer.map(append_response).map_err(stopped)).boxed())
    }

    pub async fn vote(&self, request: proto::VoteRequest, caller: &Caller) -> Handled<proto::VoteResponse> {
        self.check(request.addressing.as_ref(), caller)?;
        self.refuse_removed(request.addressing.as_ref()).await?;
        let pre_vote = request.pre_vote;
        let mut request = vote_from(request)?;
        if is_planted(Plant::VoteForShorterLog) {
            request.last_log_id = Some(raft::log_id(u64::MAX, u64::MAX));
        }
        let response =
            if pre_vote { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        Ok(vote_response(&response.map_err(stopped)?))
    }

    pub async fn transfer_leader(
        &self,
        request: proto::TransferLeaderRequest,
        caller: &Caller,
    ) -> Handled<proto::TransferLeaderResponse> {
        use proto::transfer_leader_response::Refusal;

        self.check(request.addressing.as_ref(), caller)?;
        let from = wire::vote_from(request.from_leader)?;
        let last = request.last_log_id.map(wire::log_id_from);
        let request = TransferLeaderRequest::<TypeConfig>::new(from, request.to_raft_id, last);
        let refusal = match self.raft.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => None,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                let (expected, actual) = (Some(wire::vote(&expected)), Some(wire::vote(&actual)));
                Some(Refusal::VoteChanged(proto::VoteChanged { expected, actual }))
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                let id = |id: Option<LogId>| id.as_ref().map(wire::log_id);
                let (expected, actual) = (id(expected), id(actual));
                Some(Refusal::LogNotFlushed(proto::LogNotFlushed { expected, actual }))
            }
        };
        Ok(proto::TransferLeaderResponse { refusal })
    }

    pub async fn snapshot(
        &self,
        request: proto::SnapshotRequest,
        caller: &Caller,
    ) -> Handled<proto::SnapshotResponse> {
        use proto::snapshot_request::Step;

        self.check(request.addressing.as_ref(), caller)?;
        self.hearing.heard();
        let key = request.key.ok_or(Malformed { field: "key", problem: "missing" })?;
        match request.step.ok_or(Malformed { field: "step", problem: "missing" })? {
            Step::Offer(_) => {
                self.receive(move |incoming| Ok((incoming.offer(key)?, incoming.begin_history()?))).await
            }
            Step::History(rows) => self.receive(move |incoming| Ok((0, incoming.history(&key, rows)?))).await,
            Step::Chunk(chunk) => self.receive(move |incoming| Ok((incoming.chunk(&key, &chunk)?, 0))).await,
            Step::Install(install) => self.install(key, install).await,
        }
    }

    async fn receive(
        &self,
        step: impl FnOnce(&mut Incoming) -> Result<(u64, u64), TransferError> + Send + 'static,
    ) -> Handled<proto::SnapshotResponse> {
        let incoming = self.incoming.clone();
        let received = self.execution.blocking(move || step(&mut incoming.lock())).await;
        let received = received.ok_or_else(|| stopped("receiving a snapshot panicked"))?;
        let (received_bytes, history_watermark) = self.checked(received)?;
        Ok(proto::SnapshotResponse { received_bytes, vote: None, history_watermark })
    }

    /// What the disk holds after a failed write or sync is not known, and it is believed later: the process ends.
    fn checked<T>(&self, step: Result<T, TransferError>) -> Result<T, TransferError> {
        let failed = match &step {
            Err(TransferError::Disk(error) | TransferError::Invalid(SnapshotError::Disk(error))) => {
                Some(error)
            }
            _ => None,
        };
        if let Some(error) = failed {
            self.fatal.call(&format!("a snapshot cannot be received: {error}"));
        }
        step
    }

    async fn install(
        &self,
        key: proto::SnapshotKey,
        install: proto::SnapshotInstall,
    ) -> Handled<proto::SnapshotResponse> {
        let vote = wire::vote_from(install.vote)?;
        let received_bytes = key.length_bytes;
        let incoming = self.incoming.clone();
        let finish = move || incoming.lock().finish(&key);
        let file = self.execution.blocking(finish).await;
        let file = self.checked(file.ok_or_else(|| stopped("checking a snapshot panicked"))?)?;
        let snapshot = Snapshot { meta: file.meta().clone(), snapshot: Arc::new(file) };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(proto::SnapshotResponse {
            received_bytes,
            vote: Some(wire::vote(&response.vote)),
            history_watermark: 0,
        })
    }
}

fn append_from(request: proto::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    Ok(AppendEntriesRequest {
        vote: wire::vote_from(request.vote)?,
        prev_log_id: request.prev_log_id.map(wire::log_id_from),
        entries: request.entries.into_iter().map(wire::entry_from).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.map(wire::log_id_from),
    })
}

fn append_response(result: Result<Option<LogId>, StreamAppendError<TypeConfig>>) -> proto::AppendResponse {
    use proto::append_response::Outcome;

    let outcome = match result {
        Ok(matching) => Outcome::Matching(proto::Matching { log_id: matching.as_ref().map(wire::log_id) }),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(wire::log_id(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(wire::vote(&vote)),
    };
    proto::AppendResponse { outcome: Some(outcome) }
}

fn vote_from(request: proto::VoteRequest) -> Result<VoteRequest<TypeConfig>, Malformed> {
    Ok(VoteRequest {
        vote: wire::vote_from(request.vote)?,
        last_log_id: request.last_log_id.map(wire::log_id_from),
        leadership_transfer: request.leadership_transfer,
    })
}

fn vote_response(response: &openraft::raft::VoteResponse<TypeConfig>) -> proto::VoteResponse {
    proto::VoteResponse {
        vote: Some(wire::vote(&response.vote)),
        vote_granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(wire::log_id),
    }
}
