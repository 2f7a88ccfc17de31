//! Agents, shards, a leader and the cell on one thread; what travels is delivered, delayed or lost by choice.

use std::collections::{BTreeMap, VecDeque};

use paceline_link::message::{AgentMessage, AgentOrder, Hello, MasterMessage, ShardMessage};
use paceline_link::{
    Claim, ConnectionId, Hub, HubAction, HubConfig, HubEvent, LinkId, ReportProposal, ShardAction,
    ShardEvent, ShardLimits, ShardLogic, WriteOff,
};
use paceline_types::{LinkSession, NodeId, NodeName, TaskIndex};

use super::agent::Agent;
use super::cell::{Cell, State, address, shard};

/// Small, so that bounds and cuts are met often.
fn limits() -> ShardLimits {
    ShardLimits { batches_in_flight_max: 2, ..ShardLimits::default() }
}

/// Two sets of orders fill a link, so that orders have to wait often.
const ROOM_BYTES: usize = 500;

fn hub_config() -> HubConfig {
    HubConfig { link_room_bytes: ROOM_BYTES, ..HubConfig::default() }
}

enum Proposal {
    Register(Box<Hello>),
    Report(ReportProposal),
    WriteOff(WriteOff),
}

struct Shard {
    logic: ShardLogic,
    link: Option<LinkId>,
    up: VecDeque<Vec<ShardMessage>>,
    down: VecDeque<Vec<MasterMessage>>,
}

struct Connection {
    agent: usize,
    shard: usize,
    up: VecDeque<AgentMessage>,
    down: VecDeque<AgentOrder>,
    /// The agent went elsewhere and the shard has not noticed.
    half_open: bool,
}

/// A fault put in on purpose, which the checks must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledges what was proposed and not yet applied.
    EarlyAcknowledgement,
    /// Loses reports on a stream that stays open.
    LostReports,
}

pub struct World {
    pub fault: Option<Fault>,
    pub cell: Cell,
    pub agents: Vec<Agent>,
    shards: Vec<Shard>,
    connections: BTreeMap<ConnectionId, Connection>,
    hub: Hub,
    proposals: VecDeque<Proposal>,
    /// The highest session that a leader heard of a node, for the check that stale ones affect nothing.
    highest: BTreeMap<NodeName, LinkSession>,
    next: u64,
    tasks: u32,
    pub now_ms: u64,
}

const SHARDS: [&str; 2] = ["a", "b"];

