//! Three machines, two shards, leaders that come and go over one log, and who may do what to them. Whatever runs is looked
//! at on the world's own clock, which nobody else can read.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_cell::{Cell, CommandBody, Entry, Reply};
use paceline_link::message::{AgentOrder, ShardMessage};
use paceline_link::{
    Claim, ConnectionId, HubEvent, LinkId, ShardAction, ShardEvent, ShardLimits, ShardLogic,
};
use paceline_types::{AttemptId, LEASE_DRIFT_PERMILLE, Revision, ShardName, TaskIndex};

use crate::master::{Master, Proposal, command};
use crate::node::{Clock, Life, Node, TASKS, spec};

pub const NODES: usize = 3;
const SHARDS: usize = 2;
/// The world moves in such steps; what machines do by themselves happens at its own time in between.
const TICK_MS: u64 = 250;
/// Until an agent without a session tries again.
const AGAIN_MS: u64 = 5_000;

/// What this world does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    #[default]
    None,
    /// A leader takes itself for one without asking anybody.
    NobodyIsAsked,
    /// Nothing is held back.
    NothingIsHeld,
    /// The machines' clocks are slower than the bound allows.
    SlowMachines,
}

struct Shard {
    logic: ShardLogic,
    name: ShardName,
    /// The stream to a leader, and that one's term.
    link: Option<(LinkId, u64)>,
    /// It prefers the newest leader.
    newest: bool,
}

pub struct World {
    cell: Cell,
    bug: Bug,
    pub now_ms: u64,
    pub nodes: Vec<Node>,
    /// Nobody hears them.
    cut: [bool; NODES],
    connections: [Option<ConnectionId>; NODES],
    again_ms: [u64; NODES],
    shards: Vec<Shard>,
    /// At most the one before and the one that leads, which is the last.
    masters: Vec<Master>,
    next: u64,
    /// The leader reaches a majority.
    pub quorum: bool,
}

impl World {
    pub fn new(bug: Bug) -> Self {
        // Apart by no more than they may be; the leader's is fast where the machines' are slow.
        let half = LEASE_DRIFT_PERMILLE / 2;
        let rates = if bug == Bug::SlowMachines { [800; NODES] } else { [1_000 - half, 1_000, 1_000 + half] };
        let shard = |name: &str| Shard {
            logic: ShardLogic::new(name.parse().unwrap(), format!("{name}:1"), ShardLimits::default()),
            name: name.parse().unwrap(),
            link: None,
            newest: true,
        };
        let mut world = Self {
            cell: Cell::genesis("leases"),
            bug,
            now_ms: 0,
            nodes: (0..).zip(rates).map(|(at, permille)| Node::new(at, permille)).collect(),
            cut: [false; NODES],
            connections: [None; NODES],
            again_ms: [0; NODES],
            shards: ["a", "b"].map(shard).into(),
            masters: Vec::new(),
            next: 0,
            quorum: true,
        };
        world.apply(CommandBody::SubmitJob { spec: Arc::new(spec()), submitted_unix_ms: 0 });
        world.lead();
        world.pass(10_000);
        world
    }

    fn lead(&mut self) {
        let term = self.masters.last().map_or(1, |master| master.term + 1);
        let permille = 1_000 + LEASE_DRIFT_PERMILLE / 2;
        let clock = Clock { began_ms: self.now_ms, permille };
        let careless = self.bug == Bug::NothingIsHeld;
        self.masters.push(Master::new(term, self.cell.clone(), clock, self.now_ms, careless));
        if self.masters.len() > 2 {
            let gone = self.masters.remove(0).term;
            for at in 0..SHARDS {
                if let Some((link, _)) = self.shards[at].link.take_if(|(_, term)| *term == gone) {
                    self.shard(at, ShardEvent::LeaderDisconnected { link });
                }
            }
        }
    }

