//! The hub's rules, one each.

use paceline_link::message::{
    AgentOrder, Desired, Hello, MasterMessage, Observed, OrderSet, Orders, Report, ReportRun, ShardMessage,
};
use paceline_link::{
    Assigned, Hub, HubAction, HubConfig, HubEvent, LinkEnd, LinkId, Liveness, Notice, ReportProposal,
};
use paceline_types::{
    AgentInstance, AttemptId, BootId, ExitStatus, LinkSession, NodeEpoch, NodeId, Reason, TaskIndex,
};

use super::cell::{Cell, JOB, address, hello, node, run, shard};

const OK: Observed = Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };
const A: LinkId = LinkId(1);
const B: LinkId = LinkId(2);

/// A hub, a cell and a clock; proposals are applied by hand.
struct Bench {
    hub: Hub,
    cell: Cell,
    now_ms: u64,
}

/// What a handled event gave, sorted.
#[derive(Default, Debug)]
struct Out {
    orders: Vec<(LinkId, u64, AgentOrder)>,
    proposals: Vec<ReportProposal>,
    registers: Vec<Hello>,
    notices: Vec<Notice>,
    ends: Vec<(LinkId, LinkEnd)>,
    other: Vec<HubAction>,
}

impl Out {
    fn acknowledged(&self) -> Option<u64> {
        self.orders.iter().rev().find_map(|(_, _, order)| match order {
            AgentOrder::Acknowledge { sequence } => Some(*sequence),
            _ => None,
        })
    }

    fn set(&self) -> Option<&Orders> {
        self.orders.iter().find_map(|(_, _, order)| match order {
            AgentOrder::Orders(orders) => Some(orders),
            _ => None,
        })
    }

    fn refused(&self) -> Option<(LinkId, u64, &str)> {
        self.orders.iter().find_map(|(link, session, order)| match order {
            AgentOrder::Refused { message, .. } => Some((*link, *session, message.as_str())),
            _ => None,
        })
    }
}

impl Bench {
    /// Two shards connected and welcomed, a leader in office for long.
    fn new() -> Self {
        let cell = Cell::with_shards(&["a", "b"]);
        let mut bench = Self { hub: Hub::new(HubConfig::default()), cell, now_ms: 0 };
        bench.on(HubEvent::Timer);
        bench.now_ms = 100_000;
        for (link, name) in [(A, "a"), (B, "b")] {
            bench.on(HubEvent::ShardConnected { link, name: shard(name), address: address(name) });
        }
        bench
    }

    fn on(&mut self, event: HubEvent) -> Out {
        let mut out = Out::default();
        for action in self.hub.handle(event, &self.cell, self.now_ms) {
            match action {
                HubAction::Send { link, messages } => {
                    for message in messages {
                        if let MasterMessage::ToNode { session, order, .. } = message {
                            out.orders.push((link, session.0, order));
                        }
                    }
                }
                HubAction::ProposeReport(proposal) => out.proposals.push(proposal),
                HubAction::Register { hello } => out.registers.push(*hello),
                HubAction::Notice(notice) => out.notices.push(notice),
                HubAction::Disconnect { link, reason } => out.ends.push((link, reason)),
                other => out.other.push(other),
            }
        }
        out
    }

    fn say(&mut self, link: LinkId, message: ShardMessage) -> Out {
        self.on(HubEvent::ShardMessages { link, messages: vec![message] })
    }

    fn hello(&mut self, link: LinkId, hello: Hello) -> Out {
        self.say(link, ShardMessage::NodeHello(Box::new(hello)))
    }

    fn report(
        &mut self,
        link: LinkId,
        session: u64,
        sequence: u64,
        runs: Vec<ReportRun>,
        complete: bool,
    ) -> Out {
        let report = Report { sequence, runs, table_complete: complete };
        self.say(link, ShardMessage::NodeReport { node: node("n"), session: LinkSession(session), report })
    }

    fn apply(&mut self, proposal: &ReportProposal) -> Out {
        self.cell.report(proposal.node, proposal.epoch, &proposal.runs);
        let ReportProposal { name, session, sequence, .. } = proposal.clone();
        self.on(HubEvent::ReportApplied { node: name, session, sequence })
    }

