//! Where a pass begins and ends when one does not look at everything: rounds over all pending classes, in an order that
//! goes on where the last pass stopped.
//!
//! A round is over when it has come back to where it began and nothing has changed since: then no further pass over the
//! same view can place anything, and passes rest.

use paceline_types::{JobUid, Revision};

use crate::pass::Class;

/// A place in the order of jobs and their classes; no class stands before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub job: JobUid,
    pub class: Option<Class>,
}

/// What a round looked at: another view, or room that was given back, begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub revision: Revision,
    pub releases: u64,
}

/// Cursors from the first one on, up to the second if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub from: Cursor,
    pub to: Option<Cursor>,
}

impl Stretch {
    /// Whether any class of the job can lie in it.
    pub(crate) fn touches(&self, job: JobUid) -> bool {
        job >= self.from.job && self.to.is_none_or(|to| Cursor { job, class: None } < to)
    }

    pub(crate) fn contains(&self, at: Cursor) -> bool {
        at >= self.from && self.to.is_none_or(|to| at < to)
    }
}

/// The rounds of a scheduler.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Where the last pass stopped early.
    resume: Option<Cursor>,
    /// The round that it belonged to: what it saw, and where it began.
    round: Option<(Seen, Cursor)>,
}

impl Rounds {
    /// What the next pass has to look at, in order.
    pub(crate) fn begin(&mut self, seen: Seen) -> [Option<Stretch>; 2] {
        let resumed = self.resume.take();
        let from = resumed.unwrap_or_default();
        let begun = match self.round {
            Some((before, begun)) if before == seen && resumed.is_some() => begun,
            _ => from,
        };
        self.round = Some((seen, begun));
        if from < begun {
            return [Some(Stretch { from, to: Some(begun) }), None];
        }
        [Some(Stretch { from, to: None }), Some(Stretch { from: Cursor::default(), to: Some(begun) })]
    }

    /// The pass stops here; the next one goes on with this class.
    pub(crate) fn stop_at(&mut self, at: Cursor) {
        self.resume = Some(at);
    }

    /// Whether the last pass stopped early.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.resume.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64) -> Cursor {
        Cursor { job: JobUid { revision: Revision(number), ordinal: 0 }, class: None }
    }

    fn looked_at(stretches: [Option<Stretch>; 2], jobs: u64) -> Vec<u64> {
        let at = |stretch: Stretch| (1..=jobs).filter(move |&number| stretch.contains(job(number)));
        stretches.into_iter().flatten().flat_map(at).collect()
    }

    #[test]
    fn a_round_ends_where_it_began() {
        let seen = Seen { revision: Revision(7), releases: 0 };
        let mut rounds = Rounds::default();
        assert_eq!(looked_at(rounds.begin(seen), 5), [1, 2, 3, 4, 5]);
        rounds.stop_at(job(3));
        assert_eq!(looked_at(rounds.begin(seen), 5), [3, 4, 5], "1 and 2 were looked at in this round");
        rounds.stop_at(job(5));
        assert_eq!(looked_at(rounds.begin(seen), 5), [5]);
        assert!(!rounds.is_unfinished());
        assert_eq!(looked_at(rounds.begin(seen), 5), [1, 2, 3, 4, 5], "asked again without need");
    }

    #[test]
    fn a_change_begins_a_new_round_where_the_last_pass_stopped() {
        let seen = |revision, releases| Seen { revision: Revision(revision), releases };
        let mut rounds = Rounds::default();
        rounds.begin(seen(1, 0));
        rounds.stop_at(job(4));
        assert_eq!(looked_at(rounds.begin(seen(2, 0)), 5), [4, 5, 1, 2, 3]);
        rounds.stop_at(job(2));
        assert_eq!(looked_at(rounds.begin(seen(2, 0)), 5), [2, 3], "the round began with 4");
        rounds.stop_at(job(3));
        assert_eq!(looked_at(rounds.begin(seen(2, 1)), 5), [3, 4, 5, 1, 2]);
    }
}
