//! What the leader wants: fencing, full sets and changes, and attempts that push out older ones.

use std::collections::BTreeMap;

use paceline_link::message::{Desired, OrderRun, OrderSet, Orders};
use paceline_types::plant::{Plant, is_planted};
use paceline_types::{Attempt, AttemptId, FenceToken, IndexSet, JobUid, Reason, Revision};

use super::record::{End, Phase, Record};
use super::{Action, AgentTable, Change, Decision, ResyncCause};

/// A full set whose last part has not come.
#[derive(Debug)]
pub(super) struct FullSet {
    token: FenceToken,
    named: BTreeMap<(JobUid, Attempt), Vec<IndexSet>>,
    /// How many tasks `named` holds, for its bound.
    tasks: u64,
}

impl FullSet {
    fn names(&self, attempt: AttemptId) -> bool {
        let sets = self.named.get(&(attempt.job, attempt.attempt));
        sets.is_some_and(|sets| sets.iter().any(|set| set.contains(attempt.task)))
    }
}

impl AgentTable {
    /// Orders came. They may say what was said before; they are dropped if their token is below the highest.
    pub fn on_orders(&mut self, orders: &Orders) -> Decision {
        let mut decision = Decision::default();
        if orders.token < self.fence && !is_planted(Plant::OldOrdersFollowed) {
            decision.stale_below = Some(self.fence);
            return decision;
        }
        if orders.token > self.fence {
            self.fence = orders.token;
            decision.changes.push(Change::Fence(orders.token));
        }
        for body in &orders.jobs {
            let records = &self.records;
            self.specs.insert(body, |job| is_known(records, job));
        }
        self.collect(orders);
        let tasks: u64 = orders.runs.iter().map(|run| run.tasks.count()).sum();
        if tasks > 2 * self.limits.attempts as u64 {
            self.full_set = None;
            self.refuse_more(&mut decision);
            return decision;
        }
        for run in &orders.runs {
            self.follow(run, &mut decision);
        }
        self.stop_absent(orders, &mut decision);
        self.launch_ready(&mut decision);
        self.review_leases();
        decision
    }

    /// Remembers what the parts of a full set name. A part that does not belong to the set being collected
    /// abandons it: nothing is concluded from a set that was not seen whole.
    fn collect(&mut self, orders: &Orders) {
        let OrderSet::Full { first, .. } = orders.set else { return };
        if first {
            self.full_set = Some(FullSet { token: orders.token, named: BTreeMap::new(), tasks: 0 });
        }
        let tasks: u64 = orders.runs.iter().map(|run| run.tasks.count()).sum();
        let tasks_max = 2 * self.limits.attempts as u64;
        match &mut self.full_set {
            Some(full) if full.token == orders.token && full.tasks + tasks <= tasks_max => {
                full.tasks += tasks;
                for run in &orders.runs {
                    full.named.entry((run.job, run.attempt)).or_default().push(run.tasks.clone());
                }
            }
            _ => self.full_set = None,
        }
    }

    fn follow(&mut self, run: &OrderRun, decision: &mut Decision) {
        for task in run.tasks.iter() {
            let attempt = AttemptId { job: run.job, task, attempt: run.attempt };
            let followed = match run.desired {
                Desired::Run { assigned } => self.want(attempt, assigned, decision),
                Desired::Stop { grace_ms } => self.want_stopped(attempt, grace_ms, decision),
            };
            if !followed {
                self.refuse_more(decision);
                return;
            }
        }
    }

    fn refuse_more(&self, decision: &mut Decision) {
        decision.actions.push(Action::Resync(ResyncCause::TooManyAttempts(self.limits.attempts)));
    }

