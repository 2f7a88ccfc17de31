//! How long to wait between rounds of dialling, and when a master may be asked again. Pure: the jitter is
//! handed in, times are milliseconds since the link began.
//!
//! A wait spares whoever is dialled. A connection that is refused because nobody listens costs nobody
//! anything, so an agent looks for the return of its shards every second or two however long they are away;
//! a handshake or a session that came to nothing was somebody's work, and is repeated ever more rarely.

use crate::config::Timings;
use crate::jitter::Jitter;

/// Agents of a shard that died come back spread over this: ten thousand of them are twenty a millisecond.
pub(super) const RETURN_SPREAD_MS: u64 = 500;
/// Masters are asked for shards this long apart at least, and twice as long at most: ten thousand agents
/// without a shard ask 333 times a second, some tenth of a core over all masters.
const ASK_EVERY_MS: u64 = 20_000;
/// Doublings beyond any bound.
const DOUBLINGS_MAX: u32 = 16;

/// The waits of one link.
#[derive(Debug)]
pub(super) struct Pace {
    min_ms: u64,
    absent_max_ms: u64,
    max_ms: u64,
    /// Failures since the last Welcome.
    failures: u32,
    /// From when on a master may be asked although shards are known.
    ask_at_ms: u64,
}

impl Pace {
    pub(super) const fn new(timings: &Timings) -> Self {
        let (min_ms, max_ms) = (timings.backoff_min_ms, timings.backoff_max_ms);
        let absent_max_ms = timings.backoff_absent_max_ms;
        Self { min_ms, absent_max_ms, max_ms, failures: 0, ask_at_ms: 0 }
    }

    /// A session is good. When it is lost, and every shard with it, ten thousand agents must not all ask a
    /// master at once: each first takes its place in the interval.
    pub(super) fn welcomed(&mut self) {
        self.failures = 0;
        self.ask_at_ms = u64::MAX;
    }

    /// The wait after a failure that was work for somebody, or was not.
    pub(super) fn failed(&mut self, costly: bool, now_ms: u64, jitter: &mut Jitter) -> u64 {
        self.failures = self.failures.saturating_add(1);
        if self.ask_at_ms == u64::MAX {
            self.ask_at_ms = now_ms.saturating_add(jitter.below(ASK_EVERY_MS));
        }
        self.wait(costly, jitter)
    }

    /// The wait after something that was no failure.
    pub(super) fn wait(&self, costly: bool, jitter: &mut Jitter) -> u64 {
        let most = if costly { self.max_ms } else { self.absent_max_ms.min(self.max_ms) };
        let Some(doublings) = self.failures.checked_sub(2) else {
            return jitter.below(RETURN_SPREAD_MS.min(most));
        };
        let doubled = self.min_ms.saturating_mul(1 << doublings.min(DOUBLINGS_MAX));
        jitter.upper_half_ms(doubled.min(most))
    }

    /// Whether a master is asked in the round that begins; if so, not again for a while.
    pub(super) fn may_ask(&mut self, now_ms: u64, jitter: &mut Jitter) -> bool {
        let may = now_ms >= self.ask_at_ms;
        if may {
            self.ask_at_ms = now_ms.saturating_add(ASK_EVERY_MS + jitter.below(ASK_EVERY_MS));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> (Pace, Jitter) {
        (Pace::new(&Timings::default()), Jitter::new(7))
    }

    #[test]
    fn shards_that_are_gone_are_looked_for_every_other_second_however_long_they_are_away() {
        let (mut pace, mut jitter) = pace();
        let waits: Vec<_> = (0..2_000).map(|_| pace.failed(false, 0, &mut jitter)).collect();
        assert!(waits[0] < RETURN_SPREAD_MS && waits[1] <= 100);
        assert!(waits[10..].iter().all(|wait| (1_000..=2_000).contains(wait)));
    }

    #[test]
    fn shards_that_answer_and_do_not_serve_are_dialled_ever_more_rarely() {
        let (mut pace, mut jitter) = pace();
        let waits: Vec<_> = (0..20).map(|_| pace.failed(true, 0, &mut jitter)).collect();
        assert!(waits[10..].iter().all(|wait| (5_000..=10_000).contains(wait)));
        assert!(pace.failed(false, 0, &mut jitter) <= 2_000, "gone altogether, they cost nobody anything");
        pace.welcomed();
        assert!(pace.failed(true, 0, &mut jitter) < RETURN_SPREAD_MS);
    }

    #[test]
    fn ten_thousand_agents_without_a_shard_do_not_storm_the_masters() {
        let mut asked_in_second = [0_u32; 120];
        for agent in 0..10_000 {
            let (mut pace, mut jitter) = (Pace::new(&Timings::default()), Jitter::new(agent));
            pace.welcomed();
            let mut now_ms = 0;
            while now_ms < 120_000 {
                now_ms += pace.failed(false, now_ms, &mut jitter);
                let second = usize::try_from(now_ms / 1_000).unwrap();
                if pace.may_ask(now_ms, &mut jitter) && second < 120 {
                    asked_in_second[second] += 1;
                }
            }
        }
        let most = asked_in_second.iter().max();
        assert!(most < Some(&1_000), "{asked_in_second:?}");
        assert!(asked_in_second[60..].iter().sum::<u32>() > 10_000, "each is told within a minute");
    }

    #[test]
    fn an_agent_that_starts_asks_at_once() {
        let (mut pace, mut jitter) = pace();
        assert!(pace.may_ask(0, &mut jitter));
        assert!(!pace.may_ask(ASK_EVERY_MS - 1, &mut jitter));
        assert!(pace.may_ask(2 * ASK_EVERY_MS, &mut jitter));
    }
}
