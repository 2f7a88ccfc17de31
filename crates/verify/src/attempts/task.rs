//! One task: what the cell decided about its attempts, and what really ran.

use paceline_types::{Attempt, AttemptId, FenceToken, NodeName, Revision};

use super::{Cause, Violation};

/// A process, from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) node: NodeName,
    pub(super) attempt: Attempt,
    pub(super) start: u64,
    pub(super) end: Option<(u64, Cause)>,
}

/// How the cell is done with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    /// It is told to stop, and may take its time.
    Stopping,
    /// It is over.
    Over,
}

/// An attempt as the cell knows it.
#[derive(Clone, Debug)]
struct Assigned {
    attempt: Attempt,
    node: NodeName,
    at: Revision,
    /// From this revision on it may be killed.
    unwanted: Option<Revision>,
    /// From this revision on it should not be there.
    over: Option<Revision>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Task {
    assigned: Vec<Assigned>,
    ended: Option<Revision>,
    pub(super) lives: Vec<Life>,
    /// Lives up to here were held against what was decided.
    judged: usize,
    /// An overlap was named.
    overlapped: bool,
    /// Attempts whose second start was named.
    named: Vec<Attempt>,
}

impl Task {
    pub(super) fn lives(&self) -> bool {
        self.lives.iter().any(|life| life.end.is_none())
    }

    /// The next attempt was bound to a node.
    pub(super) fn assigned(
        &mut self,
        id: AttemptId,
        attempt: Attempt,
        node: &NodeName,
        revision: Revision,
    ) -> Option<Violation> {
        let why = match self.assigned.last() {
            _ if self.ended.is_some() => Some("the task had ended".to_owned()),
            Some(last) if last.over.is_none() => Some(format!("attempt {} was not over", last.attempt)),
            last => {
                let expected = last.map_or(Attempt(1), |last| last.attempt.next());
                (attempt != expected).then(|| format!("attempt {expected} is the next"))
            }
        };
        let at = revision;
        self.assigned.push(Assigned { attempt, node: node.clone(), at, unwanted: None, over: None });
        why.map(|why| Violation::OutOfTurn { attempt: AttemptId { attempt, ..id }, revision, why })
    }

    /// When an attempt was bound to its node.
    pub(super) fn assigned_at(&self, attempt: Attempt) -> Option<Revision> {
        self.assigned.iter().rev().find(|known| known.attempt == attempt).map(|known| known.at)
    }

    pub(super) fn unwanted(&mut self, attempt: Attempt, revision: Revision, decided: Decided) {
        let known = self.assigned.iter_mut().rev().find(|known| known.attempt == attempt);
        if let Some(known) = known {
            known.unwanted.get_or_insert(revision);
            if decided == Decided::Over {
                known.over.get_or_insert(revision);
            }
        }
    }

    /// The task will never run again.
    pub(super) fn over(&mut self, id: AttemptId, revision: Revision) -> Option<Violation> {
        self.unwanted(id.attempt, revision, Decided::Over);
        if let Some(first) = self.ended {
            return Some(Violation::EndedTwice { job: id.job, task: id.task, first, second: revision });
        }
        self.ended = Some(revision);
        None
    }

    /// An attempt that was started twice. Each is named once.
    pub(super) fn twice(&mut self, id: AttemptId) -> Option<Violation> {
        let again = |(at, life): (usize, &Life)| {
            let first = self.lives[..at].iter().find(|earlier| earlier.attempt == life.attempt)?;
            (!self.named.contains(&life.attempt)).then(|| (first.clone(), life.clone()))
        };
        let (first, second) = self.lives.iter().enumerate().find_map(again)?;
        self.named.push(second.attempt);
        Some(Violation::StartedTwice {
            attempt: AttemptId { attempt: second.attempt, ..id },
            one: first.node,
            first: first.start,
            other: second.node,
            second: second.start,
        })
    }