    fn register(&mut self, hello: &Hello) -> Out {
        self.cell.register(hello).expect("the cell takes it");
        self.settle(hello)
    }

    fn settle(&mut self, hello: &Hello) -> Out {
        self.on(HubEvent::NodeRegistered { node: hello.node.clone(), session: hello.session })
    }

    fn changed(&mut self) -> Out {
        self.on(HubEvent::NodesChanged { nodes: vec![NodeId(0)] })
    }

    /// Node `n` is in the cell and its session 1 is welcome through shard a, its empty table complete.
    fn with_node() -> Self {
        let mut bench = Self::new();
        bench.cell.register(&hello("n", 1)).expect("new");
        bench.hello(A, hello("n", 1));
        bench.report(A, 1, 1, vec![], true);
        bench
    }

    fn desired(&self) -> Vec<(String, bool)> {
        let runs = self.cell.orders(NodeId(0)).into_iter();
        runs.map(|run| (run.tasks.to_string(), matches!(run.desired, Desired::Run { .. }))).collect()
    }
}

#[test]
fn a_node_that_the_cell_knows_as_it_is_is_welcomed_at_once() {
    let mut bench = Bench::new();
    bench.cell.register(&hello("n", 1)).expect("new");
    let out = bench.hello(A, hello("n", 1));
    assert!(matches!(
        out.orders[..],
        [(A, 1, AgentOrder::Welcome { node: NodeId(0), epoch: NodeEpoch(1), .. })]
    ));
    assert!(out.registers.is_empty());
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Up);
}

#[test]
fn a_node_that_changed_is_registered_first_and_its_reports_wait() {
    let mut bench = Bench::new();
    let new = hello("n", 1);
    let out = bench.hello(A, new.clone());
    assert_eq!((out.registers, out.orders.len()), (vec![new.clone()], 0));
    let early = bench.report(A, 1, 1, vec![], true);
    assert!(early.orders.is_empty() && early.proposals.is_empty());
    let out = bench.register(&new);
    assert!(matches!(out.orders[0].2, AgentOrder::Welcome { .. }));
    assert_eq!(out.acknowledged(), Some(1));
    assert_eq!(out.set().map(|orders| orders.set), Some(OrderSet::Full { first: true, last: true }));
}

#[test]
fn a_report_is_acknowledged_only_when_it_was_applied() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.changed();
    let out = bench.report(A, 1, 2, vec![run("0", 1, OK)], false);
    assert_eq!((out.proposals.len(), out.acknowledged()), (1, None));
    // A report without news behind it waits for it.
    assert_eq!(bench.report(A, 1, 3, vec![], false).acknowledged(), None);
    assert_eq!(bench.apply(&out.proposals[0]).acknowledged(), Some(3));
}

#[test]
fn what_the_cell_knows_is_not_proposed_again() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.cell.assign(1, NodeId(0));
    bench.changed();
    let out = bench.report(A, 1, 2, vec![run("0-1", 1, Observed::Running)], false);
    bench.apply(&out.proposals[0]);
    let out = bench.report(A, 1, 3, vec![run("0-1", 1, Observed::Running)], false);
    assert_eq!((out.proposals.len(), out.acknowledged()), (0, Some(3)));
    let out = bench.report(A, 1, 4, vec![run("0-1", 1, OK), run("7", 3, OK)], false);
    assert_eq!(out.proposals[0].runs, [run("0-1", 1, OK)]);
}

#[test]
fn a_session_that_is_over_affects_nothing() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.changed();
    let out = bench.hello(B, hello("n", 2));
    assert!(matches!(out.refused(), Some((A, 1, _))), "the old agent is told: {out:?}");
    let stale = bench.report(A, 1, 2, vec![run("0", 1, OK)], false);
    assert!(stale.proposals.is_empty() && stale.orders.is_empty());
    bench.say(A, ShardMessage::NodeGone { node: node("n"), session: LinkSession(1) });
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Up);
    let applied = HubEvent::ReportApplied { node: node("n"), session: LinkSession(1), sequence: 2 };
    assert_eq!(bench.on(applied).acknowledged(), None);
    assert!(matches!(bench.hello(A, hello("n", 1)).refused(), Some((A, 1, _))));
    assert_eq!(bench.hub.route(&node("n")), Some((B, LinkSession(2))));
}

