//! The shard's rules, one each.

use paceline_link::message::{
    AgentMessage, AgentOrder, Hello, MasterMessage, Observed, Report, ReportRun, ShardList, ShardMessage,
};
use paceline_link::{
    AgentEnd, Claim, ConnectionId, LeaderEnd, LinkId, ShardAction, ShardEvent, ShardLimits, ShardLogic,
};
use paceline_types::{BootId, ExitStatus, LinkSession, NodeEpoch, NodeId, Reason, Revision, ShardId};

use super::cell::{address, hello, node, run, shard};

const OK: Observed = Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };
const LEADER: LinkId = LinkId(1);

struct Bench {
    logic: ShardLogic,
    now_ms: u64,
    /// Whether the leader takes batches at once.
    takes: bool,
}

#[derive(Default, Debug)]
struct Out {
    down: Vec<(u64, AgentOrder)>,
    up: Vec<Vec<ShardMessage>>,
    ends: Vec<(u64, AgentEnd)>,
    leader_ends: Vec<LeaderEnd>,
}

impl Out {
    fn said(&self) -> Vec<ShardMessage> {
        self.up.iter().flatten().cloned().collect()
    }

    fn reports(&self) -> Vec<Report> {
        let report = |message| match message {
            ShardMessage::NodeReport { report, .. } => Some(report),
            _ => None,
        };
        self.said().into_iter().filter_map(report).collect()
    }
}

impl Bench {
    fn new(limits: ShardLimits) -> Self {
        Self { logic: ShardLogic::new(shard("a"), address("a"), limits), now_ms: 1_000, takes: true }
    }

    fn with_leader() -> Self {
        let mut bench = Self::new(ShardLimits::default());
        bench.lead(LEADER);
        bench
    }

    fn lead(&mut self, link: LinkId) -> Out {
        let mut out = self.on(ShardEvent::LeaderConnected { link });
        assert_eq!(out.said(), [ShardMessage::Hello { name: shard("a"), address: address("a") }]);
        let welcome = MasterMessage::Welcome { shard: ShardId(0), heartbeat_ms: 3_000, silence_ms: 10_000 };
        out.up = self.tell(link, welcome).up;
        out
    }

    fn on(&mut self, event: ShardEvent) -> Out {
        let mut out = Out::default();
        let mut took = Vec::new();
        for action in self.logic.handle(event, self.now_ms) {
            match action {
                ShardAction::ToAgent { connection, order } => out.down.push((connection.0, order)),
                ShardAction::DisconnectAgent { connection, reason } => out.ends.push((connection.0, reason)),
                ShardAction::ToLeader { link, messages } => {
                    out.up.push(messages);
                    took.extend(self.takes.then_some(link));
                }
                ShardAction::DisconnectLeader { reason, .. } => out.leader_ends.push(reason),
                ShardAction::FetchLog { .. } => {}
            }
        }
        for link in took {
            let more = self.on(ShardEvent::LeaderTook { link, batches: 1 });
            out.up.extend(more.up);
        }
        out
    }

    fn tell(&mut self, link: LinkId, message: MasterMessage) -> Out {
        self.on(ShardEvent::LeaderMessages { link, messages: vec![message] })
    }

    fn order(&mut self, session: u64, order: AgentOrder) -> Out {
        self.tell(LEADER, MasterMessage::ToNode { node: node("n"), session: LinkSession(session), order })
    }

    fn say(&mut self, connection: u64, message: AgentMessage) -> Out {
        self.on(ShardEvent::AgentMessage { connection: ConnectionId(connection), message })
    }

    fn connect(&mut self, connection: u64, hello: Hello) -> Out {
        let claim = Claim::Node(hello.node.to_string());
        let out = self.on(ShardEvent::AgentConnected { connection: ConnectionId(connection), claim });
        assert!(out.ends.is_empty(), "{out:?}");
        self.say(connection, AgentMessage::Hello(Box::new(hello)))
    }

    fn report(&mut self, connection: u64, sequence: u64, runs: Vec<ReportRun>, complete: bool) -> Out {
        self.say(connection, AgentMessage::Report(Report { sequence, runs, table_complete: complete }))
    }

    /// Time passes under a leader that is there.
    fn later(&mut self, ms: u64) -> Out {
        self.now_ms += ms;
        if self.logic.has_leader() {
            let shards = ShardList::default();
            return self.tell(LEADER, MasterMessage::Shards(shards));
        }
        self.on(ShardEvent::Timer)
    }
}

