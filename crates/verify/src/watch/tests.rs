//! Right watches are accepted; each way of breaking one is caught.

use super::*;

const WATCH: WatchId = WatchId(1);

fn job(revision: u64) -> JobUid {
    JobUid { revision: Revision(revision), ordinal: 0 }
}

fn event(ordinal: u32, of: u64, says: &'static str) -> Event<&'static str> {
    Event { ordinal, job: Some(job(of)), says }
}

fn node(ordinal: u32) -> Event<&'static str> {
    Event { ordinal, job: None, says: "node" }
}

/// What was committed in every test: revisions 2, 4 and 6 have events.
fn committed() -> Vec<(u64, Vec<Event<&'static str>>)> {
    vec![
        (2, vec![event(0, 2, "submitted")]),
        (4, vec![node(0), event(1, 2, "assigned"), event(2, 2, "running")]),
        (6, vec![event(0, 2, "ended")]),
    ]
}

fn watches() -> Watches<&'static str> {
    let mut watches = Watches::default();
    for (revision, events) in committed() {
        watches.committed(Revision(revision), events);
    }
    watches.known_to(Revision(7));
    watches
}

fn change(watches: &mut Watches<&'static str>, at: usize) {
    let (revision, events) = committed().swap_remove(at);
    watches.change(WATCH, Revision(revision), events);
}

/// The one violation, in words.
fn caught(watches: &mut Watches<&'static str>) -> String {
    let found = watches.finish(Revision(7));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn a_watch_that_delivers_everything_across_a_break_is_accepted() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(0), None);
    watches.progress(WATCH, Revision(1));
    change(&mut watches, 0);
    watches.broken(WATCH);
    watches.opened(WATCH, Revision(2), None);
    watches.progress(WATCH, Revision(3));
    change(&mut watches, 1);
    change(&mut watches, 2);
    watches.progress(WATCH, Revision(6));
    assert_eq!(watches.finish(Revision(7)), []);
}

#[test]
fn a_watch_of_one_job_gets_its_events_only() {
    let mut watches = watches();
    watches.committed(Revision(8), vec![event(0, 8, "submitted")]);
    watches.opened(WATCH, Revision(1), Some(job(2)));
    change(&mut watches, 0);
    watches.change(WATCH, Revision(4), vec![event(1, 2, "assigned"), event(2, 2, "running")]);
    change(&mut watches, 2);
    assert_eq!(watches.finish(Revision(9)), []);
}

#[test]
fn messages_may_come_before_it_is_known_what_was_committed() {
    let mut watches = Watches::default();
    watches.opened(WATCH, Revision(1), None);
    for at in 0..3 {
        change(&mut watches, at);
        assert_eq!(watches.check(), []);
    }
    for (revision, events) in committed() {
        watches.committed(Revision(revision), events);
    }
    assert_eq!(watches.finish(Revision(7)), []);
}

#[test]
fn a_resync_is_due_below_what_is_kept() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(1), None);
    watches.resync(WATCH, Revision(7), Revision(4));
    assert_eq!(watches.finish(Revision(7)), []);
}

#[test]
fn an_undue_resync_is_caught() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(4), None);
    watches.resync(WATCH, Revision(7), Revision(4));
    let text = "watch 1: RESYNC after revision 4, although everything after 4 is kept";
    assert_eq!(caught(&mut watches), text);
}

#[test]
fn a_resync_beyond_the_master_and_a_message_after_one_are_caught() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(1), None);
    watches.resync(WATCH, Revision(3), Revision(4));
    change(&mut watches, 0);
    let found = watches.finish(Revision(7));
    assert!(matches!(found[..], [Violation::ResyncBeyond { .. }, Violation::NotOpen { .. }]), "{found:?}");
}

#[test]
fn a_dropped_event_is_caught_by_the_next_message() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(1), None);
    change(&mut watches, 0);
    change(&mut watches, 2);
    let text = "watch 1: went on to 6 without revision 4, which has 3 for it, the first: node";
    assert_eq!(caught(&mut watches), text);
}

#[test]
fn a_dropped_event_is_caught_by_progress_too() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(1), None);
    change(&mut watches, 0);
    change(&mut watches, 1);
    watches.progress(WATCH, Revision(6));
    assert!(caught(&mut watches).contains("went on to 6 without revision 6"));
}

