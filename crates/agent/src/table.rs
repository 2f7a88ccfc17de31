//! The decisions of an agent, as a pure function of what it was told and what it saw.
//!
//! Events in, [`Decision`]s out; no clock, no I/O, no runtime. What must be stored before anything else is
//! done stands in [`Decision::changes`]; what to do then, in [`Decision::actions`]. Reports are pulled
//! with [`AgentTable::next_report`] when the link has room, so that what changes twice before it is sent is
//! sent once, and what is outstanding is bounded by the table.
//!
//! ```text
//!  Orders ───────► on_orders ──────┐                       ┌─► changes (folder)
//!  Welcome ──────► on_welcome      │                       │
//!  Acknowledge ──► on_acknowledge  ├─► attempts, fence ──► ├─► Launch Stop Renew Forget Resync
//!  Lease ────────► on_lease        │                       │
//!  runtime ──────► on_launched     │                       │
//!                  on_observed ────┘                       └─► next_report ─► Report
//! ```
//!
//! What it holds to:
//! * Orders below the highest token seen change nothing (A-8).
//! * Absence from a full set ends an attempt only if the set's revision is at or above its assignment's (A-8).
//! * An attempt starts at most once; a newer attempt of a task starts only after the older one ended.
//! * Nothing is restarted here. What ended is reported until that is acknowledged, then forgotten.

mod launches;
mod leases;
mod orders;
mod record;
mod recovery;
mod reports;
mod settled;
mod specs;
mod stored;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_rules::JobSpec;
use paceline_runtime::Lease;
use paceline_types::{AttemptId, FenceToken, NodeEpoch, Reason};

pub use record::{End, Seen};
pub use reports::REPORT_ATTEMPTS_MAX;
pub use settled::Settled;
pub use specs::DecodeSpec;
pub use stored::{Change, Stored, StoredAttempt};

use launches::Launches;
use leases::Leases;
use orders::FullSet;
use record::{Kill, Phase, Record};
use reports::Reports;
use specs::Specs;

/// The bounds of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Attempts at once, ended ones included until they are acknowledged. At the bound the session is
    /// dropped and comes again later, when some have ended.
    pub attempts: usize,
    /// Launches given to the runtime and not answered.
    pub launches_in_flight: usize,
    /// Specifications cached.
    pub specs: usize,
    /// Bytes of cached specifications, as encoded.
    pub spec_bytes: usize,
    /// The grace of an attempt whose specification is not known.
    pub grace_ms: u64,
}

impl Default for TableLimits {
    fn default() -> Self {
        Self {
            // Far above what a machine can run, and some 10 MiB.
            attempts: 65_536,
            // Each is a process being created: enough to keep many cores busy, few enough to stop quickly. A real
            // node has fewer, by its cores.
            launches_in_flight: 32,
            specs: 1_024,
            spec_bytes: 64 << 20,
            // That of a job file which does not say.
            grace_ms: 10_000,
        }
    }
}

/// Something to do, in order, after the changes of the same decision are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it, and say how that went with [`AgentTable::on_launched`].
    Launch {
        /// Which.
        attempt: AttemptId,
        /// Its job.
        spec: Arc<JobSpec>,
    },
    /// End it, and say how that went with [`AgentTable::on_stop_told`].
    Stop {
        /// Which.
        attempt: AttemptId,
        /// From SIGTERM to SIGKILL.
        grace_ms: u64,
    },
    /// It holds a lease from when the agent asked for it. What comes of it is seen by looking.
    Renew {
        /// Which.
        attempt: AttemptId,
        /// The lease.
        lease: Lease,
    },
    /// Its end was acknowledged: its record may go.
    Forget {
        /// Which.
        attempt: AttemptId,
    },
    /// Drop the session and begin another: what is here cannot be squared with what was ordered.
    Resync(ResyncCause),
}

/// Why a session is dropped by its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResyncCause {
    /// An order named a job whose specification did not come, or was dropped for lack of room.
    #[error("an order names job {0} without its specification")]
    SpecMissing(paceline_types::JobUid),
    /// More attempts than the table holds.
    #[error("more than {0} attempts were ordered at once")]
    TooManyAttempts(usize),
}

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// To be stored first.
    pub changes: Vec<Change>,
    /// To be done then.
    pub actions: Vec<Action>,
    /// The orders carried a token below this one and were dropped.
    pub stale_below: Option<FenceToken>,
}

impl Decision {
    /// What follows from the next event, before anything of this one is stored or done.
    pub fn append(&mut self, mut next: Self) {
        self.changes.append(&mut next.changes);
        self.actions.append(&mut next.actions);
        self.stale_below = self.stale_below.or(next.stale_below);
    }
}

/// How many attempts are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken on, without a process yet.
    pub starting: usize,
    /// Their processes run.
    pub running: usize,
    /// Must end and have not.
    pub stopping: usize,
    /// Ended and not acknowledged.
    pub ended: usize,
}

/// Everything that an agent knows of attempts.
#[derive(Debug)]
pub struct AgentTable {
    limits: TableLimits,
    fence: FenceToken,
    epoch: NodeEpoch,
    records: BTreeMap<AttemptId, Record>,
    settled: Settled,
    specs: Specs,
    launches: Launches,
    leases: Leases,
    reports: Reports,
    full_set: Option<FullSet>,
    /// A full set came in this session.
    seen_whole: bool,
}