#[test]
fn hellos_and_reports_go_up_in_one_batch_after_a_few_milliseconds() {
    let mut bench = Bench::with_leader();
    assert!(bench.connect(1, hello("n", 1)).up.is_empty());
    assert!(bench.report(1, 1, vec![run("0-2", 1, Observed::Running)], true).up.is_empty());
    assert!(bench.report(1, 2, vec![run("0", 1, OK)], false).up.is_empty());
    assert_eq!(bench.logic.wake_ms(), bench.now_ms + 5);
    let out = bench.later(5);
    assert_eq!(out.up.len(), 1);
    let runs = vec![run("1-2", 1, Observed::Running), run("0", 1, OK)];
    let report = Report { sequence: 2, runs, table_complete: true };
    let said = ShardMessage::NodeReport { node: node("n"), session: LinkSession(1), report };
    assert_eq!(out.up[0], [ShardMessage::NodeHello(Box::new(hello("n", 1))), said]);
    assert!(bench.later(5).up.is_empty());
}

#[test]
fn an_idle_shard_says_only_that_it_is_there() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.later(5);
    for _ in 0..3 {
        bench.say(1, AgentMessage::Alive);
        assert_eq!(bench.later(3_000).said(), [ShardMessage::Alive]);
    }
}

#[test]
fn a_new_leader_hears_every_hello_and_table_again_under_the_same_sequences() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.report(1, 1, vec![run("0-3", 1, Observed::Running)], true);
    bench.report(1, 2, vec![run("0", 1, OK)], false);
    bench.report(1, 3, vec![run("1", 1, OK)], false);
    bench.later(5);
    let out = bench.order(1, AgentOrder::Acknowledge { sequence: 2 });
    assert_eq!(out.down, [(1, AgentOrder::Acknowledge { sequence: 2 })]);
    bench.on(ShardEvent::LeaderDisconnected { link: LEADER });
    assert!(!bench.logic.has_leader());
    bench.report(1, 4, vec![run("2", 1, OK)], false);
    let out = bench.lead(LinkId(2));
    assert!(matches!(&out.said()[0], ShardMessage::NodeHello(again) if **again == hello("n", 1)));
    let runs = vec![run("3", 1, Observed::Running), run("1", 1, OK), run("2", 1, OK)];
    assert_eq!(out.reports(), [Report { sequence: 4, runs, table_complete: true }]);
}

#[test]
fn a_leader_that_does_not_take_gets_denser_batches_not_more() {
    let mut bench = Bench::with_leader();
    bench.takes = false;
    bench.connect(1, hello("n", 1));
    let mut batches = 0;
    for sequence in 1..200 {
        bench.report(1, sequence, vec![run(&sequence.to_string(), 1, OK)], sequence == 1);
        batches += bench.later(5).up.len();
    }
    assert_eq!(batches as u64, ShardLimits::default().batches_in_flight_max);
    let out = bench.on(ShardEvent::LeaderTook { link: LEADER, batches: 1 });
    assert_eq!((out.up.len(), out.reports().len(), out.reports()[0].sequence), (1, 1, 199));
}

#[test]
fn acknowledgements_pass_through_and_are_never_made_up() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.report(1, 1, vec![run("0", 1, OK)], true);
    assert_eq!(bench.logic.attempts(), 1);
    assert!(bench.order(1, AgentOrder::Acknowledge { sequence: 2 }).down.is_empty(), "never reported");
    assert!(bench.order(9, AgentOrder::Acknowledge { sequence: 1 }).down.is_empty(), "another session");
    let stranger = MasterMessage::ToNode {
        node: node("n"),
        session: LinkSession(1),
        order: AgentOrder::Acknowledge { sequence: 1 },
    };
    assert!(bench.tell(LinkId(77), stranger).down.is_empty(), "another leader");
    assert_eq!(bench.order(1, AgentOrder::Acknowledge { sequence: 1 }).down.len(), 1);
    assert_eq!(bench.logic.attempts(), 0);
}

