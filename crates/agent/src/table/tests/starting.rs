//! From an order to a process: pace, specifications, attempts of one task after each other.

use paceline_link::message::{Observed, Orders};
use paceline_types::{ExitStatus, Reason};

use super::fake::{EXITED, Node, diff, ends, full, id, job, run, stop, token};
use crate::table::{Action, End, ResyncCause, Seen};

const STOPPED: End = End { status: Some(ExitStatus::Signal(15)), reason: Reason::JobStopped };

#[test]
fn an_order_that_is_repeated_starts_nothing_twice() {
    let mut node = Node::new();
    let orders = full(token(1, 5), vec![run(id(0, 1), 5)]);
    node.order(&orders);
    node.order(&orders);
    node.launch_all();
    node.order(&orders);
    assert_eq!(node.live(), [id(0, 1)]);
}

#[test]
fn launches_keep_to_their_pace() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), (0..20).map(|task| run(id(task, 1), 5)).collect()));
    assert_eq!(node.in_flight, [id(0, 1), id(1, 1), id(2, 1)]);
    node.launched(id(1, 1));
    assert_eq!(node.in_flight.last(), Some(&id(3, 1)), "one is answered, the next follows");
    node.in_flight.retain(|attempt| *attempt != id(1, 1));
    node.launch_all();
    assert_eq!(node.live().len(), 20);
}

#[test]
fn a_newer_attempt_starts_only_after_the_older_one_ended() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.order(&diff(token(1, 6), vec![run(id(0, 2), 6)]));
    assert_eq!(node.stops(id(0, 1)).len(), 1);
    assert!(node.in_flight.is_empty());
    node.exits(id(0, 1), STOPPED);
    assert_eq!(node.in_flight, [id(0, 2)]);
}

#[test]
fn of_three_attempts_only_the_newest_starts() {
    let mut node = Node::new();
    for attempt in 1..=3 {
        node.order(&diff(token(1, 5), vec![run(id(0, attempt), 5)]));
    }
    node.launched(id(0, 1));
    node.in_flight.clear();
    assert_eq!(node.stops(id(0, 1)).len(), 1, "told as soon as the launch was answered");
    node.exits(id(0, 1), STOPPED);
    assert_eq!(node.in_flight, [id(0, 3)]);
}

#[test]
fn an_attempt_older_than_the_one_at_hand_is_not_on_this_node() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 2), 5)]));
    node.launch_all();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    assert_eq!(node.live(), [id(0, 2)]);
    assert_eq!(ends(&node.reports()), [(id(0, 1), End::without_process(Reason::NotOnNode))]);
}

#[test]
fn a_stop_never_overtakes_its_launch() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    let decision = node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
    assert!(!decision.actions.iter().any(|action| matches!(action, Action::Stop { .. })));
    node.launched(id(0, 1));
    assert_eq!(node.stops(id(0, 1)), [50]);
}

#[test]
fn a_shorter_grace_is_passed_on_and_a_longer_one_is_not() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    for grace_ms in [50, 80, 20, 20] {
        let mut order = stop(id(0, 1));
        order.desired = paceline_link::message::Desired::Stop { grace_ms };
        node.order(&diff(token(1, 6), vec![order]));
    }
    assert_eq!(node.stops(id(0, 1)), [50, 20]);
}

#[test]
fn a_stop_that_failed_comes_again() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
    assert!(node.table.retry_stops().actions.is_empty());
    node.table.on_stop_told(id(0, 1), false);
    let again = node.table.retry_stops();
    assert_eq!(again.actions, [Action::Stop { attempt: id(0, 1), grace_ms: 50 }]);
}

#[test]
fn a_stop_of_an_unknown_attempt_keeps_it_from_ever_starting() {
    let mut node = Node::new();
    node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
    node.order(&diff(token(1, 6), vec![run(id(0, 1), 5)]));
    node.restart();
    node.connect();
    node.order(&full(token(1, 6), vec![run(id(0, 1), 5)]));
    assert!(node.in_flight.is_empty());
    assert_eq!(ends(&node.reports()), [(id(0, 1), End::without_process(Reason::NotOnNode))]);
}

