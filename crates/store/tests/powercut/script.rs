//! What is done to the store, from a seed, and what must be there after each step.
//!
//! The steps keep Raft's rules: terms and votes rise, nothing committed is truncated, nothing is purged beyond a
//! snapshot. A script is the same in every process, so the trace has only to say which step has come how far.

use std::sync::Arc;

use bytes::Bytes;
use paceline_replica::{Ballot, Position};

use crate::machine::{self, Tally};
use crate::random::Random;

/// An entry to append: where, and the seed of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct EntryPlan {
    pub at: Position,
    pub seed: u64,
    pub bytes: usize,
}

impl EntryPlan {
    /// What is in it.
    pub fn payload(&self) -> Bytes {
        let mut random = Random::new(self.seed ^ self.at.index);
        let mut payload = Vec::with_capacity(self.bytes + 8);
        while payload.len() < self.bytes {
            payload.extend_from_slice(&random.next().to_le_bytes());
        }
        payload.truncate(self.bytes);
        payload.into()
    }
}

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<EntryPlan>),
    Vote(Ballot),
    Truncate(Option<Position>),
    Commit(Position),
    Purge(Position),
    Barrier,
    Snapshot,
    /// A snapshot of somebody else's, with the entries that it stands for.
    Install(Position),
    /// Waits for everything on its way.
    Settle,
    /// The process ends, after closing the store or in the middle of it, and another one goes on.
    End {
        closes: bool,
    },
}

/// What the log must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogState {
    pub purged: Option<Position>,
    /// Behind the purge point, with a hash of each payload.
    pub entries: Vec<(Position, u64)>,
    pub vote: Option<Ballot>,
    /// As written down; a hint.
    pub committed: Option<Position>,
}

impl LogState {
    pub fn last(&self) -> Option<Position> {
        self.entries.last().map(|(at, _)| *at).or(self.purged)
    }
}

/// What must be beside the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideState {
    pub snapshot: Option<u64>,
    pub watermark: u64,
}

/// The steps, and the states after none, one, two, ... of them.
pub struct Script {
    pub steps: Vec<Step>,
    pub logs: Vec<LogState>,
    pub sides: Vec<SideState>,
    /// By index: the machine after that entry.
    pub tallies: Vec<Tally>,
    /// By index: the committed entries.
    pub committed: Vec<EntryPlan>,
}

/// What the generator knows besides the states.
struct Writer {
    random: Random,
    script: Script,
    log: LogState,
    side: SideState,
    plans: Vec<EntryPlan>,
    term: u64,
    applied: Option<Position>,
}

impl Script {
    /// So many steps.
    pub fn generate(seed: u64, steps: usize) -> Arc<Self> {
        let script = Self { steps: vec![], logs: vec![], sides: vec![], tallies: vec![], committed: vec![] };
        let mut writer = Writer {
            random: Random::new(seed),
            script,
            log: LogState::default(),
            side: SideState::default(),
            plans: Vec::new(),
            term: 0,
            applied: None,
        };
        writer.keep_state();
        writer.vote();
        while writer.script.steps.len() < steps {
            writer.next(steps);
        }
        writer.push(Step::Settle);
        writer.script.into()
    }
}

impl Writer {
    fn keep_state(&mut self) {
        self.script.logs.push(self.log.clone());
        self.script.sides.push(self.side);
    }

    fn push(&mut self, step: Step) {
        self.script.steps.push(step);
        self.keep_state();
    }

    fn next(&mut self, steps: usize) {
        let made = self.script.steps.len();
        if made % (steps / 10).max(20) == (steps / 10).max(20) - 1 {
            self.push(Step::Settle);
            let closes = self.random.below(2) == 0;
            return self.push(Step::End { closes });
        }
        match self.random.below(1000) {
            0..550 => self.append(),
            550..660 => self.push(Step::Settle),
            660..720 => self.vote(),
            720..760 => self.truncate(),
            760..920 => self.commit(),
            920..950 => self.snapshot(),
            950..975 => self.purge(),
            975..993 => self.push(Step::Barrier),
            _ => self.install(),
        }
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(4);
        let next = self.log.last().map_or(0, |last| last.index + 1);
        let plans: Vec<_> = (next..next + count).map(|index| self.plan(index)).collect();
        for plan in &plans {
            self.log.entries.push((plan.at, machine::hash_of(&plan.payload()[..])));
        }
        self.plans.extend(&plans);
        self.push(Step::Append(plans));
    }