impl World {
    pub fn new(agents: usize) -> Self {
        let mut cell = Cell::with_shards(&SHARDS);
        cell.term.0 = 1;
        let fresh = |name: &&str| Shard {
            logic: ShardLogic::new(shard(name), address(name), limits()),
            link: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
        };
        Self {
            fault: None,
            cell,
            agents: (0..agents).map(|n| Agent::new(&format!("n-{n}"))).collect(),
            shards: SHARDS.iter().map(fresh).collect(),
            connections: BTreeMap::new(),
            hub: Hub::new(hub_config()),
            proposals: VecDeque::new(),
            highest: BTreeMap::new(),
            next: 0,
            tasks: 0,
            now_ms: 0,
        }
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // What may happen.

    pub fn assign(&mut self, agent: usize) {
        let name = &self.agents[agent].name;
        let id = self.cell.nodes.iter().find(|(node, _)| node.as_str() == name).map(|(_, record)| record.id);
        if let Some(id) = id {
            self.cell.assign(self.tasks, id);
            self.tasks += 1;
            self.hub(HubEvent::NodesChanged { nodes: vec![id] });
        }
    }

    pub fn unassign(&mut self, task: usize, politely: bool) {
        let Some(index) = (task as u32).checked_rem(self.tasks) else { return };
        let Some(task) = self.cell.tasks.get(&TaskIndex(index)) else { return };
        let node = task.node;
        if politely {
            self.cell.stop(index);
        } else if task.state != State::Ended {
            self.cell.take_away(index);
            // Taken away means that it runs elsewhere now.
            let elsewhere = NodeId((node.0 + 1) % self.cell.nodes.len() as u32);
            self.cell.assign(index, elsewhere);
            self.hub(HubEvent::NodesChanged { nodes: vec![elsewhere] });
        }
        self.hub(HubEvent::NodesChanged { nodes: vec![node] });
    }

    /// Connects an agent to a shard; its connection before ends, or stays half open.
    pub fn connect(&mut self, agent: usize, shard: usize, clean: bool) {
        self.disconnect(agent, clean);
        let (hello, messages) = self.agents[agent].connect();
        let id = ConnectionId(self.id());
        let claim = Claim::Node(hello.node.to_string());
        let mut up = VecDeque::from(messages);
        up.push_front(AgentMessage::Hello(Box::new(hello)));
        let connection = Connection { agent, shard, up, down: VecDeque::new(), half_open: false };
        self.connections.insert(id, connection);
        self.shard(shard, ShardEvent::AgentConnected { connection: id, claim });
    }

    pub fn disconnect(&mut self, agent: usize, clean: bool) {
        let Some(id) = self.current(agent) else { return };
        let connection = self.connections.get_mut(&id).expect("current");
        connection.half_open = true;
        if clean {
            let shard = connection.shard;
            self.connections.remove(&id);
            self.shard(shard, ShardEvent::AgentDisconnected { connection: id });
        }
    }

    pub fn finish_one(&mut self, agent: usize) {
        if let Some(message) = self.agents[agent].finish_one()
            && let Some(id) = self.current(agent)
        {
            self.connections.get_mut(&id).expect("current").up.push_back(message);
        }
    }

    pub fn link(&mut self, shard: usize) {
        self.unlink(shard);
        let link = LinkId(self.id());
        self.shards[shard].link = Some(link);
        self.shard(shard, ShardEvent::LeaderConnected { link });
    }

    pub fn unlink(&mut self, shard: usize) {
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let Some(link) = self.shards[shard].link.take() else { return };
        (self.shards[shard].up, self.shards[shard].down) = (up, down);
        self.shard(shard, ShardEvent::LeaderDisconnected { link });
        self.hub(HubEvent::ShardDisconnected { link });
    }

    pub fn crash_shard(&mut self, shard: usize) {
        self.unlink(shard);
        let name = SHARDS[shard];
        self.shards[shard].logic = ShardLogic::new(super::cell::shard(name), address(name), limits());
        self.connections.retain(|_, connection| connection.shard != shard);
    }

    /// Another leader: what was proposed may have been committed or not, in order.
    pub fn change_leader(&mut self, committed: usize) {
        for _ in 0..committed {
            self.apply_one(false);
        }
        self.proposals.clear();
        self.highest.clear();
        self.cell.term = self.cell.term.next();
        self.hub = Hub::new(hub_config());
        for shard in 0..self.shards.len() {
            self.unlink(shard);
        }
    }

    pub fn apply_one(&mut self, tell: bool) {
        let Some(proposal) = self.proposals.pop_front() else { return };
        match proposal {
            Proposal::Register(hello) => {
                self.cell.register(&hello).expect("one instance each");
                if tell {
                    let (node, session) = (hello.node, hello.session);
                    self.hub(HubEvent::NodeRegistered { node, session });
                }
            }
            Proposal::WriteOff(off) => {
                self.cell.write_off(&off.name, off.epoch);
                if tell {
                    self.hub(HubEvent::NodesChanged { nodes: vec![off.id] });
                    self.hub(HubEvent::WriteOffSettled { node: off.name, applied: true });
                }
            }
            Proposal::Report(report) => {
                self.cell.report(report.node, report.epoch, &report.runs);
                if tell {
                    let ReportProposal { name, session, sequence, node, .. } = report;
                    self.hub(HubEvent::ReportApplied { node: name, session, sequence });
                    self.hub(HubEvent::NodesChanged { nodes: vec![node] });
                }
            }
        }
    }

    pub fn pass_time(&mut self, ms: u64) {
        self.now_ms += ms;
        for shard in 0..self.shards.len() {
            self.shard(shard, ShardEvent::Timer);
        }
        self.hub(HubEvent::Timer);
        // Room for about one set of orders at a time.
        let links: Vec<_> = self.hub.links_without_room().collect();
        for link in links {
            self.hub(HubEvent::LinkRoom { link, bytes: ROOM_BYTES });
        }
    }

    /// Delivers one thing of one queue.
    pub fn deliver(&mut self, choice: usize) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        let queues = ids.len() * 2 + self.shards.len() * 2;
        let choice = choice % queues;
        if let Some(id) = ids.get(choice / 2) {
            if choice.is_multiple_of(2) { self.deliver_up(*id) } else { self.deliver_down(*id) }
        } else {
            let shard = (choice - ids.len() * 2) / 2;
            if choice.is_multiple_of(2) { self.deliver_batch(shard) } else { self.deliver_orders(shard) }
        }
    }