impl AgentTable {
    /// A table without attempts.
    #[must_use]
    pub fn new(limits: TableLimits, decode: DecodeSpec) -> Self {
        Self {
            limits,
            fence: FenceToken::default(),
            epoch: NodeEpoch::default(),
            records: BTreeMap::new(),
            settled: Settled::default(),
            specs: Specs::new(decode, limits.specs, limits.spec_bytes),
            launches: Launches::default(),
            leases: Leases::default(),
            reports: Reports::default(),
            full_set: None,
            seen_whole: false,
        }
    }

    /// The highest token seen.
    #[must_use]
    pub const fn fence(&self) -> FenceToken {
        self.fence
    }

    /// The epoch that the cell last told; zero when it never did.
    #[must_use]
    pub const fn epoch(&self) -> NodeEpoch {
        self.epoch
    }

    /// A new session begins: nothing is sent before it is welcomed, sequences start from 1 again.
    pub fn on_session(&mut self) {
        self.full_set = None;
        self.seen_whole = false;
        self.leases.restart();
        self.reports.restart();
    }

    /// The leader accepted the session and gets the full table. A new leader that takes the session over gets
    /// it from the shard, so a second welcome asks for nothing unless the epoch is another.
    pub fn on_welcome(&mut self, epoch: NodeEpoch) -> Decision {
        let mut decision = Decision::default();
        if epoch != self.epoch {
            self.epoch = epoch;
            decision.changes.push(Change::Epoch(epoch));
        } else if self.reports.is_welcomed() {
            return decision;
        }
        let reportable = self.records.iter().filter(|(_, record)| record.is_reportable());
        self.reports.begin_full(reportable.map(|(&attempt, _)| attempt));
        decision
    }

    /// Attempts that the runtime has taken on and that have not ended, to be looked at when no news came.
    pub fn started(&self) -> impl Iterator<Item = AttemptId> + '_ {
        let started = |record: &Record| matches!(record.phase, Phase::Started { .. });
        self.records.iter().filter(move |(_, record)| started(record)).map(|(&attempt, _)| attempt)
    }

    /// How many attempts are in which state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in self.records.values() {
            let count = match record.phase {
                Phase::Ended(_) => &mut counts.ended,
                Phase::Started { .. } if record.kill.is_some() => &mut counts.stopping,
                Phase::Started { pid: Some(_) } => &mut counts.running,
                Phase::Waiting | Phase::Launching | Phase::Started { pid: None } => &mut counts.starting,
            };
            *count += 1;
        }
        counts
    }

    /// An attempt ended: report it, and let a newer attempt of its task have its turn.
    fn end(&mut self, attempt: AttemptId, end: End, decision: &mut Decision) {
        let Some(record) = self.records.get_mut(&attempt) else { return };
        if record.is_ended() {
            return;
        }
        record.phase = Phase::Ended(end);
        self.reports.note(attempt);
        self.enqueue_successor(attempt, decision);
    }

    /// An attempt ended in a way that only the table knows, so the end is stored.
    fn end_here(&mut self, attempt: AttemptId, reason: Reason, decision: &mut Decision) {
        let end = End::without_process(reason);
        decision.changes.push(Change::Ended { attempt, end });
        self.end(attempt, end, decision);
    }

    /// An attempt must end, whatever its phase.
    fn kill(&mut self, attempt: AttemptId, grace_ms: u64, decision: &mut Decision) {
        let Some(record) = self.records.get_mut(&attempt) else { return };
        match record.phase {
            Phase::Ended(_) => {}
            Phase::Waiting => self.end_here(attempt, Reason::NotOnNode, decision),
            Phase::Launching | Phase::Started { .. } => {
                if record.kill.is_some_and(|kill| kill.grace_ms <= grace_ms) {
                    return;
                }
                record.kill = Some(Kill { grace_ms, told: false });
                decision.changes.push(Change::Killed { attempt, grace_ms });
                self.tell_kill(attempt, decision);
            }
        }
    }

    /// Tells the runtime of a kill, unless it was told or has not taken the attempt on yet: a stop that
    /// overtook its launch would stop nothing.
    fn tell_kill(&mut self, attempt: AttemptId, decision: &mut Decision) {
        let Some(record) = self.records.get_mut(&attempt) else { return };
        let started = matches!(record.phase, Phase::Started { .. });
        if let Some(kill) = &mut record.kill
            && started
            && !kill.told
        {
            kill.told = true;
            decision.actions.push(Action::Stop { attempt, grace_ms: kill.grace_ms });
        }
    }

    /// The runtime answered to [`Action::Stop`]. After a failure the stop comes again with
    /// [`AgentTable::retry_stops`].
    pub fn on_stop_told(&mut self, attempt: AttemptId, told: bool) {
        if let Some(kill) = self.records.get_mut(&attempt).and_then(|record| record.kill.as_mut()) {
            kill.told = told;
        }
    }

    /// Stops that the runtime could not carry out, once more. For a slow, regular call.
    pub fn retry_stops(&mut self) -> Decision {
        let untold = |record: &Record| record.kill.is_some_and(|kill| !kill.told);
        let attempts: Vec<_> =
            self.records.iter().filter(|(_, record)| untold(record)).map(|(&attempt, _)| attempt).collect();
        let mut decision = Decision::default();
        for attempt in attempts {
            self.tell_kill(attempt, &mut decision);
        }
        decision
    }
}