    // What may happen.

    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.tick();
        }
    }

    /// The agent loses its session, and finds none before it may.
    pub fn cut(&mut self, at: usize, cut: bool) {
        self.cut[at] = cut;
        if cut {
            self.hang_up(at);
        }
    }

    pub fn restart(&mut self, at: usize) {
        self.hang_up(at);
        self.nodes[at].restart();
    }

    pub fn reboot(&mut self, at: usize) {
        self.hang_up(at);
        let now_ms = self.now_ms;
        self.nodes[at].reboot(now_ms);
    }

    fn hang_up(&mut self, at: usize) {
        if let (Some(connection), Some(shard)) = (self.connections[at].take(), self.nodes[at].shard.take()) {
            self.shard(shard, ShardEvent::AgentDisconnected { connection });
        }
        self.nodes[at].inbox.clear();
        self.nodes[at].outbox.clear();
    }

    pub fn pause_leader(&mut self, paused: bool) {
        self.masters.last_mut().unwrap().paused = paused;
    }

    /// Another leader, over a log that has so many of the proposals of the one before. Shards stay with that one until
    /// they are told otherwise.
    pub fn change_leader(&mut self, committed: usize) {
        for _ in 0..committed {
            self.commit();
        }
        self.quorum = true;
        self.lead();
    }

    /// A shard turns to the newest leader, or to the one before.
    pub fn turn(&mut self, shard: usize, newest: bool) {
        self.shards[shard].newest = newest;
        if let Some((link, term)) = self.shards[shard].link.take() {
            self.shard(shard, ShardEvent::LeaderDisconnected { link });
            self.master(term, HubEvent::ShardDisconnected { link });
        }
    }

    /// An operator gives a node up.
    pub fn remove(&mut self, at: usize) {
        let node = self.nodes[at].name.clone();
        self.operate(CommandBody::RemoveNode { node });
    }

    pub fn replace(&mut self, at: usize) {
        let node = self.nodes[at].name.clone();
        self.operate(CommandBody::ReplaceNode { node });
    }

    fn operate(&mut self, body: CommandBody) {
        if self.quorum {
            self.publish(body);
        }
    }

    // How it goes.

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        let now_ms = self.now_ms;
        for at in 0..NODES {
            self.nodes[at].advance(now_ms);
            self.connect(at);
            self.nodes[at].act(now_ms);
            self.carry_up(at);
        }
        for at in 0..SHARDS {
            self.link_up(at);
            self.shard(at, ShardEvent::Timer);
        }
        self.ask_majorities();
        for at in 0..self.masters.len() {
            self.masters[at].act(now_ms);
            self.carry_down(at);
        }
        let leads = |master: &Master| !master.paused;
        while self.quorum && self.masters.last().is_some_and(leads) && self.commit() {}
        self.check_now();
    }

    fn connect(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.shard.is_some() || node.paused || self.cut[at] || self.now_ms < self.again_ms[at] {
            return;
        }
        // Now this one, now that one.
        let shard = (at + usize::try_from(self.next).unwrap()) % SHARDS;
        self.come(at, shard);
    }

    /// The agent begins a session through this shard, and ends the one that it has.
    pub fn come(&mut self, at: usize, shard: usize) {
        self.hang_up(at);
        self.again_ms[at] = self.now_ms + AGAIN_MS;
        self.next += 1;
        let connection = ConnectionId(self.next);
        self.connections[at] = Some(connection);
        let claim = Claim::Node(self.nodes[at].name.to_string());
        self.nodes[at].hello(shard, self.now_ms);
        self.shard(shard, ShardEvent::AgentConnected { connection, claim });
    }

    fn carry_up(&mut self, at: usize) {
        while let (Some(connection), Some(shard)) = (self.connections[at], self.nodes[at].shard) {
            let said = if self.nodes[at].slow_up { None } else { self.nodes[at].outbox.pop_front() };
            let Some(message) = said else { return };
            self.shard(shard, ShardEvent::AgentMessage { connection, message });
        }
    }

    fn link_up(&mut self, at: usize) {
        if self.shards[at].link.is_some() {
            return;
        }
        let master = if self.shards[at].newest { self.masters.last() } else { self.masters.first() };
        let term = master.unwrap().term;
        self.next += 1;
        let link = LinkId(self.next);
        self.shards[at].link = Some((link, term));
        self.shard(at, ShardEvent::LeaderConnected { link });
        let name = self.shards[at].name.clone();
        self.master(term, HubEvent::ShardConnected { link, address: format!("{name}:1"), name });
    }

    fn master(&mut self, term: u64, event: HubEvent) {
        let now_ms = self.now_ms;
        if let Some(master) = self.masters.iter_mut().find(|master| master.term == term) {
            master.tell(event, now_ms);
        }
    }

    fn shard(&mut self, at: usize, event: ShardEvent) {
        let now_ms = self.now_ms;
        for action in self.shards[at].logic.handle(event, now_ms) {
            match action {
                ShardAction::ToAgent { connection, order } => self.to_agent(connection, order),
                ShardAction::DisconnectAgent { connection, .. } => {
                    let (message, retry_after_ms) = ("the stream ended".to_owned(), 0);
                    self.to_agent(connection, AgentOrder::Refused { message, retry_after_ms });
                }
                ShardAction::ToLeader { link, mut messages } => {
                    messages.retain(|message| !matches!(message, ShardMessage::Hello { .. }));
                    if let Some((_, term)) = self.shards[at].link.filter(|(known, _)| *known == link) {
                        let master = self.masters.iter_mut().find(|master| master.term == term).unwrap();
                        master.inbox.push_back((link, messages));
                        self.shard(at, ShardEvent::LeaderTook { link, batches: 1 });
                    }
                }
                ShardAction::DisconnectLeader { link, .. } => {
                    if let Some((_, term)) = self.shards[at].link.take_if(|(known, _)| *known == link) {
                        self.master(term, HubEvent::ShardDisconnected { link });
                    }
                }
                ShardAction::FetchLog { .. } => {}
            }
        }
    }

    fn to_agent(&mut self, connection: ConnectionId, order: AgentOrder) {
        if let Some(at) = self.connections.iter().position(|known| *known == Some(connection)) {
            self.nodes[at].inbox.push_back(order);
        }
    }

    fn carry_down(&mut self, at: usize) {
        while let Some((link, messages)) = self.masters[at].outbox.pop_front() {
            let to = self.shards.iter().position(|shard| shard.link.is_some_and(|(known, _)| known == link));
            if let Some(shard) = to {
                self.shard(shard, ShardEvent::LeaderMessages { link, messages });
            }
        }
    }

    /// Who leads gets the answer that it does, by a view as new as the question; who does not, that it does not.
    fn ask_majorities(&mut self) {
        let (quorum, term) = (self.quorum, self.masters.last().unwrap().term);
        let lies = self.bug == Bug::NobodyIsAsked;
        for master in self.masters.iter_mut().filter(|master| !master.paused) {
            if let Some(round) = master.asked.take() {
                master.answered = Some((round, lies || quorum && master.term == term));
            }
        }
    }

    /// The next proposal of the leader is committed and applied; says whether there was one.
    fn commit(&mut self) -> bool {
        let Some(proposal) = self.masters.last_mut().unwrap().proposals.pop_front() else { return false };
        let (reply, revision) = self.publish(command(&proposal));
        let now_ms = self.now_ms;
        if !matches!(&proposal, Proposal::Shard { link, .. } if !self.knows(*link)) {
            self.masters.last_mut().unwrap().settled(proposal, reply, revision, now_ms);
        }
        true
    }

    fn knows(&self, link: LinkId) -> bool {
        self.shards.iter().any(|shard| shard.link.is_some_and(|(known, _)| known == link))
    }

    fn publish(&mut self, body: CommandBody) -> (Reply, Revision) {
        let (reply, events) = self.apply(body);
        let (now_ms, cell) = (self.now_ms, self.cell.clone());
        self.masters.last_mut().unwrap().publish(&cell, &events, now_ms);
        (reply, cell.revision())
    }

    fn apply(&mut self, body: CommandBody) -> (Reply, Vec<paceline_cell::Event>) {
        let entry = Entry { unix_ms: 0, commands: vec![body.into()] };
        let applied = self.cell.apply(Revision(self.cell.revision().0 + 1), &entry);
        (applied.replies.into_iter().next().unwrap(), applied.events)
    }

    // What must be.

    /// No two attempts of a task run now.
    fn check_now(&self) {
        let mut seen: BTreeMap<TaskIndex, (usize, AttemptId)> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for attempt in node.live() {
                if let Some(other) = seen.insert(attempt.task, (at, attempt)) {
                    panic!("two at once at {} ms: {other:?} and {:?}", self.now_ms, (at, attempt));
                }
            }
        }
    }

    /// No two attempts of a task ever ran at the same time.
    pub fn check(&self) {
        let mut lives: BTreeMap<TaskIndex, Vec<(Life, usize)>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for life in node.lives() {
                lives.entry(life.attempt.task).or_default().push((*life, at));
            }
        }
        for lives in lives.values_mut() {
            lives.sort_by_key(|(life, _)| life.from_ms);
            for pair in lives.windows(2) {
                let (before, after) = (pair[0].0, pair[1].0);
                assert!(before.to_ms.is_some_and(|to_ms| to_ms <= after.from_ms), "two at once: {pair:?}");
            }
        }
    }

    /// How many attempts ran in all.
    pub fn lived(&self) -> usize {
        self.nodes.iter().map(|node| node.lives().len()).sum()
    }

    /// The tasks that run, by node.
    pub fn running(&self) -> [usize; NODES] {
        [0, 1, 2].map(|at| self.nodes[at].live().count())
    }

    /// Everything is repaired and nobody helps: every task runs.
    pub fn heal(&mut self) {
        self.quorum = true;
        self.pause_leader(false);
        for shard in 0..SHARDS {
            self.turn(shard, true);
        }
        for at in 0..NODES {
            (self.cut[at], self.nodes[at].paused) = (false, false);
            (self.nodes[at].slow_up, self.nodes[at].slow_down) = (false, false);
            let node = self.nodes[at].name.clone();
            self.operate(CommandBody::ResumeNode { node });
        }
        self.pass(400_000);
        self.check();
        assert_eq!(self.running().iter().sum::<usize>(), TASKS as usize, "at {} ms", self.now_ms);
    }
}