#[test]
fn a_launch_that_the_node_could_not_carry_out_is_its_fault_and_an_end_without_a_process() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.in_flight.clear();
    let decision = node.table.on_launched(id(0, 1), false);
    node.carry_out(&decision);
    let failed = End::without_process(Reason::NodeFault);
    assert_eq!(ends(&node.reports()), [(id(0, 1), failed)]);
    node.restart();
    node.connect();
    assert_eq!(ends(&node.reports()), [(id(0, 1), failed)], "also after a restart");
}

#[test]
fn a_process_that_ended_before_its_launch_was_answered_ended_once() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.in_flight.clear();
    node.processes.insert(id(0, 1), super::fake::Process::default());
    node.exits(id(0, 1), EXITED);
    let decision = node.table.on_launched(id(0, 1), true);
    assert!(decision.actions.is_empty());
    assert_eq!(ends(&node.reports()), [(id(0, 1), EXITED)]);
}

/// A try may still fail, and its folder go with whatever a stop has written there.
#[test]
fn an_attempt_that_is_seen_while_its_launch_is_under_way_is_not_started_before_that_is_answered() {
    for launched in [false, true] {
        let mut node = Node::new();
        node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
        node.in_flight.clear();
        let seen = node.table.on_observed(id(0, 1), Seen::Starting);
        assert_eq!((node.table.started().count(), seen.actions), (0, vec![]), "not one to be missed");
        assert!(node.table.on_vanished(id(0, 1)).changes.is_empty(), "between two tries it is nowhere");
        let killed = node.order(&diff(token(1, 6), vec![stop(id(0, 1))]));
        assert!(killed.actions.is_empty(), "a stop now may be lost with the try: {killed:?}");
        assert!(node.table.retry_stops().actions.is_empty());
        let answered = node.table.on_launched(id(0, 1), launched);
        let stops = |action: &Action| matches!(action, Action::Stop { attempt, .. } if *attempt == id(0, 1));
        assert_eq!(answered.actions.iter().any(stops), launched, "{answered:?}");
        if !launched {
            assert_eq!(ends(&node.reports()), [(id(0, 1), End::without_process(Reason::NodeFault))]);
        }
    }
}

#[test]
fn an_undecodable_specification_is_a_failed_launch() {
    let mut node = Node::new();
    let mut orders = diff(token(1, 5), vec![run(id(0, 1), 5)]);
    orders.jobs[0].spec = vec![0xff];
    node.order(&orders);
    assert_eq!(ends(&node.reports()), [(id(0, 1), End::without_process(Reason::LaunchFailed))]);
}

#[test]
fn a_missing_specification_drops_the_session_and_the_next_one_brings_it() {
    let mut node = Node::new();
    node.order(&Orders { jobs: Vec::new(), ..diff(token(1, 5), vec![run(id(0, 1), 5)]) });
    assert_eq!(node.resyncs, [ResyncCause::SpecMissing(job(1))]);
    assert!(node.in_flight.is_empty());
    node.connect();
    node.order(&full(token(1, 5), vec![run(id(0, 1), 5)]));
    assert_eq!(node.in_flight, [id(0, 1)]);
}

#[test]
fn what_an_attempt_did_is_never_undone() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), vec![run(id(0, 1), 5)]));
    node.launch_all();
    node.exits(id(0, 1), EXITED);
    node.reports();
    for seen in [Seen::Starting, Seen::Running { pid: 7 }, Seen::Ended(STOPPED)] {
        node.table.on_observed(id(0, 1), seen);
    }
    assert_eq!(node.table.unreported(), 0);
}

#[test]
fn running_is_reported_with_its_pid_in_runs_of_like_attempts() {
    let mut node = Node::new();
    node.order(&diff(token(1, 5), (0..3).map(|task| run(id(task, 1), 5)).collect()));
    node.launch_all();
    let reports = node.reports();
    assert_eq!(reports.len(), 1);
    let [running] = &reports[0].runs[..] else { panic!("one run: {reports:?}") };
    assert_eq!((running.tasks.to_string().as_str(), &running.pids[..]), ("0-2", &[7, 7, 7][..]));
    assert_eq!(running.observed, Observed::Running);
}