    fn plan(&mut self, index: u64) -> EntryPlan {
        let bytes = match self.random.below(10) {
            0..6 => 30 + self.random.below(400),
            6..9 => 400 + self.random.below(1600),
            _ => 4000 + self.random.below(9000),
        };
        let at = Position { term: self.term, index };
        EntryPlan { at, seed: self.random.next(), bytes: bytes as usize }
    }

    fn vote(&mut self) {
        let known = self.log.vote.filter(|vote| !vote.committed && self.random.below(2) == 0);
        let ballot = match known {
            Some(vote) => Ballot { committed: true, ..vote },
            None => {
                self.term += 1 + self.random.below(2);
                Ballot { term: self.term, candidate: 1 + self.random.below(5), committed: false }
            }
        };
        self.log.vote = Some(ballot);
        self.push(Step::Vote(ballot));
    }

    /// A new leader has other entries after the commit.
    fn truncate(&mut self) {
        let from = self.applied.map_or(0, |applied| applied.index + 1);
        let Some(last) = self.log.last().filter(|last| last.index >= from) else { return self.append() };
        self.log.vote = None;
        self.vote();
        let keep = self.random.between(from, last.index);
        self.log.entries.retain(|(at, _)| at.index < keep);
        self.plans.retain(|plan| plan.at.index < keep);
        let last = self.log.last();
        self.push(Step::Truncate(last));
        self.append();
    }

    fn commit(&mut self) {
        let from = self.applied.map_or(0, |applied| applied.index + 1);
        let Some(last) = self.log.last().filter(|last| last.index >= from) else { return self.append() };
        let upto = self.random.between(from, last.index);
        let at = self.log.entries.iter().find(|(at, _)| at.index == upto);
        let at = at.expect("what is not applied is not purged").0;
        self.push(Step::Settle);
        self.apply(upto);
        self.applied = Some(at);
        self.log.committed = Some(at);
        self.side.watermark = self.side.watermark.max(machine::watermark_of_rows(upto));
        self.push(Step::Commit(at));
    }

    fn apply(&mut self, upto: u64) {
        let from = self.script.committed.len() as u64;
        let committed = self.plans.iter().filter(|plan| (from..=upto).contains(&plan.at.index));
        for plan in committed {
            let before = self.script.tallies.last().copied().unwrap_or_default();
            self.script.tallies.push(before.with(&plan.payload()));
            self.script.committed.push(*plan);
        }
        self.plans.retain(|plan| plan.at.index > upto);
    }

    fn snapshot(&mut self) {
        let Some(applied) = self.applied.filter(|applied| Some(applied.index) > self.side.snapshot) else {
            return self.append();
        };
        self.side =
            SideState { snapshot: Some(applied.index), watermark: self.side.watermark.max(applied.index) };
        self.push(Step::Snapshot);
    }

    fn purge(&mut self) {
        let first = self.log.entries.first().map(|(at, _)| at.index);
        let Some((first, snapshot)) = first.zip(self.side.snapshot).filter(|(first, upto)| first <= upto)
        else {
            return self.append();
        };
        let upto = self.random.between(first, snapshot);
        let at = self.log.entries.iter().find(|(at, _)| at.index == upto).map(|(at, _)| *at);
        self.log.purged = at;
        self.log.entries.retain(|(at, _)| at.index > upto);
        self.push(Step::Purge(at.expect("a snapshot ends within the log or at the purge point")));
    }

    /// This replica was away: a leader of a later term sends what it has.
    fn install(&mut self) {
        self.push(Step::Settle);
        self.log.vote = None;
        self.vote();
        let from = self.script.committed.len() as u64;
        let last = self.log.last().map_or(0, |last| last.index);
        let upto = from.max(last) + 5 + self.random.below(20);
        self.plans = (from..=upto).map(|index| self.plan(index)).collect();
        self.apply(upto);
        let at = Position { term: self.term, index: upto };
        self.applied = Some(at);
        self.side = SideState { snapshot: Some(upto), watermark: upto };
        self.log.purged = Some(at);
        self.log.entries.clear();
        self.push(Step::Install(at));
    }
}