#[test]
fn the_full_set_waits_for_the_table_and_differences_follow() {
    let mut bench = Bench::new();
    bench.cell.register(&hello("n", 1)).expect("new");
    bench.cell.assign(0, NodeId(0));
    bench.cell.assign(1, NodeId(0));
    bench.hello(A, hello("n", 1));
    assert!(bench.changed().set().is_none());
    let out = bench.report(A, 1, 1, vec![run("0", 1, OK)], true);
    assert!(out.set().is_none(), "not before the table is in the cell");
    let out = bench.apply(&out.proposals[0]);
    let set = out.set().expect("the full set");
    assert_eq!(set.set, OrderSet::Full { first: true, last: true });
    assert_eq!(set.token, bench.cell.fence());
    assert_eq!((set.jobs.len(), set.runs.len(), set.runs[0].tasks.to_string()), (1, 1, "1".to_owned()));

    assert!(bench.changed().set().is_none(), "nothing changed");
    bench.cell.assign(2, NodeId(0));
    bench.cell.stop(1);
    let out = bench.changed();
    let set = out.set().expect("a difference");
    assert_eq!((set.set, set.jobs.len()), (OrderSet::Diff, 0));
    let said: Vec<_> = set
        .runs
        .iter()
        .map(|run| (run.tasks.to_string(), matches!(run.desired, Desired::Run { .. })))
        .collect();
    assert_eq!(said, bench.desired());
}

#[test]
fn an_attempt_that_the_agent_ended_is_not_named_again_and_one_taken_away_is_stopped() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.cell.assign(1, NodeId(0));
    bench.changed();
    let out = bench.report(A, 1, 2, vec![run("0", 1, OK)], false);
    assert!(bench.changed().set().is_none(), "the view still lists it, the agent knows better");
    bench.apply(&out.proposals[0]);
    assert!(bench.changed().set().is_none());
    bench.cell.take_away(1);
    let out = bench.changed();
    let runs = &out.set().expect("a stop").runs;
    assert_eq!((runs.len(), runs[0].tasks.to_string()), (1, "1".to_owned()));
    assert!(matches!(runs[0].desired, Desired::Stop { .. }));
}

#[test]
fn a_copied_folder_is_held_while_the_first_boot_is_alive_and_both_are_reported() {
    let mut bench = Bench::with_node();
    let copy = Hello { boot: BootId([2; 16]), ..hello("n", 9) };
    let out = bench.hello(B, copy.clone());
    assert!(matches!(out.refused(), Some((B, 9, _))));
    assert!(matches!(out.notices[..], [Notice::TwoBoots { .. }]));
    assert_eq!(bench.hub.route(&node("n")), Some((A, LinkSession(1))));
    bench.say(A, ShardMessage::NodeGone { node: node("n"), session: LinkSession(1) });
    bench.now_ms += 9_999;
    assert!(bench.hello(B, copy.clone()).refused().is_some(), "not yet silent for the detection period");
    bench.now_ms += 1;
    assert_eq!(bench.hello(B, copy.clone()).registers, [copy]);
}

#[test]
fn a_new_leader_holds_another_boot_until_it_could_have_heard_of_the_first() {
    let mut cell = Cell::with_shards(&["a"]);
    cell.register(&hello("n", 1)).expect("new");
    let mut bench = Bench { hub: Hub::new(HubConfig::default()), cell, now_ms: 5_000 };
    bench.on(HubEvent::ShardConnected { link: A, name: shard("a"), address: address("a") });
    let booted = Hello { boot: BootId([2; 16]), ..hello("n", 9) };
    assert!(bench.hello(A, booted.clone()).refused().is_some());
    bench.now_ms += 10_000;
    assert_eq!(bench.hello(A, booted.clone()).registers, [booted]);
}

