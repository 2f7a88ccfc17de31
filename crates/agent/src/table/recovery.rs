//! The table of an agent that comes back: what it had stored, laid beside what the runtime still has.

use paceline_types::AttemptId;

use super::record::{Kill, Phase, Record, Seen};
use super::{Action, AgentTable, Decision, DecodeSpec, Stored, TableLimits};

impl AgentTable {
    /// Builds the table of before. The runtime is right about what started and how it ended; what is stored
    /// is right about what was ordered, and about what never started. Attempts that only the runtime has
    /// count as assigned at the highest token seen, so that no older set can end them.
    #[must_use]
    pub fn recover(
        limits: TableLimits,
        decode: DecodeSpec,
        stored: Stored,
        seen: Vec<(AttemptId, Seen)>,
    ) -> (Self, Decision) {
        let mut table = Self::new(limits, decode);
        (table.fence, table.epoch, table.settled) = (stored.fence, stored.epoch, stored.settled);
        for (attempt, was) in stored.attempts {
            let mut record = Record::new(was.generation, was.assigned, was.grace_ms);
            record.kill = was.kill_grace_ms.map(|grace_ms| Kill { grace_ms, told: false });
            if let Some(end) = was.end {
                record.phase = Phase::Ended(end);
            }
            table.records.insert(attempt, record);
        }
        let mut decision = Decision::default();
        for (attempt, seen) in seen {
            table.lay_beside(attempt, seen, &mut decision);
        }
        table.end_killed_before_start(&mut decision);
        (table, decision)
    }

    fn lay_beside(&mut self, attempt: AttemptId, seen: Seen, decision: &mut Decision) {
        if !self.records.contains_key(&attempt) {
            if self.settled.contains(attempt) {
                // The agent went away between the acknowledgement and the forgetting.
                decision.actions.push(Action::Forget { attempt });
                return;
            }
            let record = Record::new(self.fence.generation, self.fence.revision, self.limits.grace_ms);
            self.records.insert(attempt, record);
        }
        let found = self.on_observed(attempt, seen);
        decision.changes.extend(found.changes);
        decision.actions.extend(found.actions);
    }

    /// A launch was in flight when the kill was stored, and the runtime never took it on.
    fn end_killed_before_start(&mut self, decision: &mut Decision) {
        let lost = |record: &Record| record.phase == Phase::Waiting && record.kill.is_some();
        let lost: Vec<_> =
            self.records.iter().filter(|(_, record)| lost(record)).map(|(&attempt, _)| attempt).collect();
        for attempt in lost {
            self.end_here(attempt, paceline_types::Reason::NotOnNode, decision);
        }
    }
}
