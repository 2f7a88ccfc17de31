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
/// One part in so many of the budget is the leader's own: its reports, assignments and ticks are small and few, but
/// without them nothing that callers ask for comes about.
const OWN_PART: usize = 4;
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

/// Whose proposal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// A caller's.
    Common,
    /// The leader's own: it has a share that no caller can fill.
    Own,
}

/// The budget for proposals in flight, in two shares.
pub struct Admission {
    common: Budget,
    own: Budget,
}

/// A number of proposals and their sum.
struct Budget {
    count: Arc<Semaphore>,
    kilobytes: Arc<Semaphore>,
}

/// Room taken, given back when dropped.
type Taken = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Budget {
    fn new(count: usize, bytes: usize) -> Self {
        let kilobytes = bytes.max(ENTRY_LIMIT_BYTES) / 1024;
        Self { count: Arc::new(Semaphore::new(count)), kilobytes: Arc::new(Semaphore::new(kilobytes)) }
    }

    fn admit(&self, kilobytes: u32) -> Option<Taken> {
        let count = self.count.clone().try_acquire_owned().ok()?;
        let room = self.kilobytes.clone().try_acquire_many_owned(kilobytes).ok()?;
        Some((count, room))
    }
}

impl Admission {
    /// Either share takes at least one entry of the largest size.
    pub fn new(in_flight_bytes: usize) -> Self {
        let (own_count, own_bytes) = (IN_FLIGHT / OWN_PART, in_flight_bytes / OWN_PART);
        Self {
            common: Budget::new(IN_FLIGHT - own_count, in_flight_bytes - own_bytes),
            own: Budget::new(own_count, own_bytes),
        }
    }

    fn admit(&self, share: Share, bytes: usize) -> Option<Taken> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        match share {
            Share::Common => self.common.admit(kilobytes),
            Share::Own => self.own.admit(kilobytes).or_else(|| self.common.admit(kilobytes)),
        }
    }
}

pub(super) async fn propose(inner: &Inner, share: Share, payload: Bytes) -> Result<Proposed, ProposeError> {
    let bytes = payload.len();
    if bytes > ENTRY_LIMIT_BYTES {
        return Err(ProposeError::TooLarge { bytes, limit: ENTRY_LIMIT_BYTES });
    }
    let overloaded = ProposeError::Overloaded { retry_after_ms: RETRY_AFTER_MS };
    let permits = inner.admission.admit(share, bytes).ok_or(overloaded)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_fill_the_share_of_the_leader() {
        let admission = Admission::new(64 * 1024 * 1024);
        let large = 2 * 1024 * 1024;
        let taken: Vec<_> = std::iter::from_fn(|| admission.admit(Share::Common, large)).collect();
        assert_eq!(taken.len(), 24, "three quarters");
        let own: Vec<_> = std::iter::from_fn(|| admission.admit(Share::Own, large)).collect();
        assert_eq!(own.len(), 8);
        drop(taken);
        assert!(admission.admit(Share::Own, large).is_some(), "beyond its share it takes what callers leave");
    }

    #[test]
    fn a_budget_takes_the_largest_entry_however_small_it_is() {
        let admission = Admission::new(1);
        let taken = admission.admit(Share::Common, ENTRY_LIMIT_BYTES);
        assert!(taken.is_some() && admission.admit(Share::Common, 1).is_none());
        assert!(admission.admit(Share::Own, ENTRY_LIMIT_BYTES).is_some());
    }
}