#[test]
fn a_second_instance_is_refused_while_the_first_is_there() {
    let mut bench = Bench::with_node();
    let other = Hello { instance: AgentInstance([2; 16]), ..hello("n", 9) };
    let out = bench.hello(B, other.clone());
    assert!(matches!(out.notices[..], [Notice::TwoInstances { .. }]));
    bench.on(HubEvent::ShardDisconnected { link: A });
    assert!(bench.hello(B, other.clone()).refused().is_some());
    bench.cell.nodes.get_mut(&node("n")).expect("there").replaceable = true;
    assert!(bench.hello(B, other.clone()).refused().is_some(), "the first may still come back");
    bench.now_ms += 10_000;
    assert_eq!(bench.hello(B, other.clone()).registers, std::slice::from_ref(&other));
    let message = "another instance has the node".to_owned();
    let refusal =
        HubEvent::RegistrationRefused { node: node("n"), session: LinkSession(9), message: message.clone() };
    assert_eq!(bench.on(refusal).refused(), Some((B, 9, message.as_str())));
    assert!(
        bench.hello(A, hello("n", 2)).refused().is_none(),
        "a claim that the cell refused is no incumbent"
    );
}

#[test]
fn a_refused_stranger_does_not_make_a_silent_node_look_alive() {
    let mut bench = Bench::with_node();
    let lost_ms = bench.now_ms;
    bench.on(HubEvent::ShardDisconnected { link: A });
    let stranger = |session| Hello { instance: AgentInstance([2; 16]), ..hello("n", session) };
    for session in 10..14 {
        bench.now_ms += 5_000;
        bench.say(B, ShardMessage::Alive);
        let out = bench.hello(B, stranger(session));
        assert!(out.refused().is_some() && out.registers.is_empty(), "no entry in the log: {out:?}");
        bench.on(HubEvent::Timer);
    }
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Suspect { since_ms: lost_ms });
    assert!(bench.hello(B, hello("n", 2)).refused().is_none(), "the rightful one is not in its way");
}

#[test]
fn a_node_is_not_up_before_the_cell_has_it_as_it_says() {
    let mut bench = Bench::with_node();
    let lost_ms = bench.now_ms;
    bench.on(HubEvent::ShardDisconnected { link: A });
    bench.now_ms += 10_000;
    bench.say(B, ShardMessage::Alive);
    bench.on(HubEvent::Timer);
    let booted = Hello { boot: BootId([2; 16]), ..hello("n", 2) };
    assert_eq!(bench.hello(B, booted.clone()).registers, std::slice::from_ref(&booted));
    let suspect = Liveness::Suspect { since_ms: lost_ms };
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), suspect);
    let refusal = HubEvent::RegistrationRefused {
        node: node("n"),
        session: LinkSession(2),
        message: "too large".to_owned(),
    };
    bench.on(refusal);
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), suspect);
    bench.hello(B, booted.clone());
    bench.register(&booted);
    assert_eq!(
        bench.hub.liveness(&node("n"), bench.now_ms),
        Liveness::Returning,
        "what runs there is not known"
    );
    bench.report(B, 2, 1, vec![], true);
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Up);
}

#[test]
fn a_session_is_welcomed_as_the_view_has_its_node_and_not_as_it_once_was() {
    let mut bench = Bench::new();
    let new = hello("n", 1);
    bench.hello(A, new.clone());
    bench.cell.register(&new).expect("new");
    bench.cell.nodes.clear();
    bench.changed();
    assert!(bench.settle(&new).refused().is_some(), "removed before it was welcomed");
    assert!(bench.hub.route(&node("n")).is_none());

    let again = hello("n", 2);
    bench.hello(A, again.clone());
    bench.cell.register(&again).expect("new");
    bench.cell.nodes.get_mut(&node("n")).expect("there").epoch = NodeEpoch(5);
    let out = bench.settle(&again);
    assert!(matches!(out.orders[0].2, AgentOrder::Welcome { epoch: NodeEpoch(5), .. }));

    let booted = hello("n", 3);
    bench.say(A, ShardMessage::NodeGone { node: node("n"), session: LinkSession(2) });
    bench.cell.nodes.get_mut(&node("n")).expect("there").labels.insert("a".into(), "b".into());
    assert_eq!(bench.hello(A, booted.clone()).registers.len(), 1);
    bench.cell.nodes.get_mut(&node("n")).expect("there").instance = AgentInstance([3; 16]);
    assert!(bench.settle(&booted).refused().is_some(), "replaced before it was welcomed");
}

