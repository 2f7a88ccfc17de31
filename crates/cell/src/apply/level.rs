//! RaiseFeatureLevel: admits new commands and behaviour, one level at a time.

use paceline_types::FeatureLevel;

use super::{Outcome, Work};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Work<'_> {
    /// The leader proposes this only when every voter advertises the level, so every replica knows it.
    pub(super) fn raise_feature_level(&mut self, to: FeatureLevel) -> Outcome {
        let committed = self.cell.feature_level;
        let next = FeatureLevel(committed.0.saturating_add(1));
        if to == committed {
            return Ok(Reply::Done);
        }
        if to != next {
            return Err(Refusal::FeatureLevel { needed: next, committed });
        }
        if to > crate::FEATURE_LEVEL_MAX {
            // A build that knows the level raised it here. This one was started too late, or goes on from an older image.
            self.newer_build_needed = Some(to);
            return Err(Refusal::FeatureLevel { needed: next, committed });
        }
        self.cell.feature_level = to;
        self.events.push(Event::FeatureLevelRaised { to });
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    #[test]
    fn a_level_that_this_build_does_not_know_ends_it() {
        let mut bench = Bench::new();
        let committed = bench.cell.feature_level();
        let to = FeatureLevel(crate::FEATURE_LEVEL_MAX.0 + 1);
        let entry =
            |to| crate::Entry { unix_ms: 0, commands: vec![CommandBody::RaiseFeatureLevel { to }.into()] };
        let revision = paceline_types::Revision(bench.cell.revision().0 + 1);
        assert_eq!(bench.cell.clone().apply(revision, &entry(to)).newer_build_needed, Some(to));
        let skipped = FeatureLevel(to.0 + 1);
        assert_eq!(
            bench.cell.clone().apply(revision, &entry(skipped)).newer_build_needed,
            None,
            "refused by all"
        );
        assert_eq!(bench.one(CommandBody::RaiseFeatureLevel { to: committed }), Reply::Done);
    }

    #[test]
    fn an_entry_above_the_level_is_refused_as_an_unreadable_one_is() {
        let mut above = Bench::new();
        above.cell.feature_level = FeatureLevel(0);
        let mut unreadable = above.cell.clone();
        let replies = above.all(vec![CommandBody::Tick { from_ms: 0, step_ms: 1 }; 2]);
        let committed = FeatureLevel(0);
        let needed = crate::FEATURE_LEVEL_FIRST;
        assert_eq!(replies, vec![Reply::Refused(Refusal::FeatureLevel { needed, committed }); 2]);
        unreadable.apply_undecodable(above.cell.revision());
        assert_eq!(above.cell.digest(), unreadable.digest(), "old and new builds stay equal");
    }
}
