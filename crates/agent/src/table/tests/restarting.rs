//! An agent that was killed and comes back to what it had stored and what the runtime kept.

use paceline_types::{ExitStatus, Reason};

use super::fake::{EXITED, Node, Process, diff, ends, full, id, run, stop, token};
use crate::table::{AgentTable, End, Seen, Stored};

#[test]
fn processes_live_through_the_agent_and_ends_of_meanwhile_are_reported() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5), run(id(1, 1), 5)]));
    node.launch_all();
    let failed = End { status: Some(ExitStatus::Code(3)), reason: Reason::ExitedNonZero };
    node.processes.get_mut(&id(1, 1)).expect("launched").end = Some(failed);
    node.restart();
    node.connect();
    let reports = node.reports();
    assert_eq!(ends(&reports), [(id(1, 1), failed)]);
    assert_eq!(reports[0].runs.len(), 2);
    node.order(&full(token(1, 5), vec![run(id(0, 1), 5)]));
    assert_eq!(node.live(), [id(0, 1)]);
    assert!(node.stops(id(0, 1)).is_empty());
}

#[test]
fn what_was_taken_on_but_not_started_starts_when_it_is_named_again() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), (0..5).map(|task| run(id(task, 1), 5)).collect()));
    node.restart();
    node.connect();
    assert!(node.in_flight.is_empty(), "not before it is ordered");
    node.order(&full(token(1, 6), vec![run(id(4, 1), 5)]));
    assert_eq!(node.in_flight, [id(4, 1)]);
    assert_eq!(ends(&node.reports()).len(), 4);
}

#[test]
fn a_kill_that_was_ordered_goes_on_after_the_restart() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
    node.restart();
    assert_eq!(node.stops(id(0, 1)), [50, 50]);
}

#[test]
fn a_kill_of_a_launch_that_never_happened_is_an_end() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
    node.restart();
    node.connect();
    assert_eq!(ends(&node.reports()), [(id(0, 1), End::without_process(Reason::NotOnNode))]);
    node.order(&full(token(1, 6), vec![run(id(0, 1), 5)]));
    assert!(node.in_flight.is_empty());
}

#[test]
fn a_forgetting_that_was_cut_short_is_finished() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.exits(id(0, 1), EXITED);
    let sequence = node.reports().pop().expect("a report").sequence;
    let decision = node.table.on_acknowledge(sequence);
    decision.changes.iter().for_each(|change| node.stored.apply(change));
    node.restart();
    assert!(node.processes.is_empty());
    assert_eq!(node.table.counts().ended, 0);
}

#[test]
fn an_attempt_that_only_the_runtime_knows_is_safe_from_older_sets() {
    let mut node = Node::new();
    node.processes.insert(id(0, 1), Process { running: true, ..Process::default() });
    node.stored = Stored { fence: token(3, 30), ..Stored::default() };
    node.restart();
    node.connect();
    node.order(&full(token(2, 40), Vec::new()));
    assert!(node.stops(id(0, 1)).is_empty());
    node.order(&full(token(3, 30), Vec::new()));
    assert_eq!(node.stops(id(0, 1)).len(), 1);
}

#[test]
fn attempts_of_another_boot_are_reported_as_rebooted_and_never_start_again() {
    let rebooted = End::without_process(Reason::NodeRebooted);
    let seen = vec![(id(0, 1), Seen::Ended(rebooted))];
    let mut node = Node::new();
    let fence = token(1, 9);
    let (table, decision) = AgentTable::recover(
        super::fake::limits(),
        super::fake::decode,
        Stored { fence, ..Stored::default() },
        seen,
    );
    assert!(decision.actions.is_empty());
    node.table = table;
    node.processes.insert(id(0, 1), Process { end: Some(rebooted), ..Process::default() });
    node.connect();
    node.order(&full(fence, vec![run(id(0, 1), 5)]));
    assert!(node.in_flight.is_empty());
    assert_eq!(ends(&node.reports()), [(id(0, 1), rebooted)]);
}