#[test]
fn orders_for_which_a_link_has_no_room_are_made_later_and_from_the_view_of_then() {
    let mut bench = Bench::with_node();
    bench.cell.body = vec![7; 3 * 1024 * 1024];
    let others = ["o", "p", "q"];
    for name in others {
        bench.cell.register(&hello(name, 1)).expect("new");
        bench.hello(A, hello(name, 1));
        let report = Report { sequence: 1, runs: vec![], table_complete: true };
        bench.say(A, ShardMessage::NodeReport { node: node(name), session: LinkSession(1), report });
    }
    for task in 0..4 {
        bench.cell.assign(task, NodeId(task));
    }
    let nodes = || (0..4).map(NodeId).collect::<Vec<_>>();
    let out = bench.on(HubEvent::NodesChanged { nodes: nodes() });
    assert_eq!(out.orders.len(), 4, "a body and an order each: the first two fill the room of a new link");
    assert_eq!(bench.hub.links_without_room().collect::<Vec<_>>(), [A]);
    assert_eq!(bench.on(HubEvent::NodesChanged { nodes: nodes() }).orders.len(), 0);
    // Meanwhile one of them lost its task again: it hears nothing of it.
    bench.cell.take_away(2);
    let room = HubEvent::LinkRoom { link: A, bytes: 1 };
    let out = bench.on(room.clone());
    assert_eq!(out.orders.len(), 2);
    let said = out.orders.iter().filter_map(|(_, _, order)| match order {
        AgentOrder::Orders(orders) => orders.runs.first(),
        _ => None,
    });
    assert_eq!(said.map(|run| run.tasks.to_string()).collect::<Vec<_>>(), ["3"]);
    assert_eq!(bench.on(room).orders.len(), 0, "the others have all that they should have");
    assert_eq!(bench.hub.links_without_room().count(), 0);
}

#[test]
fn a_full_set_waits_for_room_too() {
    let mut bench = Bench::new();
    bench.cell.register(&hello("n", 1)).expect("new");
    bench.on(HubEvent::LinkRoom { link: A, bytes: 0 });
    bench.cell.assign(0, NodeId(0));
    bench.hello(A, hello("n", 1));
    let out = bench.report(A, 1, 1, vec![], true);
    assert_eq!((out.acknowledged(), out.set()), (Some(1), None));
    let out = bench.on(HubEvent::LinkRoom { link: A, bytes: 1 });
    assert_eq!(out.set().map(|orders| orders.set), Some(OrderSet::Full { first: true, last: true }));
    bench.on(HubEvent::LinkRoom { link: A, bytes: 0 });
    bench.cell.assign(1, NodeId(0));
    assert!(bench.changed().set().is_none());
    bench.on(HubEvent::ShardDisconnected { link: A });
    assert_eq!(bench.hub.links_without_room().count(), 0, "a link that is gone has nobody waiting");
}

#[test]
fn one_registration_of_a_node_is_under_way_at_a_time_and_the_last_hello_is_next() {
    let mut bench = Bench::new();
    let of = |session: u64| Hello {
        labels: [("session".to_owned(), session.to_string())].into(),
        ..hello("n", session)
    };
    assert_eq!(bench.hello(A, of(1)).registers, [of(1)]);
    for (link, session) in [(B, 2), (A, 3)] {
        assert_eq!(bench.hello(link, of(session)).registers, []);
    }
    let out = bench.register(&of(1));
    assert_eq!((out.registers, out.orders.len()), (vec![of(3)], 0));
    let refusal =
        HubEvent::RegistrationRefused { node: node("n"), session: LinkSession(3), message: "no".to_owned() };
    bench.hello(B, of(4));
    assert_eq!(bench.on(refusal).registers, [of(4)], "a refusal makes way too");
    bench.hello(A, of(5));
    bench.on(HubEvent::ShardDisconnected { link: A });
    let out = bench.register(&of(4));
    assert!(out.registers.is_empty() && out.orders.is_empty(), "a session that is over is not registered");
}