    fn deliver_up(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id).expect("listed");
        let shard = connection.shard;
        if let Some(message) = connection.up.pop_front() {
            self.shard(shard, ShardEvent::AgentMessage { connection: id, message });
        }
    }

    fn deliver_down(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id).expect("listed");
        let Some(order) = connection.down.pop_front() else { return };
        if connection.half_open {
            return;
        }
        let said = self.agents[connection.agent].hear(order, &self.cell);
        connection.up.extend(said);
    }

    fn deliver_batch(&mut self, shard: usize) {
        let Some(link) = self.shards[shard].link else { return };
        let Some(messages) = self.shards[shard].up.pop_front() else { return };
        self.shard(shard, ShardEvent::LeaderTook { link, batches: 1 });
        for message in messages {
            if let ShardMessage::NodeHello(hello) = &message {
                let highest = self.highest.entry(hello.node.clone()).or_default();
                *highest = hello.session.max(*highest);
            }
            match message {
                ShardMessage::Hello { name, address } => {
                    self.hub(HubEvent::ShardConnected { link, name, address });
                }
                ShardMessage::NodeReport { .. } if self.fault == Some(Fault::LostReports) => {}
                message => self.hub(HubEvent::ShardMessages { link, messages: vec![message] }),
            }
        }
    }

    fn deliver_orders(&mut self, shard: usize) {
        let Some(link) = self.shards[shard].link else { return };
        if let Some(messages) = self.shards[shard].down.pop_front() {
            self.shard(shard, ShardEvent::LeaderMessages { link, messages });
        }
    }

    // What follows from it.

    fn current(&self, agent: usize) -> Option<ConnectionId> {
        let mine = |c: &Connection| c.agent == agent && !c.half_open;
        self.connections.iter().find(|(_, c)| mine(c)).map(|(id, _)| *id)
    }

    fn shard(&mut self, shard: usize, event: ShardEvent) {
        for action in self.shards[shard].logic.handle(event, self.now_ms) {
            match action {
                ShardAction::ToAgent { connection, order } => {
                    if let Some(connection) = self.connections.get_mut(&connection) {
                        connection.down.push_back(order);
                    }
                }
                ShardAction::DisconnectAgent { connection, .. } => drop(self.connections.remove(&connection)),
                ShardAction::ToLeader { link, messages } if self.shards[shard].link == Some(link) => {
                    self.shards[shard].up.push_back(messages);
                }
                ShardAction::DisconnectLeader { .. } => self.unlink(shard),
                ShardAction::ToLeader { .. } | ShardAction::FetchLog { .. } => {}
            }
        }
    }

    fn hub(&mut self, event: HubEvent) {
        for action in self.hub.handle(event, &self.cell, self.now_ms) {
            match action {
                HubAction::Register { hello } => self.proposals.push_back(Proposal::Register(hello)),
                HubAction::ProposeReport(report) => {
                    assert_eq!(
                        self.highest.get(&report.name),
                        Some(&report.session),
                        "a stale session was heard"
                    );
                    if self.fault == Some(Fault::EarlyAcknowledgement) {
                        self.acknowledge(&report);
                    }
                    self.proposals.push_back(Proposal::Report(report));
                }
                HubAction::Send { link, messages } => {
                    if let Some(shard) = self.shards.iter_mut().find(|shard| shard.link == Some(link)) {
                        shard.down.push_back(messages);
                    }
                }
                HubAction::Disconnect { link, .. } => {
                    if let Some(shard) = self.shards.iter().position(|shard| shard.link == Some(link)) {
                        self.shards[shard].link = None;
                        self.shard(shard, ShardEvent::LeaderDisconnected { link });
                    }
                }
                HubAction::Notice(notice) => panic!("nobody is copied here: {notice}"),
                HubAction::WriteOff(off) => self.proposals.push_back(Proposal::WriteOff(off)),
                HubAction::RegisterShard { .. }
                | HubAction::BrakeOn { .. }
                | HubAction::BrakeOff { .. }
                | HubAction::RemoveShard { .. }
                | HubAction::ConfirmLeadership { .. }
                | HubAction::NodeUsable { .. } => {}
            }
        }
    }

    fn acknowledge(&mut self, report: &ReportProposal) {
        let order = AgentOrder::Acknowledge { sequence: report.sequence };
        let (node, session) = (report.name.clone(), report.session);
        for shard in &mut self.shards {
            let order = MasterMessage::ToNode { node: node.clone(), session, order: order.clone() };
            shard.down.push_back(vec![order]);
        }
    }

    /// Delivers whatever travels; nothing is applied meanwhile.
    pub fn deliver_all(&mut self) {
        for _ in 0..16 {
            for queue in 0..(self.connections.len() * 2 + self.shards.len() * 2) {
                self.deliver(queue);
            }
            self.pass_time(5);
        }
    }

    /// Everything is repaired and every agent finishes what it has: what must come of it?
    pub fn heal(&mut self) {
        for shard in 0..self.shards.len() {
            self.link(shard);
        }
        for round in 0..600 {
            for agent in 0..self.agents.len() {
                if self.current(agent).is_none() {
                    self.connect(agent, agent % SHARDS.len(), true);
                }
                self.finish_one(agent);
            }
            for shard in 0..self.shards.len() {
                if self.shards[shard].link.is_none() {
                    self.link(shard);
                }
            }
            for _ in 0..4 {
                for queue in 0..(self.connections.len() * 2 + self.shards.len() * 2) {
                    for _ in 0..8 {
                        self.deliver(queue);
                    }
                }
                for _ in 0..32 {
                    self.apply_one(true);
                }
            }
            // Agents say that they are there, once per heartbeat; half-open connections stay silent.
            self.pass_time(if round % 2 == 0 { 5 } else { 400 });
            let alive: Vec<_> =
                self.connections.iter_mut().filter(|(_, connection)| !connection.half_open).collect();
            for (_, connection) in alive {
                connection.up.push_back(AgentMessage::Alive);
            }
            if self.is_settled() {
                return;
            }
        }
        let unsettled: Vec<_> = self.agents.iter().filter(|agent| !agent.is_settled()).collect();
        panic!("not settled: {unsettled:#?}\n{:#?}", self.cell.tasks);
    }

    fn is_settled(&self) -> bool {
        self.agents.iter().all(Agent::is_settled)
            && self.cell.tasks.values().all(|task| task.state == State::Ended)
            && self.proposals.is_empty()
    }
}
