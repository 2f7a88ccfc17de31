//! Leases: what is asked for, when, and what a grant covers.

use paceline_link::message::Lease as Granted;
use paceline_runtime::Lease;
use paceline_types::{FenceToken, Generation, LEASE_MS};

use super::fake::{EXITED, Node, diff, full, id, leased_body, run, stop, token};

fn grant(number: u64, token: FenceToken) -> Granted {
    Granted { number, token, duration_ms: LEASE_MS }
}

fn lease(asked_boot_ms: u64) -> Option<Lease> {
    Some(Lease { asked_boot_ms, duration_ms: LEASE_MS })
}

/// A node with one attempt that needs a lease, assigned at revision 5, taken on by the runtime.
fn node() -> Node {
    let mut node = Node::new();
    node.order(&leased_body(full(token(1, 5), vec![run(id(0, 1), 5)])));
    let attempt = node.in_flight.remove(0);
    node.launched(attempt);
    node
}

#[test]
fn a_node_without_such_attempts_never_asks() {
    let mut node = Node::new();
    node.order(&full(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    assert!(!node.table.wants_lease() && !node.table.wants_lease_now());
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let mut node = node();
    assert!(node.table.wants_lease_now() && node.table.wants_lease());
    let number = node.table.ask_lease(1_000);
    assert!(!node.table.wants_lease_now(), "asked already");
    node.granted(&grant(number, token(1, 5)));
    assert_eq!(node.processes[&id(0, 1)].lease, lease(1_000));
    node.granted(&grant(number, token(1, 5)));
    node.granted(&grant(9, token(1, 5)));
    assert_eq!(node.leases_told, 1, "an answer counts once, and one to nothing not at all");
}

#[test]
fn of_several_requests_each_answer_gives_its_own_and_none_an_older_one() {
    let mut node = node();
    let numbers: Vec<u64> = (1..=6).map(|at| node.table.ask_lease(at * 1_000)).collect();
    node.granted(&grant(numbers[0], token(1, 5)));
    assert_eq!(node.leases_told, 0, "four are waited for");
    node.granted(&grant(numbers[4], token(1, 5)));
    node.granted(&grant(numbers[3], token(1, 5)));
    assert_eq!(node.processes[&id(0, 1)].lease, lease(5_000));
    node.granted(&grant(numbers[5], token(1, 5)));
    assert_eq!(node.processes[&id(0, 1)].lease, lease(6_000));
}

#[test]
fn an_attempt_starts_only_under_a_lease_granted_after_its_assignment() {
    let mut node = node();
    let number = node.table.ask_lease(1_000);
    node.order(&leased_body(diff(token(1, 7), vec![run(id(1, 1), 7)])));
    let attempt = node.in_flight.remove(0);
    node.launched(attempt);
    let older = FenceToken { revision: paceline_types::Revision(6), ..token(1, 7) };
    node.granted(&grant(number, older));
    assert_eq!(node.leases_told, 0, "the agent has orders of a later view");
    let number = node.table.ask_lease(2_000);
    node.granted(&grant(number, token(1, 7)));
    assert_eq!(node.processes[&id(1, 1)].lease, lease(2_000));
    let other = FenceToken { generation: Generation(1), ..token(1, 7) };
    let number = node.table.ask_lease(3_000);
    node.granted(&grant(number, other));
    assert_eq!(node.processes[&id(1, 1)].lease, lease(2_000), "another generation counts revisions anew");
}

#[test]
fn what_was_launched_after_the_grant_gets_the_lease_that_covers_it() {
    let mut node = Node::new();
    node.order(&leased_body(full(token(1, 5), vec![run(id(0, 1), 5)])));
    let number = node.table.ask_lease(1_000);
    node.granted(&grant(number, token(1, 5)));
    assert_eq!(node.leases_told, 0, "the runtime does not have it yet");
    let attempt = node.in_flight.remove(0);
    node.launched(attempt);
    assert_eq!(node.processes[&id(0, 1)].lease, lease(1_000));
}

#[test]
fn what_must_end_and_what_has_ended_is_not_renewed() {
    let mut node = node();
    node.order(&leased_body(diff(token(1, 6), vec![run(id(1, 1), 6), run(id(2, 1), 6)])));
    node.launch_all();
    node.order(&diff(token(1, 7), vec![stop(id(0, 1))]));
    node.exits(id(1, 1), EXITED);
    let number = node.table.ask_lease(1_000);
    node.granted(&grant(number, token(1, 7)));
    let leases = [0, 1, 2].map(|task| node.processes[&id(task, 1)].lease);
    assert_eq!(leases, [None, None, lease(1_000)]);
}

#[test]
fn a_new_session_asks_anew_and_only_after_it_was_told_what_must_end() {
    let mut node = node();
    let before = node.table.ask_lease(1_000);
    node.connect();
    assert!(!node.table.wants_lease(), "the full set has not come");
    node.granted(&grant(before, token(1, 5)));
    assert_eq!(node.leases_told, 0, "asked in the session before");
    node.order(&leased_body(full(token(1, 6), vec![run(id(0, 1), 5)])));
    let number = node.table.ask_lease(2_000);
    node.granted(&grant(number, token(1, 6)));
    assert_eq!(node.processes[&id(0, 1)].lease, lease(2_000));
}

#[test]
fn an_agent_that_comes_back_asks_for_what_runs() {
    let mut node = node();
    node.restart();
    node.connect();
    node.order(&leased_body(full(token(1, 6), vec![run(id(0, 1), 5)])));
    assert!(node.table.wants_lease_now());
}

#[test]
fn the_grant_of_a_leader_of_the_past_is_dropped() {
    let mut node = node();
    let number = node.table.ask_lease(1_000);
    node.order(&diff(token(2, 5), vec![]));
    node.granted(&grant(number, token(1, 9)));
    assert_eq!(node.leases_told, 0);
}