#[test]
fn a_suspect_node_that_is_back_is_worth_another_pass() {
    let mut bench = Bench::with_node();
    let usable = HubAction::NodeUsable { id: NodeId(0) };
    bench.on(HubEvent::ShardDisconnected { link: A });
    assert_eq!(bench.hello(B, hello("n", 2)).other, [], "it was never out of use");
    bench.say(B, ShardMessage::NodeGone { node: node("n"), session: LinkSession(2) });
    assert_eq!(bench.hello(B, hello("n", 3)).other, []);
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Returning);
    bench.on(HubEvent::ShardDisconnected { link: B });
    bench.on(HubEvent::ShardConnected { link: A, name: shard("a"), address: address("a") });
    bench.hello(A, hello("n", 4));
    assert_eq!(bench.report(A, 4, 1, vec![], true).other, [usable], "its table is known");
}

#[test]
fn a_node_that_is_lost_while_it_speaks_registers_again() {
    let mut bench = Bench::with_node();
    bench.cell.write_off(&node("n"), NodeEpoch(1));
    assert!(bench.changed().refused().is_some(), "as a lost node it would get no work for ever");
    assert!(bench.hub.route(&node("n")).is_none());
    assert_eq!(bench.hello(A, hello("n", 2)).registers, [hello("n", 2)]);
}

#[test]
fn shorter_intervals_are_told_at_once_and_held_to_one_old_period_later() {
    let mut bench = Bench::with_node();
    let config = HubConfig { heartbeat_ms: 200, silence_ms: 1_000, ..HubConfig::default() };
    bench.now_ms += 2_000;
    let told = bench.hub.handle(HubEvent::Reconfigured { config: config.clone() }, &bench.cell, bench.now_ms);
    let messages: Vec<_> = told
        .into_iter()
        .filter_map(|action| match action {
            HubAction::Send { link, messages } => Some((link, messages)),
            _ => None,
        })
        .collect();
    assert!(matches!(
        &messages[0],
        (A, said) if matches!(said[..], [
            MasterMessage::Welcome { heartbeat_ms: 200, silence_ms: 10_000, .. },
            MasterMessage::ToNode { order: AgentOrder::Welcome { heartbeat_ms: 200, .. }, .. },
        ])
    ));
    assert_eq!(bench.on(HubEvent::Timer).ends, [], "nobody could know it yet");
    bench.now_ms += 7_000;
    for link in [A, B] {
        bench.say(link, ShardMessage::Alive);
    }
    bench.on(HubEvent::Reconfigured { config });
    bench.now_ms += 3_000;
    bench.say(B, ShardMessage::Alive);
    let silent = LinkEnd::Silent { silent_ms: 3_000, limit_ms: 1_000 };
    assert_eq!(bench.on(HubEvent::Timer).ends, [(A, silent)]);
}

#[test]
fn the_same_session_through_a_new_stream_is_told_everything_again() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.changed();
    let out = bench.report(A, 1, 2, vec![run("0", 1, OK)], false);
    bench.on(HubEvent::ShardDisconnected { link: A });
    let again = LinkId(7);
    bench.on(HubEvent::ShardConnected { link: again, name: shard("a"), address: address("a") });
    assert!(bench.hello(again, hello("n", 1)).refused().is_none());
    let replay = bench.report(again, 1, 2, vec![run("0", 1, OK)], true);
    assert_eq!(replay.acknowledged(), None);
    assert_eq!(bench.apply(&out.proposals[0]).acknowledged(), Some(2), "what was in flight still counts");
    let out = bench.apply(&replay.proposals[0]);
    assert_eq!(out.acknowledged(), Some(2));
    assert_eq!(out.set().map(|orders| orders.set), Some(OrderSet::Full { first: true, last: true }));
}

