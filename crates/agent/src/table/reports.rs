//! What the cell has not heard: attempts to report, in runs of like ones, and the acknowledgement of ends.

use std::collections::{BTreeMap, BTreeSet};

use paceline_link::message::{Observed, Report, ReportRun};
use paceline_types::{Attempt, AttemptId, JobUid, TaskIndex};

use super::record::{End, Phase};
use super::{Action, AgentTable, Change, Decision};

/// Attempts in one report. The worst one, a run of its own each, takes about 64 bytes per attempt: 256 KiB,
/// which is where the cell splits its entries.
pub const REPORT_ATTEMPTS_MAX: usize = 4_096;

/// The state of reporting within one session.
#[derive(Debug, Default)]
pub(super) struct Reports {
    welcomed: bool,
    /// Attempts of which the cell does not know the latest. Bounded by the table.
    unsent: BTreeSet<AttemptId>,
    /// The full table is being sent, and its end has not been marked.
    completes: bool,
    /// The last sequence used in the session.
    sequence: u64,
    /// Ends by the report that carried them, until they are acknowledged.
    ends: BTreeMap<u64, Vec<AttemptId>>,
}

impl Reports {
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    pub(super) fn begin_full(&mut self, attempts: impl Iterator<Item = AttemptId>) {
        self.welcomed = true;
        self.completes = true;
        self.unsent = attempts.collect();
    }

    /// The state of an attempt changed. Before the welcome nothing is noted: the full table will have it.
    pub(super) fn note(&mut self, attempt: AttemptId) {
        if self.welcomed {
            self.unsent.insert(attempt);
        }
    }
}

/// What is said of one attempt; like ones make a run.
type RunKey = (JobUid, Attempt, Option<End>);

impl AgentTable {
    /// How many attempts wait to be reported, and whether a report is due even without any.
    #[must_use]
    pub fn unreported(&self) -> usize {
        self.reports.unsent.len() + usize::from(self.reports.completes)
    }

    /// The next report of the session, if there is anything to say. Call it when the link has room.
    pub fn next_report(&mut self) -> Option<Report> {
        if self.unreported() == 0 {
            return None;
        }
        self.reports.sequence += 1;
        let sequence = self.reports.sequence;
        let mut runs: BTreeMap<RunKey, Vec<(TaskIndex, u32)>> = BTreeMap::new();
        let mut ends = Vec::new();
        for _ in 0..REPORT_ATTEMPTS_MAX {
            let Some(attempt) = self.reports.unsent.pop_first() else { break };
            let (end, pid) = match self.records.get(&attempt).map(|record| record.phase) {
                Some(Phase::Started { pid: Some(pid) }) => (None, pid),
                Some(Phase::Ended(end)) => (Some(end), 0),
                _ => continue,
            };
            if end.is_some() {
                ends.push(attempt);
            }
            runs.entry((attempt.job, attempt.attempt, end)).or_default().push((attempt.task, pid));
        }
        if !ends.is_empty() {
            self.reports.ends.insert(sequence, ends);
        }
        let table_complete = self.reports.completes && self.reports.unsent.is_empty();
        self.reports.completes &= !table_complete;
        let runs = runs.into_iter().map(|(key, tasks)| report_run(key, &tasks)).collect();
        Some(Report { sequence, runs, table_complete })
    }

    /// Every report of the session up to this one was applied from a committed entry: ends that they
    /// carried need not be kept. A sequence that was never sent acknowledges nothing.
    pub fn on_acknowledge(&mut self, sequence: u64) -> Decision {
        let mut decision = Decision::default();
        if sequence > self.reports.sequence {
            return decision;
        }
        let later = self.reports.ends.split_off(&(sequence + 1));
        let ends = std::mem::replace(&mut self.reports.ends, later);
        for attempt in ends.into_values().flatten() {
            let Some(record) = self.records.remove(&attempt) else { continue };
            self.reports.unsent.remove(&attempt);
            self.settled.insert(attempt);
            decision.changes.push(Change::Settled { attempt });
            if record.in_runtime {
                decision.actions.push(Action::Forget { attempt });
            }
        }
        decision
    }
}

fn report_run((job, attempt, end): RunKey, tasks: &[(TaskIndex, u32)]) -> ReportRun {
    let (observed, pids) = match end {
        Some(End { status, reason }) => (Observed::Ended { status, reason }, Vec::new()),
        None => (Observed::Running, tasks.iter().map(|&(_, pid)| pid).collect()),
    };
    ReportRun { job, attempt, tasks: tasks.iter().map(|&(task, _)| task).collect(), observed, pids }
}
