//! Tasks that may run only under a lease.

use paceline_supervisor::Lease;
use paceline_types::{AttemptId, ExitStatus, OnStop, Reason, Script};

use super::{Bench, SCRIPT, id, launch};
use crate::runtime::{Launch, Observed, Runtime};

const GRACE_MS: u64 = 200;

fn leased(bench: &Bench, on_stop: OnStop) -> AttemptId {
    let script = Script { runs_ms: 60_000, on_stop, ..SCRIPT };
    bench.runtime.launch(&Launch { at_most_one: true, ..launch(1, Some(script)) }).unwrap();
    id(1)
}

fn renew(bench: &Bench, asked_boot_ms: u64) {
    let lease = Lease { asked_boot_ms, duration_ms: 1_000 };
    bench.runtime.renew_lease(&id(1), lease).unwrap();
}

#[test]
fn nothing_starts_before_a_lease_that_leaves_time_to_run() {
    let bench = Bench::new();
    let attempt = leased(&bench, OnStop::Ignores);
    bench.at(3_000);
    assert_eq!(bench.observe(attempt), Observed::Starting);
    renew(&bench, 2_100);
    assert_eq!(bench.observe(attempt), Observed::Starting, "only its grace is left of it");
    renew(&bench, 2_900);
    assert!(bench.runs(attempt));
    let alive = bench.node.take_lives().alive;
    assert_eq!(alive[0].started_boot_ms, 3_000);
}

#[test]
fn a_lease_that_is_renewed_goes_on_and_one_that_is_not_ends_the_task_before_it_is_over() {
    for (on_stop, status, ended) in [
        (OnStop::EndsAfter(50), ExitStatus::Signal(15), 1_500 + 1_000 - GRACE_MS + 50),
        (OnStop::Ignores, ExitStatus::Signal(9), 1_500 + 1_000),
    ] {
        let bench = Bench::new();
        let attempt = leased(&bench, on_stop);
        for asked in [0, 500, 1_000, 1_500] {
            bench.at(asked + 100);
            renew(&bench, asked);
        }
        bench.at(2_299);
        assert!(bench.runs(attempt));
        assert_eq!(bench.node.next_due_ms(), Some(2_300));
        bench.at(10_000);
        assert_eq!(bench.end(attempt), (status, Reason::LeaseEnded, ended));
        assert_eq!(bench.node.take_lives().ended[0].ended_boot_ms, Some(ended));
    }
}

#[test]
fn a_lease_that_comes_when_the_task_was_told_to_go_does_not_call_it_back() {
    let bench = Bench::new();
    let attempt = leased(&bench, OnStop::Ignores);
    renew(&bench, 0);
    bench.at(900);
    renew(&bench, 850);
    bench.at(5_000);
    assert_eq!(bench.end(attempt), (ExitStatus::Signal(9), Reason::LeaseEnded, 1_000));
}

#[test]
fn a_stop_with_a_long_grace_does_not_outlast_the_lease() {
    let bench = Bench::new();
    let attempt = leased(&bench, OnStop::Ignores);
    renew(&bench, 0);
    bench.at(100);
    bench.runtime.stop(&attempt, 60_000).unwrap();
    bench.at(5_000);
    assert_eq!(bench.end(attempt), (ExitStatus::Signal(9), Reason::JobStopped, 1_000));
}

#[test]
fn what_waits_for_a_lease_can_be_stopped_and_never_starts() {
    let bench = Bench::new();
    let attempt = leased(&bench, OnStop::Ignores);
    bench.runtime.stop(&attempt, 10).unwrap();
    renew(&bench, 0);
    let exit = bench.exit(attempt);
    assert_eq!((exit.status, exit.reason, exit.pid), (ExitStatus::Code(127), Reason::JobStopped, 0));
    assert_eq!(bench.node.take_lives(), crate::simulated::Lives::default());
}