    /// Processes that the cell did not decide, or not there. Each is looked at once.
    pub(super) fn unassigned(&mut self, id: AttemptId) -> Vec<Violation> {
        let mut found = Vec::new();
        for life in &self.lives[self.judged..] {
            let known = self.assigned.iter().find(|known| known.attempt == life.attempt);
            let decided = match known {
                Some(known) if known.node == life.node => continue,
                Some(known) => format!("the cell had decided on {}", known.node),
                None => "the cell had not decided on it".to_owned(),
            };
            let attempt = AttemptId { attempt: life.attempt, ..id };
            found.push(Violation::NotAssigned { attempt, node: life.node.clone(), decided });
        }
        self.judged = self.lives.len();
        found
    }

    /// Whether an order that killed is ahead of what is known to be committed.
    pub(super) fn ahead(&self, known: Revision) -> bool {
        self.orders().any(|(_, _, token)| token.revision > known)
    }

    /// Wanted attempts that an order killed, of those whose orders are of known revisions. What is named is forgotten.
    pub(super) fn killed(
        &mut self,
        id: AttemptId,
        gone: Option<Revision>,
        facts_to: Revision,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        for (life, at, token) in self.orders().filter(|(_, _, token)| token.revision <= facts_to) {
            let known = self.assigned.iter().find(|known| known.attempt == life.attempt);
            // What the cell never assigned, nobody wants.
            let Some(known) = known else { continue };
            let unwanted = [known.unwanted, self.ended, gone].into_iter().flatten().min();
            if unwanted.is_none_or(|unwanted| unwanted > token.revision) {
                let attempt = AttemptId { attempt: life.attempt, ..id };
                found.push(Violation::GoodAttemptKilled { attempt, node: life.node.clone(), at, token });
            }
        }
        let named: Vec<Attempt> = found
            .iter()
            .filter_map(|found| match found {
                Violation::GoodAttemptKilled { attempt, .. } => Some(attempt.attempt),
                _ => None,
            })
            .collect();
        for life in self.lives.iter_mut().filter(|life| named.contains(&life.attempt)) {
            if let Some((_, cause)) = &mut life.end {
                *cause = Cause::Fault;
            }
        }
        found
    }

    fn orders(&self) -> impl Iterator<Item = (&Life, u64, FenceToken)> {
        self.lives.iter().filter_map(|life| match life.end {
            Some((at, Cause::Order(token))) => Some((life, at, token)),
            _ => None,
        })
    }

    /// The first two processes that ran at the same time. A task is named once.
    pub(super) fn overlap(&mut self, id: AttemptId, now: u64) -> Option<Violation> {
        if self.overlapped {
            return None;
        }
        let end = |life: &Life| life.end.map_or(now.max(life.start) + 1, |(at, _)| at);
        let mut order: Vec<&Life> = self.lives.iter().collect();
        order.sort_by_key(|life| (life.start, life.attempt));
        let mut longest: Option<&Life> = None;
        let mut both = None;
        for life in order {
            if let Some(earlier) =
                longest.filter(|earlier| end(earlier) > life.start && end(life) > life.start)
            {
                both = Some((earlier, life));
                break;
            }
            longest = longest.filter(|earlier| end(earlier) >= end(life)).or(Some(life));
        }
        let (one, other) = both?;
        let words = |life: &Life| format!("attempt {} on {} (from {})", life.attempt, life.node, life.start);
        let violation = Violation::Overlap {
            attempt: AttemptId { attempt: other.attempt, ..id },
            one: words(one),
            other: words(other),
            from: other.start,
            to: end(one).min(end(other)),
        };
        self.overlapped = true;
        Some(violation)
    }

    /// Processes of attempts that the cell is done with.
    pub(super) fn stale(&self, id: AttemptId, gone: Option<Revision>, now: u64) -> Vec<Violation> {
        let open = self.lives.iter().filter(|life| life.end.is_none());
        let over = |life: &Life| {
            let known = self.assigned.iter().find(|known| known.attempt == life.attempt);
            let over = known.and_then(|known| known.over);
            [over, self.ended, gone].into_iter().flatten().min()
        };
        let stale = open.filter_map(|life| Some((life, over(life)?)));
        stale
            .map(|(life, over)| Violation::StaleLives {
                attempt: AttemptId { attempt: life.attempt, ..id },
                node: life.node.clone(),
                at: now,
                over,
            })
            .collect()
    }
}