#[test]
fn pids_are_kept_for_live_attempts_only() {
    let mut bench = Bench::with_node();
    bench.cell.assign(0, NodeId(0));
    bench.cell.assign(1, NodeId(0));
    bench.changed();
    let pids = ReportRun { pids: vec![10, 11, 12], ..run("0-1,5", 1, Observed::Running) };
    let out = bench.report(A, 1, 2, vec![pids], false);
    let id = |task| AttemptId { job: JOB, task: TaskIndex(task), attempt: paceline_types::Attempt(1) };
    let pid = |bench: &Bench, task| bench.hub.pid(NodeId(0), &id(task));
    assert_eq!((pid(&bench, 0), pid(&bench, 1), pid(&bench, 5)), (Some(10), Some(11), None));
    bench.apply(&out.proposals[0]);
    bench.report(A, 1, 3, vec![run("0", 1, OK)], false);
    bench.cell.take_away(1);
    bench.changed();
    assert_eq!((pid(&bench, 0), pid(&bench, 1)), (None, None));
}

#[test]
fn in_flight_reports_are_bounded_and_go_on_in_order() {
    let mut bench = Bench::with_node();
    for task in 0..20 {
        bench.cell.assign(task, NodeId(0));
    }
    bench.changed();
    let mut proposals = std::collections::VecDeque::new();
    for task in 0..20_u32 {
        let sequence = u64::from(task) + 2;
        proposals.extend(bench.report(A, 1, sequence, vec![run(&task.to_string(), 1, OK)], false).proposals);
    }
    assert_eq!(proposals.len(), HubConfig::default().reports_in_flight_max);
    let mut acknowledged = Vec::new();
    while let Some(proposal) = proposals.pop_front() {
        let out = bench.apply(&proposal);
        acknowledged.extend(out.acknowledged());
        proposals.extend(out.proposals);
    }
    assert_eq!(acknowledged, (2..22).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_reports_ends_the_session_and_nothing_else() {
    let mut bench = Bench::new();
    bench.hello(A, hello("n", 1));
    let scattered: Vec<String> = (0..100_000).map(|n| (n * 2).to_string()).collect();
    let runs = vec![run(&scattered.join(","), 1, Observed::Running)];
    let refused =
        (1..40).find(|sequence| bench.report(A, 1, *sequence, runs.clone(), false).refused().is_some());
    assert!(refused.is_some(), "bounded by bytes while registration is open");
    assert!(bench.hub.route(&node("n")).is_none());
    let endless = bench.hello(A, hello("n", 2));
    assert!(endless.refused().is_none(), "it may come again");
    let out = bench.report(A, 2, 1, vec![run("0-4294967295", 1, OK)], false);
    assert!(out.refused().is_some());
}

#[test]
fn reports_that_wait_are_bounded_over_all_sessions_too() {
    let mut bench = Bench::new();
    let config = HubConfig { all_waiting_bytes_max: 1_000, ..HubConfig::default() };
    bench.on(HubEvent::Reconfigured { config });
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    let mut refused = Vec::new();
    for name in &names {
        bench.hello(A, hello(name, 1));
        let report = Report { sequence: 1, runs: vec![run("0", 1, OK)], table_complete: true };
        let message = ShardMessage::NodeReport { node: node(name), session: LinkSession(1), report };
        refused.push(bench.say(A, message).refused().is_some());
    }
    let kept = refused.iter().take_while(|refused| !**refused).count();
    assert!((2..10).contains(&kept), "some wait: {kept}");
    assert!(refused[kept..].iter().all(|refused| *refused), "and the rest come again");
    let first = hello(&names[0], 1);
    bench.register(&first);
    bench.cell.register(&hello("m", 1)).expect("new");
    bench.hello(A, hello("m", 1));
    let report = Report { sequence: 1, runs: vec![], table_complete: true };
    let message = ShardMessage::NodeReport { node: node("m"), session: LinkSession(1), report };
    assert!(bench.say(A, message).refused().is_none(), "what is registered does not wait");
}

#[test]
fn a_node_is_suspect_when_its_shard_says_so_or_after_a_silent_period() {
    let mut bench = Bench::with_node();
    bench.say(A, ShardMessage::NodeGone { node: node("n"), session: LinkSession(1) });
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Suspect { since_ms: bench.now_ms });
    bench.hello(A, hello("n", 2));
    let lost_ms = bench.now_ms;
    bench.on(HubEvent::ShardDisconnected { link: A });
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Unheard);
    bench.now_ms += 10_000;
    bench.on(HubEvent::Timer);
    assert_eq!(bench.hub.liveness(&node("n"), bench.now_ms), Liveness::Suspect { since_ms: lost_ms });
    assert_eq!(bench.hub.counts(bench.now_ms).suspect, 1);
}

