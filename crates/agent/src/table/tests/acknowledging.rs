//! Reports until they are acknowledged: sequences, full tables, forgetting.

use paceline_types::{NodeEpoch, Reason};

use super::fake::{EXITED, Node, diff, ends, full, id, run, token};
use crate::table::End;

fn node_with_one_end() -> Node {
    let mut node = Node::new();
    node.reports();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.exits(id(0, 1), EXITED);
    node
}

#[test]
fn an_empty_table_is_reported_as_complete() {
    let mut node = Node::new();
    let reports = node.reports();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].table_complete && reports[0].runs.is_empty() && reports[0].sequence == 1);
}

#[test]
fn nothing_is_reported_before_the_welcome() {
    let mut node = node_with_one_end();
    node.table.on_session();
    assert_eq!(node.table.unreported(), 0);
    assert!(node.table.next_report().is_none());
    node.table.on_welcome(NodeEpoch(1));
    assert_eq!(ends(&node.reports()), [(id(0, 1), EXITED)]);
}

#[test]
fn an_end_is_kept_until_it_is_acknowledged_and_then_forgotten() {
    let mut node = node_with_one_end();
    let reports = node.reports();
    assert_eq!((reports[0].sequence, ends(&reports)), (2, vec![(id(0, 1), EXITED)]));
    node.acknowledge(1);
    assert_eq!(node.table.counts().ended, 1, "another report");
    node.acknowledge(3);
    assert_eq!(node.table.counts().ended, 1, "a report that was never sent");
    node.acknowledge(2);
    assert_eq!(node.table.counts().ended, 0);
    assert!(node.processes.is_empty());
}

#[test]
fn an_end_that_came_after_the_report_is_not_covered_by_its_acknowledgement() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    let running = node.reports().pop().expect("running was reported");
    node.exits(id(0, 1), EXITED);
    node.acknowledge(running.sequence);
    assert_eq!(node.table.counts().ended, 1);
    assert_eq!(ends(&node.reports()), [(id(0, 1), EXITED)]);
}

#[test]
fn a_new_session_sends_the_full_table_from_sequence_one() {
    let mut node = node_with_one_end();
    node.order(&diff(token(1, 6), vec![run(id(1, 1), 6)]));
    node.launch_all();
    node.reports();
    node.connect();
    let reports = node.reports();
    assert_eq!(reports.iter().map(|report| report.sequence).collect::<Vec<_>>(), [1]);
    assert!(reports[0].table_complete);
    assert_eq!(reports[0].runs.len(), 2, "one runs, one ended");
    assert_eq!(ends(&reports), [(id(0, 1), EXITED)]);
}

#[test]
fn an_acknowledgement_of_the_session_before_means_nothing_in_this_one() {
    let mut node = node_with_one_end();
    node.reports();
    node.connect();
    node.acknowledge(2);
    assert_eq!(node.table.counts().ended, 1);
}

#[test]
fn a_second_welcome_repeats_the_table_only_under_another_epoch_and_goes_on_counting() {
    let mut node = node_with_one_end();
    let before = node.reports().pop().expect("a report").sequence;
    node.table.on_welcome(NodeEpoch(1));
    assert_eq!(node.reports(), [], "the shard has it all");
    node.table.on_welcome(NodeEpoch(2));
    let reports = node.reports();
    assert_eq!(reports[0].sequence, before + 1);
    assert!(reports[0].table_complete);
    assert_eq!(ends(&reports), [(id(0, 1), EXITED)]);
    node.acknowledge(before + 1);
    assert_eq!(node.table.counts().ended, 0);
}

#[test]
fn the_full_table_goes_in_parts_of_which_the_last_is_marked() {
    let limits = crate::table::TableLimits {
        attempts: 10_000,
        launches_in_flight: 10_000,
        ..crate::table::TableLimits::default()
    };
    let mut node = Node::new();
    node.table = crate::table::AgentTable::new(limits, super::fake::decode);
    node.connect();
    node.order(&diff(token(1, 5), (0..9_000).map(|task| run(id(task, 1), 5)).collect()));
    node.launch_all();
    node.connect();
    let reports = node.reports();
    let complete: Vec<_> = reports.iter().map(|report| report.table_complete).collect();
    assert_eq!(complete, [false, false, true]);
    let tasks: u64 = reports.iter().flat_map(|report| &report.runs).map(|run| run.tasks.count()).sum();
    assert_eq!(tasks, 9_000);
}

#[test]
fn what_was_acknowledged_never_starts_again() {
    let mut node = node_with_one_end();
    let sequence = node.reports().pop().expect("a report").sequence;
    node.acknowledge(sequence);
    for again in 0..2 {
        node.order(&full(token(1, 5), vec![run(id(0, 1), 5)]));
        assert!(node.in_flight.is_empty());
        let reports = node.reports();
        assert_eq!(ends(&reports), [(id(0, 1), End::without_process(Reason::NotOnNode))], "{again}");
        node.acknowledge(reports.last().expect("a report").sequence);
        node.restart();
        node.connect();
        node.reports();
    }
}

#[test]
fn a_changed_epoch_is_stored() {
    let mut node = Node::new();
    let decision = node.table.on_welcome(NodeEpoch(4));
    node.carry_out(&decision);
    node.restart();
    assert_eq!(node.table.epoch(), NodeEpoch(4));
}