#[test]
fn a_higher_session_takes_the_place_of_a_lower_and_never_the_other_way() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 5));
    bench.later(5);
    let out = bench.connect(2, hello("n", 6));
    assert_eq!(out.ends, [(1, AgentEnd::Superseded { by: LinkSession(6) })]);
    let out = bench.later(5);
    let gone = ShardMessage::NodeGone { node: node("n"), session: LinkSession(5) };
    assert_eq!(out.said(), [gone, ShardMessage::NodeHello(Box::new(hello("n", 6)))]);
    for stale in [5, 6] {
        let out = bench.connect(10 + stale, hello("n", stale));
        assert!(matches!(out.ends[..], [(_, AgentEnd::Refused { .. })]), "{out:?}");
    }
    assert!(bench.report(1, 1, vec![], true).up.is_empty(), "nobody listens to the old stream");
    let welcome = AgentOrder::Welcome { node: NodeId(0), epoch: NodeEpoch(1), heartbeat_ms: 1 };
    assert_eq!(bench.order(6, welcome.clone()).down, [(2, welcome.clone())]);
    assert!(bench.order(5, welcome).down.is_empty());
}

#[test]
fn a_copied_folder_does_not_displace_the_first_until_that_was_silent() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    let copy = Hello { boot: BootId([2; 16]), ..hello("n", 9) };
    assert!(matches!(bench.connect(2, copy.clone()).ends[..], [(2, AgentEnd::Refused { .. })]));
    let out = bench.later(11_251);
    assert_eq!(out.ends, [(1, AgentEnd::Silent { limit_ms: 10_000 })]);
    assert!(bench.connect(3, copy).ends.is_empty());
}

#[test]
fn silence_and_late_hellos_end_a_stream() {
    let mut bench = Bench::with_leader();
    let claim = Claim::Node("n".to_owned());
    bench.on(ShardEvent::AgentConnected { connection: ConnectionId(1), claim });
    bench.connect(2, hello("m", 1));
    bench.later(5);
    let out = bench.later(12_000);
    let no_hello = (1, AgentEnd::NoHello { limit_ms: 10_000 });
    assert_eq!(out.ends, [no_hello, (2, AgentEnd::Silent { limit_ms: 10_000 })]);
    assert!(out.said().contains(&ShardMessage::NodeGone { node: node("m"), session: LinkSession(1) }));
}

#[test]
fn a_stream_speaks_for_its_certificate_only_and_in_turn() {
    let mut bench = Bench::with_leader();
    let claim = Claim::Node("m".to_owned());
    bench.on(ShardEvent::AgentConnected { connection: ConnectionId(1), claim });
    let out = bench.say(1, AgentMessage::Hello(Box::new(hello("n", 1))));
    assert_eq!(out.ends, [(1, AgentEnd::NotYourNode { node: node("n") })]);
    let claim = Claim::Prefix("virtual-".to_owned());
    assert!(claim.covers(&node("virtual-7")) && !claim.covers(&node("n")));
    bench.on(ShardEvent::AgentConnected { connection: ConnectionId(2), claim });
    assert_eq!(bench.say(2, AgentMessage::Alive).ends, [(2, AgentEnd::OutOfTurn)]);
    bench.connect(3, hello("n", 1));
    assert_eq!(bench.say(3, AgentMessage::Hello(Box::new(hello("n", 2)))).ends, [(3, AgentEnd::OutOfTurn)]);
    bench.connect(4, hello("n", 3));
    bench.report(4, 5, vec![], true);
    assert_eq!(bench.report(4, 5, vec![], true).ends, [(4, AgentEnd::Sequence { last: 5, sequence: 5 })]);
}

#[test]
fn tables_agents_and_queues_are_bounded_with_a_reason() {
    let limits =
        ShardLimits { attempts_per_agent_max: 10, attempts_max: 15, agents_max: 3, ..ShardLimits::default() };
    let mut bench = Bench::new(limits);
    bench.lead(LEADER);
    bench.connect(1, hello("x", 1));
    let out = bench.report(1, 1, vec![run("0-4294967295", 1, OK)], true);
    assert_eq!(out.ends, [(1, AgentEnd::TableFull { whose: "one report", limit: 10 })]);
    bench.connect(2, hello("x", 2));
    bench.report(2, 1, vec![run("0-9", 1, OK)], true);
    let out = bench.report(2, 2, vec![run("10", 1, OK)], true);
    assert_eq!(out.ends, [(2, AgentEnd::TableFull { whose: "the agent's table", limit: 10 })]);
    assert_eq!(bench.logic.attempts(), 0);
    for (connection, name) in [(3, "x"), (4, "y"), (5, "z")] {
        bench.connect(connection, hello(name, 3));
    }
    bench.report(3, 1, vec![run("0-9", 1, OK)], true);
    let out = bench.report(4, 1, vec![run("0-9", 1, OK)], true);
    assert_eq!(out.ends, [(4, AgentEnd::TableFull { whose: "the shard's tables", limit: 15 })]);
    bench.connect(6, hello("y", 4));
    let claim = Claim::Node("w".to_owned());
    let out = bench.on(ShardEvent::AgentConnected { connection: ConnectionId(7), claim });
    assert_eq!(out.ends, [(7, AgentEnd::TooMany { limit: 3 })]);
    let out = bench.on(ShardEvent::AgentStalled { connection: ConnectionId(6) });
    assert_eq!((out.ends, out.down.len()), (vec![(6, AgentEnd::Stalled)], 0));
}

