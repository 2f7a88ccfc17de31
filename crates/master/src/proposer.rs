//! From commands to replies: encode, propose, decode. The one way into the log.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use paceline_cell::{Command, Entry, Reply};
use paceline_replica::{ProposeError, Replica, ServerRole};
use paceline_telemetry::{Metrics, ProposalOutcome};
use paceline_types::Revision;

use crate::replies;

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
}

impl Proposer {
    pub(crate) fn new(replica: Arc<Replica>, metrics: Arc<Metrics>) -> Self {
        Self { replica, metrics }
    }

    /// Whether this master still leads in a term.
    pub(crate) fn leads(&self, term: u64) -> bool {
        let status = self.replica.status();
        status.role == ServerRole::Leader && status.term == term
    }

    /// Durable on a majority and applied here before it returns.
    pub(crate) async fn propose(&self, commands: Vec<Command>) -> Result<Proposed, ProposalError> {
        let started = Instant::now();
        let outcome = self.send(commands).await;
        self.metrics.raft.propose_seconds.observe(started.elapsed());
        self.metrics.raft.proposals.of(ended(&outcome)).inc();
        outcome
    }

    /// Counts a proposal that was turned away before it was made.
    pub(crate) fn turned_away(&self) {
        self.metrics.raft.proposals.of(ProposalOutcome::Overloaded).inc();
    }

    async fn send(&self, commands: Vec<Command>) -> Result<Proposed, ProposalError> {
        let entry = Entry { unix_ms: unix_ms(), commands };
        let proposed = self.replica.propose(entry.encode()?).await?;
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
