//! One watch: the order of its messages, and their content against what was committed.

use std::collections::VecDeque;
use std::fmt::Display;

use paceline_types::{JobUid, Revision};

use super::{Committed, Event, Violation, WAITING_MAX, WatchId, show};

/// What came.
#[derive(Clone, Debug)]
pub(super) enum Message<E> {
    Change { revision: Revision, events: Vec<Event<E>> },
    Progress { revision: Revision },
    Resync { at: Revision, oldest: Revision },
}

#[derive(Clone, Debug)]
pub(super) struct Stream<E> {
    watch: u32,
    job: Option<JobUid>,
    pub(super) open: bool,
    /// It was told to list again.
    over: bool,
    /// The last revision that it spoke of; nothing before the first message of a watch from now on.
    passed: Option<Revision>,
    /// Up to here it was held against what was committed; nothing before it has begun.
    pub(super) judged: Option<Revision>,
    waiting: VecDeque<Message<E>>,
    /// It lost its place in what is kept.
    unjudged: bool,
}

impl<E: Clone + Eq + Display> Stream<E> {
    pub(super) const fn new(watch: WatchId, job: Option<JobUid>) -> Self {
        Self {
            watch: watch.0,
            job,
            open: false,
            over: false,
            passed: None,
            judged: None,
            waiting: VecDeque::new(),
            unjudged: false,
        }
    }

    pub(super) fn open(&mut self, after: Revision) -> Result<(), Violation> {
        self.open = true;
        match self.passed {
            Some(passed) if passed != after => {
                Err(Violation::ResumedElsewhere { watch: self.watch, passed, after })
            }
            None if after > Revision(0) => {
                (self.passed, self.judged) = (Some(after), Some(after));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Judges the order at once and keeps the content for later.
    pub(super) fn take(&mut self, message: Message<E>) -> Option<Violation> {
        let watch = self.watch;
        if !self.open || self.over {
            return Some(Violation::NotOpen { watch });
        }
        let found = match &message {
            Message::Change { revision, events } => self.change(*revision, events),
            Message::Progress { revision } => self.progress(*revision),
            Message::Resync { at, oldest } => self.resync(*at, *oldest),
        };
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.clear();
            self.unjudged = true;
            return Some(Violation::Unjudged { watch, why: "too many messages wait for what was committed" });
        }
        // What came out of order says nothing about completeness.
        if found.is_none() && !self.unjudged {
            self.waiting.push_back(message);
        }
        found
    }

    fn change(&mut self, revision: Revision, events: &[Event<E>]) -> Option<Violation> {
        let watch = self.watch;
        if let Some(passed) = self.passed.filter(|passed| revision <= *passed) {
            return Some(Violation::OutOfOrder { watch, revision, passed });
        }
        // A job that retired before the watch began is told of before where it begins.
        self.begin(Revision(revision.0.saturating_sub(1)));
        self.passed = Some(revision);
        let pairs = events.windows(2).map(|pair| (pair[0].ordinal, pair[1].ordinal));
        let (last, ordinal) = pairs.into_iter().find(|(last, next)| next <= last)?;
        Some(Violation::OrdinalsOutOfOrder { watch, revision, ordinal, last })
    }

    fn progress(&mut self, revision: Revision) -> Option<Violation> {
        let watch = self.watch;
        if let Some(passed) = self.passed.filter(|passed| revision < *passed) {
            return Some(Violation::OutOfOrder { watch, revision, passed });
        }
        self.begin(revision);
        self.passed = Some(revision);
        None
    }

    fn resync(&mut self, at: Revision, oldest: Revision) -> Option<Violation> {
        self.over = true;
        let watch = self.watch;
        if oldest > at {
            return Some(Violation::ResyncBeyond { watch, oldest, at });
        }
        let after = self.passed.unwrap_or(at);
        (after >= oldest).then_some(Violation::UndueResync { watch, after, oldest })
    }

    fn begin(&mut self, at: Revision) {
        if self.passed.is_none() {
            self.judged = Some(at);
        }
    }

    /// Holds every message that can be against what was committed.
    pub(super) fn judge(&mut self, committed: &Committed<E>, found: &mut Vec<Violation>) {
        while let Some(message) = self.waiting.front() {
            let to = match message {
                Message::Change { revision, .. } | Message::Progress { revision } => *revision,
                Message::Resync { .. } => {
                    self.waiting.pop_front();
                    continue;
                }
            };
            if to > committed.known {
                return;
            }
            let Some(message) = self.waiting.pop_front() else { return };
            let from = self.judged.unwrap_or(to);
            if from < committed.forgotten && !self.unjudged {
                self.unjudged = true;
                self.waiting.clear();
                let why = "what was committed is no longer kept as far back as it stands";
                found.push(Violation::Unjudged { watch: self.watch, why });
                return;
            }
            self.judge_one(from, to, &message, committed, found);
            self.judged = Some(from.max(to));
        }
    }

    fn judge_one(
        &self,
        from: Revision,
        to: Revision,
        message: &Message<E>,
        committed: &Committed<E>,
        found: &mut Vec<Violation>,
    ) {
        let last = match message {
            Message::Change { .. } => Revision(to.0.saturating_sub(1)),
            _ => to,
        };
        if from < last {
            found.extend(self.missed(from, last, to, committed));
        }
        let Message::Change { revision, events } = message else { return };
        let theirs: Vec<&Event<E>> = self.of_mine(*revision, committed).collect();
        if !events.iter().eq(theirs.iter().copied()) {
            let (got, committed) = (show(events.iter()), show(theirs.into_iter()));
            found.push(Violation::Differs { watch: self.watch, revision: *revision, got, committed });
        }
    }

    /// The first revision in `from + 1 ..= last` with events for this watch.
    fn missed(
        &self,
        from: Revision,
        last: Revision,
        to: Revision,
        committed: &Committed<E>,
    ) -> Option<Violation> {
        let between = committed.events.range(Revision(from.0.saturating_add(1))..=last);
        let (missed, events) = between
            .map(|(revision, _)| (*revision, self.of_mine(*revision, committed).collect::<Vec<_>>()))
            .find(|(_, events)| !events.is_empty())?;
        let first = events.first().map(|event| event.says.to_string()).unwrap_or_default();
        Some(Violation::Missed { watch: self.watch, missed, events: events.len(), first, to })
    }

    fn of_mine<'c>(
        &self,
        revision: Revision,
        committed: &'c Committed<E>,
    ) -> impl Iterator<Item = &'c Event<E>> {
        let job = self.job;
        let events = committed.events.get(&revision).map_or(&[][..], Vec::as_slice);
        events.iter().filter(move |event| job.is_none() || event.job == job)
    }

    /// What speaks of more than was ever committed.
    pub(super) fn unsettled(&self, committed: &Committed<E>) -> Option<Violation> {
        let revision = self.waiting.iter().find_map(|message| match message {
            Message::Change { revision, .. } | Message::Progress { revision } => Some(*revision),
            Message::Resync { .. } => None,
        })?;
        Some(Violation::Phantom { watch: self.watch, revision, committed: committed.known })
    }

    /// What an open watch should have got by now.
    pub(super) fn behind(&self, committed: &Committed<E>, reached: Revision) -> Option<Violation> {
        let passed = self.passed.filter(|passed| self.open && !self.over && *passed < reached)?;
        let Violation::Missed { watch, missed, .. } = self.missed(passed, reached, reached, committed)?
        else {
            return None;
        };
        Some(Violation::Stalled { watch, passed, missed })
    }
}