#[test]
fn a_raised_epoch_is_told_with_a_full_set() {
    let mut bench = Bench::with_node();
    bench.cell.nodes.get_mut(&node("n")).expect("there").epoch = NodeEpoch(2);
    let out = bench.changed();
    assert!(matches!(out.orders[0].2, AgentOrder::Welcome { epoch: NodeEpoch(2), .. }));
    assert_eq!(out.set().map(|orders| orders.set), Some(OrderSet::Full { first: true, last: true }));
    bench.cell.nodes.clear();
    assert!(bench.changed().refused().is_some_and(|(_, _, message)| message.contains("removed")));
}

#[test]
fn a_shard_is_welcomed_when_the_cell_lists_it_and_leaves_after_ten_silent_minutes() {
    let mut bench = Bench::new();
    let (link, name) = (LinkId(3), shard("c"));
    let out = bench.on(HubEvent::ShardConnected { link, name: name.clone(), address: address("c") });
    assert_eq!(out.other, [HubAction::RegisterShard { link, name: name.clone(), address: address("c") }]);
    bench.cell.register_shard(&name, &address("c"));
    let sent = bench.hub.handle(HubEvent::ShardsChanged, &bench.cell, bench.now_ms);
    let to = |wanted: LinkId| {
        sent.iter().find_map(|action| match action {
            HubAction::Send { link, messages } if *link == wanted => Some(messages.clone()),
            _ => None,
        })
    };
    let list = MasterMessage::Shards(bench.cell.shards());
    assert!(matches!(to(link).expect("to c")[..], [MasterMessage::Welcome { .. }, MasterMessage::Shards(_)]));
    assert_eq!(to(A), Some(vec![list]));
    bench.on(HubEvent::ShardDisconnected { link });
    bench.now_ms += 600_000;
    for link in [A, B] {
        bench.say(link, ShardMessage::Alive);
    }
    assert_eq!(bench.on(HubEvent::Timer).other, [HubAction::RemoveShard { name }]);
}

#[test]
fn a_shard_that_is_here_and_left_the_list_is_put_back_and_asked_for_once() {
    let mut bench = Bench::new();
    bench.cell.remove_shard(&shard("a"));
    let register = HubAction::RegisterShard { link: A, name: shard("a"), address: address("a") };
    assert_eq!(bench.on(HubEvent::ShardsChanged).other, [register]);
    assert_eq!(bench.on(HubEvent::ShardsChanged).other, []);
    assert_eq!(bench.on(HubEvent::Timer).other, []);
    bench.cell.register_shard(&shard("a"), &address("a"));
    let sent = bench.hub.handle(HubEvent::ShardsChanged, &bench.cell, bench.now_ms);
    for wanted in [A, B] {
        let told = sent.iter().any(|action| match action {
            HubAction::Send { link, messages } if *link == wanted => {
                messages.contains(&MasterMessage::Shards(bench.cell.shards()))
            }
            _ => false,
        });
        assert!(told, "{wanted:?} has the list with the shard on it: {sent:?}");
    }
    bench.cell.remove_shard(&shard("a"));
    assert_eq!(bench.on(HubEvent::Timer).other.len(), 1, "another removal is another matter");
}

#[test]
fn a_silent_or_doubled_shard_is_disconnected() {
    let mut bench = Bench::new();
    let out = bench.on(HubEvent::ShardConnected { link: LinkId(9), name: shard("a"), address: address("a") });
    assert_eq!(out.ends, [(A, LinkEnd::Superseded)]);
    bench.now_ms += 10_001;
    bench.say(B, ShardMessage::Alive);
    let out = bench.on(HubEvent::Timer);
    assert_eq!(out.ends, [(LinkId(9), LinkEnd::Silent { silent_ms: 10_001, limit_ms: 10_000 })]);
}
