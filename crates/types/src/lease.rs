//! The lease without which an `at_most_one` attempt must not run: how long it lasts, and what follows from that.
//!
//! All masters, agents and supervisors of a cell go by the same numbers, and leases outlive the master that granted them:
//! a longer one may only be granted once every voter waits for the longer one (a feature level, A-15).

/// How long a lease lasts from the moment at which the agent asked for it: so long may masters, shards or the way to them
/// be away before the task must end.
pub const LEASE_MS: u64 = 40_000;

/// By how much clocks of two machines may drift apart, in thousandths: a hundred times what a quartz does.
pub const LEASE_DRIFT_PERMILLE: u64 = 50;

/// How long the leader waits, on its own clock, until a lease that was asked for before must be over on any other's.
pub const LEASE_WAIT_MS: u64 = LEASE_MS + LEASE_MS * LEASE_DRIFT_PERMILLE / 1_000;

/// How often an agent asks: a lease survives several answers that do not come.
pub const LEASE_ASK_EVERY_MS: u64 = LEASE_MS / 8;

/// Longest grace of a task that needs a lease. It is taken from the lease's end, and the rest must outlast an election.
pub const LEASE_GRACE_MS_MAX: u64 = LEASE_MS / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_two_answers_that_do_not_come_and_the_leader_waits_longer_than_any_lease() {
        const { assert!(LEASE_MS - LEASE_GRACE_MS_MAX > 3 * LEASE_ASK_EVERY_MS) };
        // A slow clock under the task and a fast one at the leader, each half of what they may be apart.
        let half = LEASE_DRIFT_PERMILLE / 2;
        assert!(LEASE_WAIT_MS * (1_000 - half) >= LEASE_MS * 1_000 * (1_000 - half) / 1_000);
        assert_eq!(LEASE_WAIT_MS, 42_000);
    }
}
