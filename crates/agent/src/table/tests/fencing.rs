//! Who may order what: tokens, full sets, absence.

use paceline_link::message::{OrderSet, Orders};
use paceline_types::{FenceToken, Generation, IndexRange, Reason};

use super::fake::{Node, diff, full, id, run, stop, token};
use crate::table::{Change, ResyncCause};

#[test]
fn orders_below_the_highest_token_change_nothing() {
    let mut node = Node::new();
    node.order(&diff(token(2, 10), vec![run(id(0, 1), 10)]));
    node.launch_all();
    for stale in [token(1, 99), token(2, 9)] {
        let decision = node.order(&full(stale, vec![run(id(1, 1), 5), stop(id(0, 1))]));
        assert_eq!(decision.stale_below, Some(token(2, 10)));
        assert!(decision.changes.is_empty() && decision.actions.is_empty());
    }
    assert_eq!(node.live(), [id(0, 1)]);
}

#[test]
fn the_highest_token_is_stored_before_its_orders_are_followed() {
    let mut node = Node::new();
    let decision = node.order(&diff(token(2, 10), vec![run(id(0, 1), 10)]));
    assert_eq!(decision.changes[0], Change::Fence(token(2, 10)));
    node.restart();
    node.connect();
    assert_eq!(node.order(&diff(token(1, 99), Vec::new())).stale_below, Some(token(2, 10)));
}

#[test]
fn absence_from_a_full_set_stops_what_was_assigned_by_then() {
    let mut node = Node::new();
    node.order(&diff(token(1, 10), vec![run(id(0, 1), 5), run(id(1, 1), 8), run(id(2, 1), 10)]));
    node.launch_all();
    node.order(&full(token(2, 10), vec![run(id(1, 1), 8)]));
    assert_eq!(node.stops(id(0, 1)), [super::fake::GRACE_MS], "with the grace of its specification");
    assert_eq!(node.stops(id(1, 1)), [] as [u64; 0]);
    assert_eq!(node.stops(id(2, 1)).len(), 1);
}

#[test]
fn absence_from_a_set_older_than_the_assignment_stops_nothing() {
    let mut node = Node::new();
    // The successor's order names a revision that a set made from an older view cannot know.
    node.order(&diff(token(1, 10), vec![run(id(0, 1), 12)]));
    node.launch_all();
    node.order(&full(token(1, 11), Vec::new()));
    assert_eq!(node.stops(id(0, 1)), [] as [u64; 0]);
    node.order(&full(token(1, 12), Vec::new()));
    assert_eq!(node.stops(id(0, 1)).len(), 1);
}

#[test]
fn absence_from_a_change_stops_nothing() {
    let mut node = Node::new();
    node.order(&diff(token(1, 10), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.order(&diff(token(1, 20), Vec::new()));
    assert_eq!(node.stops(id(0, 1)), [] as [u64; 0]);
}

fn part(token: FenceToken, first: bool, last: bool, tasks: &[u32]) -> Orders {
    let runs = tasks.iter().map(|&task| run(id(task, 1), 1)).collect();
    Orders { set: OrderSet::Full { first, last }, ..diff(token, runs) }
}

#[test]
fn a_full_set_counts_from_its_first_part_to_its_last() {
    let mut node = Node::new();
    node.order(&part(token(1, 5), true, true, &[0, 1, 2]));
    node.launch_all();
    node.order(&part(token(1, 6), true, false, &[0]));
    assert!(node.live().iter().all(|&attempt| node.stops(attempt).is_empty()), "not before the last part");
    node.order(&part(token(1, 6), false, true, &[1]));
    assert_eq!(node.stops(id(2, 1)).len(), 1);
    assert!(node.stops(id(0, 1)).is_empty() && node.stops(id(1, 1)).is_empty());
}

#[test]
fn a_set_that_was_not_seen_whole_stops_nothing() {
    for broken in [
        vec![part(token(1, 6), false, true, &[0])],
        vec![part(token(1, 6), true, false, &[0]), part(token(1, 7), false, true, &[])],
    ] {
        let mut node = Node::new();
        node.order(&part(token(1, 5), true, true, &[0, 1, 2]));
        node.launch_all();
        broken.iter().for_each(|orders| drop(node.order(orders)));
        assert!(node.live().iter().all(|&attempt| node.stops(attempt).is_empty()));
    }
    let mut node = Node::new();
    node.order(&part(token(1, 5), true, true, &[0, 1]));
    node.launch_all();
    node.order(&part(token(1, 6), true, false, &[0]));
    node.connect();
    node.order(&part(token(1, 6), false, true, &[]));
    assert!(node.stops(id(1, 1)).is_empty(), "a new session begins without parts");
}

#[test]
fn a_restore_outranks_revisions_of_before() {
    let mut node = Node::new();
    node.order(&diff(token(9, 900), vec![run(id(0, 1), 900)]));
    node.launch_all();
    let restored = FenceToken { generation: Generation(1), ..token(1, 100) };
    node.order(&full(restored, Vec::new()));
    assert_eq!(node.stops(id(0, 1)).len(), 1);
}

#[test]
fn an_attempt_that_is_absent_before_it_started_never_starts() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), (0..5).map(|task| run(id(task, 1), 5)).collect()));
    assert_eq!(node.in_flight.len(), 3, "as many as may be in flight");
    node.order(&full(token(1, 6), (0..3).map(|task| run(id(task, 1), 5)).collect()));
    node.launch_all();
    assert_eq!(node.live(), [id(0, 1), id(1, 1), id(2, 1)]);
    let ends = super::fake::ends(&node.reports());
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|(_, end)| end.status.is_none() && end.reason == Reason::NotOnNode));
}

#[test]
fn more_than_the_table_holds_drops_the_session_and_keeps_what_is_there() {
    let mut node = Node::new();
    let held = super::fake::limits().attempts;
    let mut orders = diff(token(1, 5), vec![run(id(0, 1), 5)]);
    orders.runs[0].tasks = IndexRange::new(0, 59).into_iter().collect();
    node.order(&orders);
    assert_eq!(node.resyncs, [ResyncCause::TooManyAttempts(held)]);
    assert_eq!(node.table.counts().starting, held);
    orders.runs[0].tasks = IndexRange::new(0, u32::MAX).into_iter().collect();
    node.order(&orders);
    assert_eq!(node.resyncs.len(), 2, "without walking four billion indices");
}
