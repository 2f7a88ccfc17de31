//! RaiseGeneration: after a restore, so that everything said before it is fenced. The restored log itself starts far
//! above the lost one, so that no uid and no revision comes twice (docs/adr/2026-11-22-revisions-never-go-back.md).

use paceline_types::Generation;

use super::{Outcome, Work};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn raise_generation(&mut self, to: Generation) -> Outcome {
        let committed = self.cell.generation;
        if to <= committed {
            return Err(Refusal::GenerationNotHigher { committed });
        }
        self.cell.generation = to;
        self.events.push(Event::GenerationRaised { to });
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    #[test]
    fn generations_only_rise() {
        let mut bench = Bench::new();
        let mut raise = |to| bench.one(CommandBody::RaiseGeneration { to: Generation(to) });
        assert_eq!(raise(3), Reply::Done);
        let refused = Reply::Refused(Refusal::GenerationNotHigher { committed: Generation(3) });
        assert_eq!(raise(3), refused);
        assert_eq!(bench.cell.generation(), Generation(3));
    }
}