    /// An attempt should run. False when the table is full.
    fn want(&mut self, attempt: AttemptId, assigned: Revision, decision: &mut Decision) -> bool {
        let generation = self.fence.generation;
        self.note_leased(attempt);
        if let Some(record) = self.records.get_mut(&attempt) {
            if (record.generation, record.assigned) != (generation, assigned) && !record.is_ended() {
                (record.generation, record.assigned) = (generation, assigned);
                let grace_ms = record.grace_ms;
                decision.changes.push(Change::Accepted { attempt, generation, assigned, grace_ms });
            }
            // It may have waited for the specification that came with these orders.
            self.enqueue_ordered(attempt, decision);
            return true;
        }
        if self.settled.contains(attempt) || self.newest_of_task(attempt) > Some(attempt.attempt) {
            return self.refuse(attempt, decision);
        }
        if self.records.len() >= self.limits.attempts {
            return false;
        }
        let grace_ms = match self.specs.find(attempt.job) {
            Some(Ok(spec)) => spec.template.grace_ms,
            _ => self.limits.grace_ms,
        };
        decision.changes.push(Change::Accepted { attempt, generation, assigned, grace_ms });
        self.records.insert(attempt, Record::new(generation, assigned, grace_ms));
        self.note_leased(attempt);
        self.supersede(attempt, decision);
        self.enqueue_ordered(attempt, decision);
        true
    }

    /// An order comes after the specification that it needs.
    fn enqueue_ordered(&mut self, attempt: AttemptId, decision: &mut Decision) {
        if !self.enqueue(attempt, decision) {
            decision.actions.push(Action::Resync(ResyncCause::SpecMissing(attempt.job)));
        }
    }

    /// Older attempts of the task must end before this one starts.
    fn supersede(&mut self, attempt: AttemptId, decision: &mut Decision) {
        let earlier = AttemptId { attempt: Attempt(0), ..attempt }..attempt;
        let live = self.records.range(earlier).filter(|(_, record)| !record.is_ended());
        let older: Vec<_> = live.map(|(&older, record)| (older, record.grace_ms)).collect();
        for (older, grace_ms) in older {
            self.kill(older, grace_ms, decision);
        }
    }

    fn newest_of_task(&self, attempt: AttemptId) -> Option<Attempt> {
        let all = AttemptId { attempt: Attempt(0), ..attempt }..=AttemptId {
            attempt: Attempt(u32::MAX),
            ..attempt
        };
        self.records.range(all).next_back().map(|(newest, _)| newest.attempt)
    }

    /// An attempt should stop. False when the table is full.
    fn want_stopped(&mut self, attempt: AttemptId, grace_ms: u64, decision: &mut Decision) -> bool {
        if self.records.contains_key(&attempt) {
            self.kill(attempt, grace_ms, decision);
            return true;
        }
        // Unknown, so it does not run; and with this record it never will.
        self.refuse(attempt, decision)
    }

    /// Records that an attempt is not here and never will be. False when the table is full.
    fn refuse(&mut self, attempt: AttemptId, decision: &mut Decision) -> bool {
        if self.records.len() >= self.limits.attempts {
            return false;
        }
        let end = End::without_process(Reason::NotOnNode);
        let mut record = Record::new(self.fence.generation, Revision::default(), 0);
        record.phase = Phase::Ended(end);
        self.records.insert(attempt, record);
        self.reports.note(attempt);
        decision.changes.push(Change::Ended { attempt, end });
        true
    }

    /// After the last part of a full set: what was in no part, and was assigned by then, must end.
    fn stop_absent(&mut self, orders: &Orders, decision: &mut Decision) {
        if !matches!(orders.set, OrderSet::Full { last: true, .. }) {
            return;
        }
        let Some(full) = self.full_set.take() else { return };
        self.seen_whole = true;
        let covered = |record: &Record| {
            record.is_covered_by(full.token.generation, full.token.revision)
                || is_planted(Plant::OldOrdersFollowed)
        };
        let absent = |attempt: AttemptId, record: &Record| {
            !record.is_ended() && covered(record) && !full.names(attempt)
        };
        let absent: Vec<_> = self
            .records
            .iter()
            .filter(|(attempt, record)| absent(**attempt, record))
            .map(|(&attempt, record)| (attempt, record.grace_ms))
            .collect();
        for (attempt, grace_ms) in absent {
            self.kill(attempt, grace_ms, decision);
        }
    }
}

fn is_known(records: &BTreeMap<AttemptId, Record>, job: JobUid) -> bool {
    let from = AttemptId { job, ..AttemptId::default() };
    records.range(from..).next().is_some_and(|(attempt, _)| attempt.job == job)
}
