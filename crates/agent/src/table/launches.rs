//! From taken on to started: the launch queue, its pace, and what the runtime says afterwards.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use paceline_rules::JobSpec;
use paceline_types::{Attempt, AttemptId, Reason};

use super::record::{Phase, Record, Seen};
use super::{Action, AgentTable, Decision, ResyncCause};

/// Attempts on their way to the runtime, in the order in which they became ready. Bounded by the table.
#[derive(Debug, Default)]
pub(super) struct Launches {
    queue: VecDeque<(AttemptId, Arc<JobSpec>)>,
    in_flight: BTreeSet<AttemptId>,
}

impl AgentTable {
    /// The runtime answered to [`Action::Launch`]. An error means that the attempt does not run and never will,
    /// for a reason that lies with this node.
    pub fn on_launched(&mut self, attempt: AttemptId, launched: bool) -> Decision {
        let mut decision = Decision::default();
        self.launches.in_flight.remove(&attempt);
        if let Some(record) = self.records.get_mut(&attempt)
            && record.phase == Phase::Launching
        {
            if launched {
                record.phase = Phase::Started { pid: None };
                self.tell_kill(attempt, &mut decision);
                self.renew(attempt, &mut decision);
            } else {
                self.end_here(attempt, Reason::NodeFault, &mut decision);
            }
        }
        self.launch_ready(&mut decision);
        decision
    }

    /// The runtime said something of an attempt. Attempts that are not in the table, because they are being
    /// forgotten, and steps backwards change nothing.
    pub fn on_observed(&mut self, attempt: AttemptId, seen: Seen) -> Decision {
        let mut decision = Decision::default();
        let Some(record) = self.records.get_mut(&attempt) else { return decision };
        record.in_runtime = true;
        match (record.phase, seen) {
            // While a launch is under way only its answer says that it starts: a try that fails leaves nothing, and
            // what was told to it is lost.
            (Phase::Ended(_), _) | (Phase::Launching | Phase::Started { .. }, Seen::Starting) => {}
            (_, Seen::Ended(end)) => {
                self.end(attempt, end, &mut decision);
                self.launch_ready(&mut decision);
            }
            (_, Seen::Starting) => {
                record.phase = Phase::Started { pid: None };
                self.tell_kill(attempt, &mut decision);
            }
            (before, Seen::Running { pid }) => {
                record.phase = Phase::Started { pid: Some(pid) };
                if record.phase != before {
                    self.reports.note(attempt);
                }
                self.tell_kill(attempt, &mut decision);
            }
        }
        decision
    }

    /// The runtime has lost an attempt that it had started: nobody saw its end.
    pub fn on_vanished(&mut self, attempt: AttemptId) -> Decision {
        let mut decision = Decision::default();
        if self.records.get(&attempt).is_some_and(|record| matches!(record.phase, Phase::Started { .. })) {
            self.end_here(attempt, Reason::SupervisorDied, &mut decision);
            self.launch_ready(&mut decision);
        }
        decision
    }

    /// No more launches: the agent is leaving.
    pub fn hold_launches(&mut self) {
        self.limits.launches_in_flight = 0;
    }

    /// Launches that the runtime has not answered.
    #[must_use]
    pub fn launches_in_flight(&self) -> usize {
        self.launches.in_flight.len()
    }

    /// Puts an attempt in the queue if nothing stands in its way. False when its specification is missing.
    pub(super) fn enqueue(&mut self, attempt: AttemptId, decision: &mut Decision) -> bool {
        let waits = |record: &Record| record.phase == Phase::Waiting && !record.queued;
        if !self.records.get(&attempt).is_some_and(waits) || self.has_live_predecessor(attempt) {
            return true;
        }
        match self.specs.find(attempt.job) {
            Some(Ok(spec)) => {
                let record = self.records.get_mut(&attempt).expect("it was found above");
                record.queued = true;
                self.launches.queue.push_back((attempt, spec));
            }
            Some(Err(_)) => self.end_here(attempt, Reason::LaunchFailed, decision),
            None => return false,
        }
        true
    }

    /// The next attempt of the same task, if it waited for this one to end.
    pub(super) fn enqueue_successor(&mut self, ended: AttemptId, decision: &mut Decision) {
        let later = AttemptId { attempt: ended.attempt.next(), ..ended }..=AttemptId {
            attempt: Attempt(u32::MAX),
            ..ended
        };
        let next = self.records.range(later).find(|(_, record)| !record.is_ended());
        if let Some((&next, _)) = next
            && !self.enqueue(next, decision)
            && self.seen_whole
        {
            // Before the session's first full set, that one will bring it.
            decision.actions.push(Action::Resync(ResyncCause::SpecMissing(next.job)));
        }
    }

    /// Gives the runtime as much as may be in flight.
    pub(super) fn launch_ready(&mut self, decision: &mut Decision) {
        while self.launches.in_flight.len() < self.limits.launches_in_flight {
            let Some((attempt, spec)) = self.launches.queue.pop_front() else { break };
            let Some(record) = self.records.get_mut(&attempt) else { continue };
            record.queued = false;
            // It may have been stopped while it stood in the queue.
            if record.phase == Phase::Waiting {
                record.phase = Phase::Launching;
                record.in_runtime = true;
                self.launches.in_flight.insert(attempt);
                decision.actions.push(Action::Launch { attempt, spec });
            }
        }
    }

    fn has_live_predecessor(&self, attempt: AttemptId) -> bool {
        let earlier = AttemptId { attempt: Attempt(0), ..attempt }..attempt;
        self.records.range(earlier).any(|(_, record)| !record.is_ended())
    }
}
