//! A leader's hub, a real cell, and agents that are as simple as can be. What the hub proposes is held, when it proposes
//! it, to what this world knows of silence on its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use paceline_cell::{Cell, CommandBody, Entry, Event, Reply, ReportedRun, ReportedState};
use paceline_link::message::{
    AgentOrder, Desired, Hello, MasterMessage, Observed, OrderSet, Orders, Report, ReportRun, ShardMessage,
};
use paceline_link::{
    BrakeEnd, Hub, HubAction, HubConfig, HubEvent, LinkId, Liveness, ReportProposal, WriteOff,
};
use paceline_rules::{JobSpec, feasible};
use paceline_types::{
    AgentInstance, AttemptId, BootId, ExitStatus, FenceToken, IndexRange, IndexSet, LinkSession, NodeEpoch,
    NodeName, Reason, Resources, Revision, ShardName, Term,
};

use super::view::{RACK, View};

/// The detection period of the default configuration.
pub const DETECTION_MS: u64 = 10_000;
const TIMER_MS: u64 = 500;
const SHARDS: usize = 2;
/// Patience of the jobs, each of so many tasks.
const PATIENCE_MS: [Option<u64>; 4] = [Some(2_000), Some(30_000), Some(60_000), None];
const TASKS: u32 = 6;

enum Proposal {
    Register(Box<Hello>),
    Report(ReportProposal),
    WriteOff(WriteOff),
    /// One whose outcome the hub was told is unknown. It keeps its place in the log.
    Late(WriteOff),
}

struct Agent {
    name: NodeName,
    session: u64,
    sequence: u64,
    /// The shard it speaks through.
    shard: Option<usize>,
    welcomed: bool,
    /// The sequence that ended its table, until it was acknowledged; then it has reported.
    table: Option<u64>,
    reported: bool,
    live: BTreeSet<AttemptId>,
    named: BTreeSet<AttemptId>,
    /// When the present leader last had it up, or took office.
    known_ms: u64,
}

pub struct World {
    pub cell: Cell,
    hub: Hub,
    config: HubConfig,
    term: u64,
    agents: Vec<Agent>,
    links: [Option<LinkId>; SHARDS],
    proposals: VecDeque<Proposal>,
    next_link: u64,
    pub now_ms: u64,
    last_timer_ms: u64,
    /// No write-off before, unless all have reported in between.
    round_until_ms: Option<u64>,
    deaf: bool,
    /// No majority of masters answers.
    alone: bool,
    was_alone: bool,
    /// Since when the brake has been on, and the write-offs since.
    brake_ms: Option<u64>,
    slow_ms: Vec<u64>,
    /// When a brake ended because few were silent, and who was silent still.
    eased: Option<(u64, BTreeSet<NodeName>)>,
    /// Silent when the brake was released, and not welcome since.
    released: BTreeSet<NodeName>,
    pub write_offs: u64,
    pub braked: bool,
}

fn shard_name(at: usize) -> ShardName {
    ["a", "b"][at].parse().expect("a name")
}

impl World {
    pub fn new(agents: usize) -> Self {
        Self::with(agents, HubConfig::default())
    }