#[test]
fn too_many_ended_sessions_for_a_stuck_leader_start_the_stream_anew() {
    let limits = ShardLimits { gone_max: 2, batches_in_flight_max: 1, ..ShardLimits::default() };
    let mut bench = Bench::new(limits);
    bench.lead(LEADER);
    for connection in 1..=3 {
        bench.connect(connection, hello(&format!("n-{connection}"), 1));
    }
    bench.later(5);
    bench.takes = false;
    bench.connect(4, hello("n-4", 1));
    assert_eq!(bench.later(5).up.len(), 1, "the last credit");
    let mut ends = Vec::new();
    for connection in 1..=3 {
        let connection = ConnectionId(connection);
        ends.extend(bench.on(ShardEvent::AgentDisconnected { connection }).leader_ends);
    }
    assert_eq!(ends, [LeaderEnd::Behind { limit: 2 }]);
}

#[test]
fn a_silent_leader_is_given_up_and_agents_stay() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.now_ms += 4_500;
    assert!(bench.on(ShardEvent::Timer).leader_ends.is_empty());
    bench.now_ms = bench.logic.wake_ms();
    let out = bench.on(ShardEvent::Timer);
    assert_eq!(out.leader_ends, [LeaderEnd::Silent { limit_ms: 4_500 }]);
    assert_eq!((out.ends.len(), bench.logic.agents()), (0, 1));
    assert_eq!(bench.lead(LinkId(2)).said(), [ShardMessage::NodeHello(Box::new(hello("n", 1)))]);
}

#[test]
fn the_newest_shard_list_reaches_agents_old_and_new() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    let list = |version| ShardList { version: Revision(version), shards: vec![] };
    assert_eq!(bench.tell(LEADER, MasterMessage::Shards(list(5))).down, [(1, AgentOrder::Shards(list(5)))]);
    assert!(bench.tell(LEADER, MasterMessage::Shards(list(4))).down.is_empty());
    assert_eq!(bench.connect(2, hello("m", 1)).down, [(2, AgentOrder::Shards(list(5)))]);
}

#[test]
fn a_leaving_shard_sends_everyone_elsewhere_and_takes_nobody_in() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.later(5);
    let out = bench.on(ShardEvent::Leave);
    assert!(matches!(out.down[..], [(1, AgentOrder::Refused { retry_after_ms: 0, .. })]));
    assert_eq!((out.ends, out.up.len()), (vec![(1, AgentEnd::Leaving)], 0));
    let claim = Claim::Node("n".to_owned());
    let out = bench.on(ShardEvent::AgentConnected { connection: ConnectionId(2), claim });
    assert_eq!(out.ends, [(2, AgentEnd::Leaving)]);
}

#[test]
fn of_the_requests_for_a_lease_that_wait_the_last_is_passed_on_and_the_grant_goes_to_its_session() {
    let mut bench = Bench::with_leader();
    bench.connect(1, hello("n", 1));
    bench.later(10);
    bench.say(1, AgentMessage::LeaseRequest { number: 1 });
    bench.say(1, AgentMessage::LeaseRequest { number: 2 });
    let asked = |number| ShardMessage::NodeLeaseRequest { node: node("n"), session: LinkSession(1), number };
    assert_eq!(bench.later(10).said(), [asked(2)]);
    let token = paceline_types::FenceToken::default();
    let lease = AgentOrder::Lease(paceline_link::message::Lease { number: 2, token, duration_ms: 1 });
    assert_eq!(bench.order(1, lease.clone()).down, [(1, lease.clone())]);
    assert!(bench.order(2, lease).down.is_empty(), "another session's");
}