#[test]
fn a_gap_and_a_double_after_a_break_are_caught() {
    let mut gap = watches();
    gap.opened(WATCH, Revision(1), None);
    change(&mut gap, 0);
    gap.broken(WATCH);
    gap.opened(WATCH, Revision(2), None);
    change(&mut gap, 2);
    assert!(caught(&mut gap).contains("without revision 4"));

    let mut double = watches();
    double.opened(WATCH, Revision(1), None);
    change(&mut double, 0);
    double.broken(WATCH);
    double.opened(WATCH, Revision(2), None);
    change(&mut double, 0);
    change(&mut double, 1);
    change(&mut double, 2);
    assert_eq!(caught(&mut double), "watch 1: revision 2 came after 2 (out of order, or twice)");

    let mut elsewhere = watches();
    elsewhere.opened(WATCH, Revision(1), None);
    elsewhere.broken(WATCH);
    elsewhere.opened(WATCH, Revision(3), None);
    assert!(matches!(elsewhere.check()[..], [Violation::ResumedElsewhere { .. }]));
}

#[test]
fn a_split_revision_is_caught() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(3), None);
    watches.change(WATCH, Revision(4), vec![node(0), event(1, 2, "assigned")]);
    watches.change(WATCH, Revision(4), vec![event(2, 2, "running")]);
    change(&mut watches, 2);
    let found = watches.finish(Revision(7));
    assert!(matches!(found[..], [Violation::OutOfOrder { .. }, Violation::Differs { .. }]), "{found:?}");
}

#[test]
fn ordinals_that_do_not_rise_and_other_events_than_committed_are_caught() {
    let mut order = watches();
    order.opened(WATCH, Revision(3), None);
    order.change(WATCH, Revision(4), vec![event(1, 2, "assigned"), node(0)]);
    let found = order.check();
    assert!(matches!(found[..], [Violation::OrdinalsOutOfOrder { ordinal: 0, last: 1, .. }]), "{found:?}");

    let mut other = watches();
    other.opened(WATCH, Revision(5), None);
    other.change(WATCH, Revision(6), vec![event(0, 2, "killed")]);
    assert_eq!(caught(&mut other), "watch 1: revision 6 came as [0: killed], committed was [0: ended]");
}

#[test]
fn an_event_of_nothing_committed_is_caught() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(6), None);
    watches.change(WATCH, Revision(9), vec![event(0, 9, "submitted")]);
    assert_eq!(caught(&mut watches), "watch 1: spoke of revision 9, but the cell has committed 7");
}

#[test]
fn a_watch_that_stands_still_is_caught() {
    let mut watches = watches();
    watches.opened(WATCH, Revision(1), None);
    change(&mut watches, 0);
    assert_eq!(caught(&mut watches), "watch 1: stands at 2, and revision 4 has been there for it for long");
}

#[test]
fn replicas_that_committed_otherwise_are_caught() {
    let mut watches = watches();
    watches.committed(Revision(2), committed().swap_remove(0).1);
    watches.committed(Revision(3), Vec::new());
    watches.committed(Revision(6), vec![event(0, 2, "killed")]);
    watches.committed(Revision(5), vec![event(0, 2, "killed")]);
    let found = watches.check();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].to_string(), "revision 6 was committed as [0: ended], and as [0: killed]");
}

#[test]
fn a_message_to_nobody_is_caught_and_what_is_kept_is_bounded() {
    let mut watches: Watches<&'static str> = Watches::default();
    change(&mut watches, 0);
    assert!(matches!(watches.check()[..], [Violation::NotOpen { .. }]));
    watches.opened(WATCH, Revision(1), None);
    for revision in 2..COMMITTED_MAX as u64 + 10 {
        watches.committed(Revision(revision), vec![event(0, 2, "x")]);
        watches.known_to(Revision(revision));
    }
    assert_eq!(watches.committed.events.len(), COMMITTED_MAX);
    watches.change(WATCH, Revision(2), vec![event(0, 2, "x")]);
    assert!(matches!(watches.check()[..], [Violation::Unjudged { .. }]));
}
