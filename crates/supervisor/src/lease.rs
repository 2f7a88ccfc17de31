//! What a lease allows at a moment: a pure function, the same in every runtime.
//!
//! The supervisor enforces it, because it goes on when the agent is stopped. It leaves granting to the
//! leader, and the margin for clocks that drift to the leader's wait before it replaces.

use crate::record::lease::Lease;

/// What to do with a task that must not run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No lease yet: it must not start.
    Wait,
    /// It may run; look again at this time of the boot clock, in milliseconds.
    RunUntil(u64),
    /// Time is nearly up: SIGTERM, so that it is gone by this time of the boot clock.
    StopBy(u64),
    /// The lease is over: SIGKILL now.
    Kill,
}

/// Decides at `now_boot_ms`. `grace_ms` is what the task gets between SIGTERM and SIGKILL; it is taken from
/// the end of the lease, for the task must be gone when the lease is.
#[must_use]
pub fn decide(lease: Option<&Lease>, grace_ms: u64, now_boot_ms: u64) -> Decision {
    let Some(lease) = lease else { return Decision::Wait };
    let end = lease.asked_boot_ms.saturating_add(lease.duration_ms);
    let stop = end.saturating_sub(grace_ms).max(lease.asked_boot_ms);
    match now_boot_ms {
        now if now >= end => Decision::Kill,
        now if now >= stop => Decision::StopBy(end),
        _ => Decision::RunUntil(stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease = Lease { asked_boot_ms: 1_000, duration_ms: 500 };

    #[test]
    fn without_a_lease_nothing_starts() {
        assert_eq!(decide(None, 0, 0), Decision::Wait);
    }

    #[test]
    fn the_grace_is_taken_from_the_end_of_the_lease() {
        for (now, expected) in [
            (1_000, Decision::RunUntil(1_400)),
            (1_399, Decision::RunUntil(1_400)),
            (1_400, Decision::StopBy(1_500)),
            (1_499, Decision::StopBy(1_500)),
            (1_500, Decision::Kill),
        ] {
            assert_eq!(decide(Some(&LEASE), 100, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_grace_longer_than_the_lease_stops_at_once_and_does_not_wrap() {
        assert_eq!(decide(Some(&LEASE), u64::MAX, 1_000), Decision::StopBy(1_500));
        let for_ever = Lease { asked_boot_ms: 5, duration_ms: u64::MAX };
        assert_eq!(decide(Some(&for_ever), 0, 10), Decision::RunUntil(u64::MAX));
    }
}
