//! Linearizable reads by read-index: a round with a majority, shared by everyone who asks within two milliseconds.
//!
//! A round serves only those who asked before it began. While one is under way, the next begins [`ROUND_INTERVAL`] after
//! it or when it ends, so that a thousand readers cost the network what one does; a lone reader never waits.

use std::time::Duration;

use futures::channel::oneshot;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use paceline_types::plant::{Plant, is_planted};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::errors::ReadError;
use crate::raft::{Raft, TypeConfig};

/// Reads within this time share a round.
const ROUND_INTERVAL: Duration = Duration::from_millis(2);
/// Readers that wait for the next round; beyond it they wait to be queued, which is back-pressure on their streams.
const QUEUE: usize = 16 * 1024;
/// Without a majority there is no answer; readers are told so rather than kept.
const ROUND_DEADLINE: Duration = Duration::from_secs(5);

/// Someone who waits for a round.
pub type Waiter = oneshot::Sender<Result<u64, ReadError>>;

/// Asks for the next round.
pub async fn read_index(reads: &mpsc::Sender<Waiter>) -> Result<u64, ReadError> {
    let (answer, round) = oneshot::channel();
    reads.send(answer).await.map_err(|_| ReadError::Shutdown)?;
    round.await.unwrap_or(Err(ReadError::Shutdown))
}

/// Starts the task that runs the rounds.
pub fn start(raft: Raft) -> mpsc::Sender<Waiter> {
    let (reads, mut queue) = mpsc::channel::<Waiter>(QUEUE);
    tokio::spawn(async move {
        let mut next_round = Instant::now();
        let mut under_way = tokio::spawn(async {});
        while let Some(first) = queue.recv().await {
            if !under_way.is_finished() {
                // However it ends, a round that has ended holds nobody up.
                tokio::time::timeout_at(next_round, &mut under_way).await.ok();
            }
            next_round = Instant::now() + ROUND_INTERVAL;
            let mut waiters = vec![first];
            while let Ok(waiter) = queue.try_recv() {
                waiters.push(waiter);
            }
            // The next round need not wait for this one: a slow follower of one must not delay the other.
            under_way = tokio::spawn(serve(raft.clone(), waiters));
        }
    });
    reads
}

async fn serve(raft: Raft, waiters: Vec<Waiter>) {
    let result = round(&raft).await;
    for waiter in waiters {
        // Whoever no longer waits does not need it.
        waiter.send(result.clone()).ok();
    }
}

async fn round(raft: &Raft) -> Result<u64, ReadError> {
    if is_planted(Plant::ReadUnconfirmed) {
        return unconfirmed(raft);
    }
    let confirmed = async {
        let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(read_error)?;
        let state = linearizer.await_ready(raft).await.map_err(|_| ReadError::Shutdown)?;
        Ok(state.read_log_id().index())
    };
    let in_time = tokio::time::timeout(ROUND_DEADLINE, confirmed).await;
    in_time.unwrap_or_else(|_| {
        Err(ReadError::NoQuorum { cause: format!("no answer within {ROUND_DEADLINE:?}") })
    })
}

/// What a leader has applied, whether or not it still leads.
fn unconfirmed(raft: &Raft) -> Result<u64, ReadError> {
    let metrics = raft.metrics().borrow_watched().clone();
    if metrics.state != ServerState::Leader {
        return Err(ReadError::NotLeader { leader: None });
    }
    Ok(metrics.last_applied.map_or(0, |id| id.index()))
}

fn read_error(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { leader: forward.leader_node }
        }
        RaftError::APIError(other) => ReadError::NoQuorum { cause: other.to_string() },
        RaftError::Fatal(_) => ReadError::Shutdown,
    }
}