    /// A world whose hub goes by another configuration than its checks.
    pub fn with(agents: usize, config: HubConfig) -> Self {
        let agent = |at: usize| Agent {
            name: format!("n{at}").parse().expect("a name"),
            session: 0,
            sequence: 0,
            shard: None,
            welcomed: false,
            table: None,
            reported: false,
            live: BTreeSet::new(),
            named: BTreeSet::new(),
            known_ms: 0,
        };
        let mut world = Self {
            cell: Cell::genesis("loss"),
            hub: Hub::new(config.clone()),
            config,
            term: 1,
            agents: (0..agents).map(agent).collect(),
            links: [None; SHARDS],
            proposals: VecDeque::new(),
            next_link: 0,
            now_ms: 0,
            last_timer_ms: 0,
            round_until_ms: None,
            deaf: false,
            alone: false,
            was_alone: false,
            brake_ms: None,
            slow_ms: Vec::new(),
            eased: None,
            released: BTreeSet::new(),
            write_offs: 0,
            braked: false,
        };
        for at in 0..SHARDS {
            world.apply(CommandBody::RegisterShard { name: shard_name(at), address: format!("{at}:1") });
        }
        for (at, patience_ms) in PATIENCE_MS.into_iter().enumerate() {
            let mut spec = JobSpec::batch(&format!("j{at}"), TASKS, &["/bin/true"], Resources::new(100, 10));
            spec.replace_after_ms = patience_ms;
            world.apply(CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 });
        }
        for at in 0..agents {
            let hello = world.hello(at);
            world.register(&hello);
        }
        world.take_office();
        for at in 0..agents {
            world.come(at, at % SHARDS);
        }
        world.settle();
        world.place();
        world.settle();
        world
    }

    fn hello(&self, at: usize) -> Hello {
        let Agent { name, session, .. } = &self.agents[at];
        Hello {
            node: name.clone(),
            instance: AgentInstance([at as u8; 16]),
            boot: BootId([1; 16]),
            epoch: NodeEpoch(0),
            session: LinkSession(*session),
            fence: FenceToken::default(),
            capacity: Resources::new(1_000, 1_000),
            labels: [(RACK.to_owned(), (at / 4).to_string())].into(),
            capabilities: Vec::new(),
            certificate_der: Vec::new(),
            signature: Vec::new(),
        }
    }

    // What may happen.

    /// A node is cut off: whatever runs there runs on, and nobody hears of it.
    pub fn cut(&mut self, at: usize) {
        let Some(shard) = self.agents[at].shard.take() else { return };
        self.agents[at].reported = false;
        let (node, session) = (self.agents[at].name.clone(), LinkSession(self.agents[at].session));
        self.say(shard, ShardMessage::NodeGone { node, session });
    }

    /// A node speaks, for the first time or again.
    pub fn come(&mut self, at: usize, shard: usize) {
        if self.links[shard].is_none() {
            return;
        }
        let agent = &mut self.agents[at];
        agent.session += 1;
        (agent.sequence, agent.welcomed, agent.table, agent.reported) = (0, false, None, false);
        agent.shard = Some(shard);
        let hello = self.hello(at);
        self.say(shard, ShardMessage::NodeHello(Box::new(hello)));
    }

    pub fn lose_shard(&mut self, shard: usize) {
        let Some(link) = self.links[shard].take() else { return };
        for agent in self.agents.iter_mut().filter(|agent| agent.shard == Some(shard)) {
            (agent.shard, agent.reported) = (None, false);
        }
        self.hub(HubEvent::ShardDisconnected { link });
    }

    pub fn bring_shard(&mut self, shard: usize) {
        if self.links[shard].is_some() {
            return;
        }
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.links[shard] = Some(link);
        self.hub(HubEvent::ShardConnected { link, name: shard_name(shard), address: format!("{shard}:1") });
    }

    /// The next leader; so many of the proposals of the last were committed.
    pub fn change_leader(&mut self, committed: usize) {
        for _ in 0..committed {
            self.commit(false);
        }
        self.proposals.clear();
        self.take_office();
    }

    fn take_office(&mut self) {
        self.term += 1;
        self.hub = Hub::new(self.config.clone());
        self.links = [None; SHARDS];
        (self.brake_ms, self.deaf) = (None, false);
        self.released.clear();
        (self.alone, self.was_alone) = (false, false);
        self.slow_ms.clear();
        self.eased = None;
        for agent in &mut self.agents {
            (agent.shard, agent.reported, agent.known_ms) = (None, false, self.now_ms);
        }
        self.last_timer_ms = self.now_ms;
        self.round_until_ms = Some(self.now_ms + 2 * DETECTION_MS);
        for shard in 0..SHARDS {
            self.bring_shard(shard);
        }
    }

    /// Whether a majority answers from the next timer on. What was proposed may be committed in either case.
    pub fn hear_masters(&mut self, answers: bool) {
        self.alone = !answers;
    }

    /// Every write-off under way has been for too long: its outcome is unknown, and it may be applied yet.
    pub fn give_up(&mut self) {
        let mut told = Vec::new();
        for proposal in &mut self.proposals {
            if let Proposal::WriteOff(off) = proposal {
                told.push(off.name.clone());
                *proposal = Proposal::Late(off.clone());
            }
        }
        for node in told {
            self.hub(HubEvent::WriteOffSettled { node, applied: false });
        }
    }

    pub fn release(&mut self) {
        let waits = self.deaf || self.was_alone || self.round_until_ms.is_some();
        if self.brake_ms.is_some() && !waits {
            let silent = self.agents.iter().filter(|agent| agent.shard.is_none());
            self.released.extend(silent.map(|agent| agent.name.clone()));
        }
        self.hub(HubEvent::ReleaseBrake);
    }

    /// Time passes, with a timer as often as it should come; whoever speaks is heard.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TIMER_MS {
            self.now_ms += TIMER_MS;
            for shard in 0..SHARDS {
                self.say(shard, ShardMessage::Alive);
            }
            self.timer();
        }
    }

    /// The leader stands still, and then looks at its clock first.
    pub fn pause(&mut self, ms: u64) {
        self.now_ms += ms;
        for shard in 0..SHARDS {
            self.say(shard, ShardMessage::Alive);
        }
        self.timer();
    }

    fn timer(&mut self) {
        if self.now_ms - self.last_timer_ms > DETECTION_MS / 2 {
            self.round_until_ms = Some(self.now_ms + 2 * DETECTION_MS);
        }
        let deaf = self.links.iter().all(Option::is_none);
        if std::mem::replace(&mut self.deaf, deaf) && !deaf {
            self.round_until_ms = Some(self.now_ms + 2 * DETECTION_MS);
        }
        if std::mem::replace(&mut self.was_alone, self.alone) && !self.alone {
            self.round_until_ms = Some(self.now_ms + 2 * DETECTION_MS);
        }
        self.last_timer_ms = self.now_ms;
        let lost = |agent: &Agent| self.cell.node_by_name(&agent.name).is_some_and(|node| node.lost);
        let all = self.agents.iter().all(|agent| agent.reported || lost(agent));
        if all || self.round_until_ms.is_some_and(|until_ms| self.now_ms >= until_ms) {
            self.round_until_ms = None;
        }
        self.hub(HubEvent::Majority { answers: !self.alone });
        self.hub(HubEvent::Timer);
    }

    /// An attempt on a node ends with exit code 0, heard or not.
    pub fn finish(&mut self, at: usize) {
        let Some(attempt) = self.agents[at].live.pop_first() else { return };
        self.report(at, vec![ended(attempt)], false);
    }

    /// Puts waiting tasks on nodes that the leader would use.
    pub fn place(&mut self) {
        let jobs: Vec<_> = self.cell.jobs().map(|job| job.uid).collect();
        for uid in jobs {
            let runs: Vec<_> = self.cell.job(uid).expect("there").pending_runs().collect();
            for (follows, index) in
                runs.iter().flat_map(|(follows, run)| run.iter().map(move |index| (*follows, index)))
            {
                let job = self.cell.job(uid).expect("there");
                let fits = |node: &&paceline_cell::Node| {
                    let liveness = self.hub.presence(&node.name, node.lost, self.now_ms);
                    matches!(liveness, Liveness::Up | Liveness::Unheard)
                        && feasible(&job.spec, &job.need(index), &node.terms()).is_ok()
                };
                // The emptiest, so that every node has something to lose.
                let Some(node) = self.cell.nodes().filter(fits).min_by_key(|node| node.used.cpu_milli())
                else {
                    return;
                };
                let tasks = IndexSet::from_iter([IndexRange::one(index)]);
                let (node, epoch) = (node.id, node.epoch);
                let assign = CommandBody::Assign { job: uid, follows, node, epoch, tasks };
                assert!(matches!(self.apply(assign), Reply::Assigned { .. }), "placed where it fits");
                self.hub(HubEvent::NodesChanged { nodes: vec![node] });
            }
        }
    }

    /// Everything that was proposed is committed.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            if self.proposals.is_empty() {
                return;
            }
            self.commit(true);
        }
        panic!("it never settles");
    }

    pub fn commit(&mut self, tell: bool) {
        let Some(proposal) = self.proposals.pop_front() else { return };
        match proposal {
            Proposal::Register(hello) => {
                let event = match self.register(&hello) {
                    Reply::Refused(refusal) => {
                        let message = refusal.to_string();
                        HubEvent::RegistrationRefused { node: hello.node, session: hello.session, message }
                    }
                    _ => HubEvent::NodeRegistered { node: hello.node, session: hello.session },
                };
                if tell {
                    self.hub(event);
                }
            }
            Proposal::Report(report) => {
                let runs = report.runs.iter().map(|run| ReportedRun {
                    job: run.job,
                    attempt: run.attempt,
                    tasks: run.tasks.clone(),
                    observed: match run.observed {
                        Observed::Running => ReportedState::Running,
                        Observed::Ended { status, reason } => ReportedState::Ended { status, reason },
                    },
                });
                let ReportProposal { name, node, epoch, session, sequence, .. } = report;
                self.apply(CommandBody::Report { node, epoch, runs: runs.collect() });
                if tell {
                    self.hub(HubEvent::NodesChanged { nodes: vec![node] });
                    self.hub(HubEvent::ReportApplied { node: name, session, sequence });
                }
            }
            Proposal::WriteOff(off) => {
                self.write_off(&off, tell);
                if tell {
                    self.hub(HubEvent::WriteOffSettled { node: off.name, applied: true });
                }
            }
            Proposal::Late(off) => self.write_off(&off, tell),
        }
    }

    /// Nobody is welcome whose tasks may be ended at any moment.
    fn write_off(&mut self, off: &WriteOff, tell: bool) {
        let WriteOff { name, id, epoch, silent_ms } = off;
        let command = CommandBody::WriteOffNode { node: *id, epoch: *epoch, silent_ms: *silent_ms };
        let reply = self.apply(command);
        let agent = self.agents.iter().find(|agent| agent.name == *name).expect("known");
        let speaks = agent.shard.is_some() && agent.welcomed;
        assert!(
            !speaks || matches!(reply, Reply::Refused(_)),
            "{name} is welcome and written off: {reply:?}"
        );
        if tell {
            self.hub(HubEvent::NodesChanged { nodes: vec![*id] });
        }
    }

    // What follows from it.

    fn register(&mut self, hello: &Hello) -> Reply {
        self.apply(CommandBody::RegisterNode {
            name: hello.node.clone(),
            instance: hello.instance,
            boot: hello.boot,
            capacity: hello.capacity,
            labels: hello.labels.clone(),
            capabilities: hello.capabilities.clone(),
        })
    }

    fn apply(&mut self, body: CommandBody) -> Reply {
        let silent_ms = match &body {
            CommandBody::WriteOffNode { silent_ms, .. } => Some(*silent_ms),
            _ => None,
        };
        let entry = Entry { unix_ms: 0, commands: vec![body.into()] };
        let applied = self.cell.apply(Revision(self.cell.revision().0 + 1), &entry);
        assert_eq!(self.cell.check(), Vec::<String>::new(), "after {entry:?}");
        for event in &applied.events {
            if let Event::TasksRequeued { job, reason: Reason::NodeLost, .. } = event {
                let patience_ms = self.cell.job(*job).expect("there").spec.replace_after_ms;
                assert!(
                    patience_ms.is_some() && patience_ms <= silent_ms,
                    "{patience_ms:?} of {silent_ms:?}"
                );
            }
        }
        applied.replies.into_iter().next().expect("one")
    }

    fn say(&mut self, shard: usize, message: ShardMessage) {
        if let Some(link) = self.links[shard] {
            self.hub(HubEvent::ShardMessages { link, messages: vec![message] });
        }
    }

    fn report(&mut self, at: usize, runs: Vec<ReportRun>, table_complete: bool) {
        let agent = &mut self.agents[at];
        let Some(shard) = agent.shard.filter(|_| agent.welcomed) else { return };
        agent.sequence += 1;
        if table_complete {
            agent.table = Some(agent.sequence);
        }
        let report = Report { sequence: agent.sequence, runs, table_complete };
        let (node, session) = (agent.name.clone(), LinkSession(agent.session));
        self.say(shard, ShardMessage::NodeReport { node, session, report });
    }

    fn hub(&mut self, event: HubEvent) {
        let view = View(&self.cell, Term(self.term));
        let actions = self.hub.handle(event, &view, self.now_ms);
        let braked = self.hub.loss(self.now_ms).brake.is_some();
        self.braked |= braked;
        if braked != self.brake_ms.is_some() {
            self.brake_ms = braked.then_some(self.now_ms);
            self.slow_ms.clear();
        }
        for action in actions {
            match action {
                HubAction::Register { hello } => self.proposals.push_back(Proposal::Register(hello)),
                HubAction::ProposeReport(report) => self.proposals.push_back(Proposal::Report(report)),
                HubAction::WriteOff(off) => {
                    self.hold(&off);
                    self.proposals.push_back(Proposal::WriteOff(off));
                }
                HubAction::Send { messages, .. } => {
                    messages.into_iter().for_each(|message| self.deliver(message))
                }
                HubAction::Disconnect { link, .. } => {
                    let shard = self.links.iter().position(|known| *known == Some(link)).expect("known");
                    self.links[shard] = None;
                }
                HubAction::Notice(notice) => panic!("nobody is copied here: {notice}"),
                HubAction::RegisterShard { .. }
                | HubAction::RemoveShard { .. }
                | HubAction::ConfirmLeadership { .. } => {}
                HubAction::BrakeOff { end: BrakeEnd::FewSilent } => {
                    let known = |name: &NodeName| self.released.contains(name);
                    let silent = |agent: &&Agent| agent.shard.is_none() && !known(&agent.name);
                    let silent = self.agents.iter().filter(silent);
                    self.eased = Some((self.now_ms, silent.map(|agent| agent.name.clone()).collect()));
                }
                HubAction::BrakeOn { .. } | HubAction::BrakeOff { .. } | HubAction::NodeUsable { .. } => {}
            }
        }
        for agent in &mut self.agents {
            if self.hub.route(&agent.name).is_some() {
                agent.known_ms = self.now_ms;
            }
        }
    }

    /// What this world knows of a write-off that is proposed.
    fn hold(&mut self, off: &WriteOff) {
        self.write_offs += 1;
        let agent = self.agents.iter().find(|agent| agent.name == off.name).expect("known");
        assert_eq!(agent.shard, None, "{} speaks", off.name);
        assert!(off.silent_ms <= self.now_ms - agent.known_ms, "{off:?} at {}", self.now_ms);
        assert!(off.silent_ms >= DETECTION_MS, "a mass loss could not have been seen");
        assert!(!self.deaf && self.round_until_ms.is_none(), "in a report round");
        let all_there = self.links.iter().all(Option::is_some);
        assert!(all_there || off.silent_ms >= 60_000, "it may be behind the shard that is away");
        assert!(!self.alone, "it could not be decided");
        if let Some((eased_ms, silent)) = &self.eased {
            let early = self.now_ms - eased_ms < 2 * DETECTION_MS && silent.contains(&off.name);
            assert!(!early, "the others of {} may be on their way too", off.name);
        }
        match self.brake_ms {
            Some(brake_ms) => {
                assert!(self.now_ms - brake_ms >= 60_000, "evictions stop first");
                assert!(
                    self.slow_ms.last().is_none_or(|last| self.now_ms - last >= 60_000),
                    "more than one a minute"
                );
                self.slow_ms.push(self.now_ms);
            }
            None => assert!(!self.is_mass_loss(), "the brake should be on"),
        }
    }

    /// A tenth of the cell, and three nodes, within one detection period; the naive way.
    fn is_mass_loss(&self) -> bool {
        let lost = |agent: &Agent| self.cell.node_by_name(&agent.name).is_some_and(|node| node.lost);
        let released = |agent: &Agent| agent.shard.is_none() && self.released.contains(&agent.name);
        let there: Vec<&Agent> =
            self.agents.iter().filter(|agent| !lost(agent) && !released(agent)).collect();
        let silent: Vec<u64> =
            there.iter().filter(|agent| agent.shard.is_none()).map(|agent| agent.known_ms).collect();
        silent.iter().filter(|first| **first + DETECTION_MS <= self.now_ms).any(|first| {
            let together = silent.iter().filter(|at| (*first..=first + DETECTION_MS).contains(*at)).count();
            together >= 3 && together * 10 >= there.len()
        })
    }

    fn deliver(&mut self, message: MasterMessage) {
        let MasterMessage::ToNode { node, session, order } = message else { return };
        let at = self.agents.iter().position(|agent| agent.name == node).expect("known");
        let agent = &mut self.agents[at];
        if agent.shard.is_none() || session.0 != agent.session {
            return;
        }
        match order {
            AgentOrder::Welcome { .. } => {
                agent.welcomed = true;
                self.released.remove(&node);
                let runs = agent.live.iter().map(|attempt| run(*attempt, Observed::Running)).collect();
                self.report(at, runs, true);
            }
            AgentOrder::Acknowledge { sequence } => {
                agent.reported |= agent.table.is_some_and(|table| sequence >= table);
            }
            AgentOrder::Orders(orders) => self.obey(at, &orders),
            AgentOrder::Refused { .. } => (agent.shard, agent.reported) = (None, false),
            _ => {}
        }
    }

    fn obey(&mut self, at: usize, orders: &Orders) {
        let agent = &mut self.agents[at];
        let mut stopped = Vec::new();
        if matches!(orders.set, OrderSet::Full { first: true, .. }) {
            agent.named.clear();
        }
        for run in &orders.runs {
            for task in run.tasks.iter() {
                let attempt = AttemptId { job: run.job, task, attempt: run.attempt };
                match run.desired {
                    Desired::Run { .. } => {
                        agent.live.insert(attempt);
                        agent.named.insert(attempt);
                    }
                    Desired::Stop { .. } => stopped.extend(agent.live.take(&attempt)),
                }
            }
        }
        if matches!(orders.set, OrderSet::Full { last: true, .. }) {
            let named = &agent.named;
            stopped.extend(agent.live.extract_if(.., |attempt| !named.contains(attempt)));
        }
        if !stopped.is_empty() {
            self.report(at, stopped.into_iter().map(ended).collect(), false);
        }
    }

    // The end of a history.

    /// Some nodes are gone for good, everything else is repaired, and nobody helps: every task that may be replaced ends.
    pub fn heal(&mut self, gone: &BTreeSet<usize>) {
        self.hear_masters(true);
        for shard in 0..SHARDS {
            self.bring_shard(shard);
        }
        for at in gone {
            self.cut(*at);
        }
        // The slowest write-off: a round, the brake's first minute, and then one node a minute.
        let minutes = 3 + self.agents.len() as u64;
        for _ in 0..minutes * 6 {
            for at in (0..self.agents.len()).filter(|at| !gone.contains(at)) {
                if self.agents[at].shard.is_none() {
                    self.come(at, at % SHARDS);
                }
            }
            self.settle();
            self.place();
            self.pass(10_000);
            self.settle();
            for at in (0..self.agents.len()).filter(|at| !gone.contains(at)) {
                self.finish(at);
            }
            self.settle();
        }
        self.check_healed(gone);
    }

    fn check_healed(&self, gone: &BTreeSet<usize>) {
        for (at, agent) in self.agents.iter().enumerate() {
            let node = self.cell.node_by_name(&agent.name).expect("there");
            let assigned: BTreeMap<_, _> =
                node.assignments().map(|(job, attempt, _)| (job, attempt)).collect();
            if gone.contains(&at) {
                let never = |uid| self.cell.job(uid).expect("there").spec.replace_after_ms.is_none();
                assert!(assigned.keys().all(|uid| never(*uid)), "{} keeps {assigned:?}", agent.name);
                assert_eq!(node.lost, assigned.is_empty(), "{}", agent.name);
            } else {
                assert!(
                    agent.live.is_empty() && assigned.is_empty(),
                    "{}: {:?} {assigned:?}",
                    agent.name,
                    agent.live
                );
            }
        }
        for job in self.cell.jobs().filter(|job| job.spec.replace_after_ms.is_some()) {
            assert_eq!(job.open(), 0, "job {} at {}", job.name, self.now_ms);
        }
    }
}

fn run(attempt: AttemptId, observed: Observed) -> ReportRun {
    let tasks = IndexSet::from_iter([IndexRange::one(attempt.task)]);
    ReportRun { job: attempt.job, attempt: attempt.attempt, tasks, observed, pids: Vec::new() }
}

fn ended(attempt: AttemptId) -> ReportRun {
    run(attempt, Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero })
}
