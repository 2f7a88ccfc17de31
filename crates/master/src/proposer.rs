//! From commands to replies: encode, propose, decode. The one way into the log.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use paceline_cell::{Command, Entry, Reply};
use paceline_replica::{ProposeError, Replica, ServerRole};
use paceline_telemetry::{Metrics, ProposalOutcome};
use paceline_types::Revision;

use crate::replies;
use crate::shares::Shares;

/// When a caller whose share is used up may ask again: about two group commits on a slow disk.
const SHARE_RETRY_MS: u64 = 50;

/// Why an entry has no replies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposalError {
    /// The commands do not fit an entry. Nothing was proposed.
    #[error(transparent)]
    TooLarge(#[from] paceline_cell::TooLarge),
    /// The replica did not say that the entry was applied.
    #[error(transparent)]
    Replica(#[from] ProposeError),
    /// Apply answered in bytes that this build cannot read: programmer error, or a damaged build.
    #[error("the replies of revision {revision} cannot be read: {message}")]
    Replies { revision: Revision, message: String },
}

/// An applied entry.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub revision: Revision,
    /// One per command.
    pub replies: Vec<Reply>,
}

/// Proposes entries to the replica.
#[derive(Clone)]
pub(crate) struct Proposer {
    replica: Arc<Replica>,
    metrics: Arc<Metrics>,
    shares: Shares,
}

impl Proposer {
    pub(crate) fn new(replica: Arc<Replica>, metrics: Arc<Metrics>) -> Self {
        Self { replica, metrics, shares: Shares::default() }
    }

    /// Whether this master still leads in a term.
    pub(crate) fn leads(&self, term: u64) -> bool {
        let status = self.replica.status();
        status.role == ServerRole::Leader && status.term == term
    }

    /// The leader's own: durable on a majority and applied here before it returns.
    pub(crate) async fn propose(&self, commands: Vec<Command>) -> Result<Proposed, ProposalError> {
        self.measured(self.send(None, commands)).await
    }

    /// A caller's, within that caller's share of what may be under way.
    pub(crate) async fn propose_for(
        &self,
        principal: &str,
        commands: Vec<Command>,
    ) -> Result<Proposed, ProposalError> {
        self.measured(self.send(Some(principal), commands)).await
    }

    async fn measured(
        &self,
        proposal: impl Future<Output = Result<Proposed, ProposalError>>,
    ) -> Result<Proposed, ProposalError> {
        let started = Instant::now();
        let outcome = proposal.await;
        self.metrics.raft.propose_seconds.observe(started.elapsed());
        self.metrics.raft.proposals.of(ended(&outcome)).inc();
        outcome
    }

    /// The metrics of this master.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts a proposal that was turned away before it was made.
    pub(crate) fn turned_away(&self) {
        self.metrics.raft.proposals.of(ProposalOutcome::Overloaded).inc();
    }

    async fn send(&self, principal: Option<&str>, commands: Vec<Command>) -> Result<Proposed, ProposalError> {
        let entry = Entry { unix_ms: unix_ms(), commands }.encode()?;
        let proposed = match principal {
            None => self.replica.propose_own(entry).await?,
            Some(principal) => {
                let overloaded = ProposeError::Overloaded { retry_after_ms: SHARE_RETRY_MS };
                let share = self.shares.take(principal, entry.len()).ok_or(overloaded)?;
                let replica = self.replica.clone();
                // In a task of its own: a caller that gives up must not free its share while the entry is on its way.
                let proposal = tokio::spawn(async move {
                    let _share = share;
                    replica.propose(entry).await
                });
                let unknown =
                    |error: tokio::task::JoinError| ProposeError::Unknown { cause: error.to_string() };
                proposal.await.map_err(unknown)??
            }
        };
        let revision = Revision(proposed.revision);
        let replies =
            replies::split(proposed.reply).map_err(|message| ProposalError::Replies { revision, message })?;
        Ok(Proposed { revision, replies })
    }
}

/// How a proposal counts: refused if the cell refused all of it.
fn ended(outcome: &Result<Proposed, ProposalError>) -> ProposalOutcome {
    match outcome {
        Ok(proposed) if proposed.replies.iter().all(|reply| matches!(reply, Reply::Refused(_))) => {
            ProposalOutcome::Refused
        }
        Ok(_) => ProposalOutcome::Ok,
        Err(ProposalError::TooLarge(_)) => ProposalOutcome::TooLarge,
        // It was applied; what apply said of it is lost.
        Err(ProposalError::Replies { .. }) => ProposalOutcome::Unknown,
        Err(ProposalError::Replica(error)) => match error {
            ProposeError::NotLeader { .. } => ProposalOutcome::NotLeader,
            ProposeError::TooLarge { .. } => ProposalOutcome::TooLarge,
            ProposeError::Overloaded { .. } => ProposalOutcome::Overloaded,
            ProposeError::Unknown { .. } => ProposalOutcome::Unknown,
            ProposeError::Shutdown => ProposalOutcome::Shutdown,
        },
    }
}

/// The wall clock, for display.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
