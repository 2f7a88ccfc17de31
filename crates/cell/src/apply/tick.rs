//! Tick: the cell clock moves, and request records of silent clients expire.
//!
//! The clock counts time in which a leader was at work, so that neither an outage nor a wall clock that jumps
//! expires anything.

use super::{Outcome, Work};
use crate::refusal::{Counter, Refusal};
use crate::reply::Reply;

/// The longest step: a leader that was away for longer proposes a step of zero.
pub const TICK_STEP_MS_MAX: u64 = 5_000;

impl Work<'_> {
    pub(super) fn tick(&mut self, from_ms: u64, step_ms: u64) -> Outcome {
        let committed_ms = self.cell.clock_ms;
        if from_ms != committed_ms {
            return Err(Refusal::ClockMismatch { committed_ms });
        }
        if step_ms > TICK_STEP_MS_MAX {
            return Err(Refusal::StepTooLarge { limit_ms: TICK_STEP_MS_MAX });
        }
        let clock_ms = committed_ms.checked_add(step_ms);
        let clock_ms = clock_ms.ok_or(Refusal::Exhausted { counter: Counter::Clock })?;
        self.cell.clock_ms = clock_ms;
        self.cell.requests.expire(clock_ms, self.cell.config.request_retention_ms);
        Ok(Reply::Ticked { clock_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    #[test]
    fn a_tick_moves_the_clock_only_from_where_it_is() {
        let mut bench = Bench::new();
        let mut tick = |from_ms, step_ms| bench.one(CommandBody::Tick { from_ms, step_ms });
        assert_eq!(tick(0, 1_000), Reply::Ticked { clock_ms: 1_000 });
        let behind = Reply::Refused(Refusal::ClockMismatch { committed_ms: 1_000 });
        assert_eq!(tick(0, 1_000), behind, "two leaders cannot count the same second twice");
        let long = Reply::Refused(Refusal::StepTooLarge { limit_ms: TICK_STEP_MS_MAX });
        assert_eq!(tick(1_000, 5_001), long);
        assert_eq!(tick(1_000, 5_000), Reply::Ticked { clock_ms: 6_000 });
    }
}
