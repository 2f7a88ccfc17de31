//! Proposing: admitted within a budget, appended by the leader, answered after a majority is durable and it was applied.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Inner;
use super::errors::ProposeError;
use crate::config::ENTRY_LIMIT_BYTES;
use crate::raft::{Payload, TypeConfig};

/// Proposals in flight, whatever their size: beyond this a caller waits longer than a retry costs.
const IN_FLIGHT: usize = 16 * 1024;
/// About two group commits on a slow disk: by then there is room again or the cell is truly overloaded.
const RETRY_AFTER_MS: u64 = 50;
/// A proposal that has no outcome after this long has lost its majority; the caller asks again with its request id.
const OUTCOME_DEADLINE: Duration = Duration::from_secs(10);

/// A proposal that became true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Its index in the log.
    pub revision: u64,
    /// What the state machine answered.
    pub reply: Bytes,
}

/// The budget for proposals in flight.
pub struct Admission {
    count: Arc<Semaphore>,
    kilobytes: Arc<Semaphore>,
}

impl Admission {
    pub fn new(in_flight_bytes: usize) -> Self {
        let kilobytes = (in_flight_bytes / 1024).max(ENTRY_LIMIT_BYTES / 1024);
        Self { count: Arc::new(Semaphore::new(IN_FLIGHT)), kilobytes: Arc::new(Semaphore::new(kilobytes)) }
    }

    fn admit(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let count = self.count.clone().try_acquire_owned().ok()?;
        let room = self.kilobytes.clone().try_acquire_many_owned(kilobytes).ok()?;
        Some((count, room))
    }
}

pub async fn propose(inner: &Inner, payload: Bytes) -> Result<Proposed, ProposeError> {
    let bytes = payload.len();
    if bytes > ENTRY_LIMIT_BYTES {
        return Err(ProposeError::TooLarge { bytes, limit: ENTRY_LIMIT_BYTES });
    }
    let overloaded = ProposeError::Overloaded { retry_after_ms: RETRY_AFTER_MS };
    let permits = inner.admission.admit(bytes).ok_or(overloaded)?;
    // In a task of its own: a caller that gives up must not free the room while the entry is still on its way.
    let raft = inner.raft.clone();
    let outcome = tokio::spawn(async move {
        let _permits = permits;
        tokio::time::timeout(OUTCOME_DEADLINE, raft.client_write(Payload(payload))).await
    });
    match outcome.await {
        Ok(Ok(Ok(written))) => Ok(Proposed { revision: written.log_id.index(), reply: written.data.0 }),
        Ok(Ok(Err(error))) => Err(propose_error(error)),
        Ok(Err(_)) => Err(unknown(format!("no majority has answered within {OUTCOME_DEADLINE:?}"))),
        Err(error) => Err(unknown(error.to_string())),
    }
}

fn unknown(cause: String) -> ProposeError {
    ProposeError::Unknown { cause }
}

fn propose_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_node, .. })) => {
            ProposeError::NotLeader { leader: leader_node }
        }
        // Once handed to Raft, the entry may have reached others before this process lost its say.
        RaftError::APIError(other) => unknown(other.to_string()),
        RaftError::Fatal(openraft::errors::Fatal::Stopped) => ProposeError::Shutdown,
        RaftError::Fatal(fatal) => unknown(fatal.to_string()),
    }
}
