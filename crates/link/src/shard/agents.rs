//! The agents of a shard: one current session per node, silence, bounds.

use std::collections::BTreeMap;

use paceline_types::{LinkSession, NodeName};

use super::ShardLogic;
use super::agent::{Agent, Session};
use super::event::{AgentEnd, Claim, ConnectionId, ShardAction};
use super::table::attempts_named;
use crate::message::{AgentMessage, AgentOrder, Hello, Report};
use crate::weight::report_bytes;

/// Silence is looked for this often per detection period.
const CHECKS_PER_SILENCE: u64 = 8;

/// Streams by number, and current sessions by node.
#[derive(Debug)]
pub(super) struct Agents {
    agents: BTreeMap<ConnectionId, Agent>,
    nodes: BTreeMap<NodeName, ConnectionId>,
    attempts: usize,
    pub silence_ms: u64,
}

impl Agents {
    pub(super) fn new(silence_ms: u64) -> Self {
        Self { agents: BTreeMap::new(), nodes: BTreeMap::new(), attempts: 0, silence_ms }
    }

    pub(super) fn sessions(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn attempts(&self) -> usize {
        self.attempts
    }

    pub(super) fn check_interval_ms(&self) -> u64 {
        (self.silence_ms / CHECKS_PER_SILENCE).max(1)
    }

    /// The streams that have a session.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.nodes.values().copied()
    }

    pub(super) fn connection(&self, node: &NodeName) -> Option<ConnectionId> {
        self.nodes.get(node).copied()
    }

    /// The stream of this very session, if it is the node's current one.
    pub(super) fn of_session(&self, node: &NodeName, number: LinkSession) -> Option<ConnectionId> {
        let connection = self.connection(node)?;
        let session = self.agents.get(&connection)?.session.as_ref()?;
        (session.hello.session == number).then_some(connection)
    }

    pub(super) fn session_mut(&mut self, node: &NodeName) -> Option<&mut Session> {
        self.agents.get_mut(self.nodes.get(node)?)?.session.as_mut()
    }

    /// Another leader took over: it knows no session. Gives their nodes.
    pub(super) fn unknown_to_leader(&mut self) -> Vec<NodeName> {
        for session in self.agents.values_mut().filter_map(|agent| agent.session.as_mut()) {
            session.unknown_to_leader();
        }
        self.nodes.keys().cloned().collect()
    }

    /// Reports of a session up to this sequence are in the cell.
    pub(super) fn acknowledged(&mut self, node: &NodeName, sequence: u64) {
        let Some(session) = self.session_mut(node) else { return };
        let before = session.table.attempts();
        session.table.acknowledged(sequence);
        let gone = before - session.table.attempts();
        self.attempts -= gone;
    }

    /// Forgets a stream; gives its session.
    fn remove(&mut self, connection: ConnectionId) -> Option<Session> {
        let session = self.agents.remove(&connection)?.session?;
        self.attempts -= session.table.attempts();
        self.nodes.remove(&session.hello.node);
        Some(session)
    }
}

impl ShardLogic {
    pub(super) fn agent_connected(&mut self, connection: ConnectionId, claim: Claim, now_ms: u64) {
        self.agents.agents.insert(connection, Agent { claim, heard_ms: now_ms, session: None });
        let limit = self.limits.agents_max;
        if self.leaving {
            self.end_agent(connection, AgentEnd::Leaving);
        } else if self.agents.agents.len() > limit {
            self.end_agent(connection, AgentEnd::TooMany { limit });
        }
    }

    pub(super) fn agent_message(&mut self, connection: ConnectionId, message: AgentMessage, now_ms: u64) {
        let Some(agent) = self.agents.agents.get_mut(&connection) else { return };
        agent.heard_ms = now_ms;
        match (message, agent.session.is_some()) {
            (AgentMessage::Hello(hello), false) => self.agent_hello(connection, *hello, now_ms),
            (AgentMessage::Report(report), true) => self.agent_report(connection, report, now_ms),
            (AgentMessage::Alive, true) => {}
            (AgentMessage::LeaseRequest { number }, true) => self.lease_asked(connection, number, now_ms),
            _ => self.end_agent(connection, AgentEnd::OutOfTurn),
        }
    }

    fn agent_hello(&mut self, connection: ConnectionId, hello: Hello, now_ms: u64) {
        let Some(agent) = self.agents.agents.get_mut(&connection) else { return };
        if !agent.claim.covers(&hello.node) {
            return self.end_agent(connection, AgentEnd::NotYourNode { node: hello.node });
        }
        if let Some(incumbent) = self.agents.connection(&hello.node) {
            if let Some(message) = self.keeps_its_place(&hello) {
                return self.end_agent(connection, AgentEnd::Refused { message });
            }
            self.end_agent(incumbent, AgentEnd::Superseded { by: hello.session });
        }
        let node = hello.node.clone();
        self.agents.nodes.insert(node.clone(), connection);
        if let Some(agent) = self.agents.agents.get_mut(&connection) {
            agent.session = Some(Session::new(hello));
        }
        if let Some(list) = self.shards.clone() {
            self.actions.push(ShardAction::ToAgent { connection, order: AgentOrder::Shards(list) });
        }
        self.upward.news(node, 0, now_ms + self.limits.flush_ms);
    }

    /// Why the node's current session stays and this Hello is refused. Another data folder or another boot never
    /// displaces a session that is alive: it may come again once the current one was silent for the detection period.
    fn keeps_its_place(&mut self, hello: &Hello) -> Option<String> {
        let current = &self.agents.session_mut(&hello.node)?.hello;
        let node = &hello.node;
        if current.instance != hello.instance {
            let (first, second) = (current.instance, hello.instance);
            return Some(format!(
                "node {node} is connected as instance {first}; instance {second} is refused"
            ));
        }
        if current.boot != hello.boot {
            let (first, second) = (current.boot, hello.boot);
            return Some(format!("node {node} is connected from boot {first}; boot {second} is held back"));
        }
        let (by, session) = (current.session, hello.session);
        (session <= by).then(|| format!("session {session} is over: {by} came after it"))
    }

    fn agent_report(&mut self, connection: ConnectionId, report: Report, now_ms: u64) {
        let limit = self.limits.attempts_per_agent_max;
        let Some(session) = self.agents.agents.get_mut(&connection).and_then(|agent| agent.session.as_mut())
        else {
            return;
        };
        let (last, sequence) = (session.table.last(), report.sequence);
        if sequence <= last {
            return self.end_agent(connection, AgentEnd::Sequence { last, sequence });
        }
        if usize::try_from(attempts_named(&report)).map_or(true, |named| named > limit) {
            return self.end_agent(connection, AgentEnd::TableFull { whose: "one report", limit });
        }
        let bytes = report_bytes(&report);
        let before = session.table.attempts();
        session.table.merge(report);
        let attempts = session.table.attempts();
        let node = session.hello.node.clone();
        self.agents.attempts += attempts - before;
        if attempts > limit {
            return self.end_agent(connection, AgentEnd::TableFull { whose: "the agent's table", limit });
        }
        let limit = self.limits.attempts_max;
        if self.agents.attempts > limit {
            return self.end_agent(connection, AgentEnd::TableFull { whose: "the shard's tables", limit });
        }
        self.upward.news(node, bytes, now_ms + self.limits.flush_ms);
    }

    /// A later request takes the place of one that was not passed on: of two only the later is worth an answer.
    fn lease_asked(&mut self, connection: ConnectionId, number: u64, now_ms: u64) {
        let agent = self.agents.agents.get_mut(&connection);
        if let Some(session) = agent.and_then(|agent| agent.session.as_mut()) {
            session.lease = Some(number);
            let node = session.hello.node.clone();
            self.upward.news(node, 0, now_ms + self.limits.flush_ms);
        }
    }

    /// The stream ended by itself.
    pub(super) fn agent_gone(&mut self, connection: ConnectionId) {
        if let Some(session) = self.agents.remove(connection)
            && session.introduced
        {
            let Hello { node, session, .. } = session.hello;
            self.tell_gone(node, session);
        }
    }

    /// Ends a stream for a reason, which the agent is told.
    pub(super) fn end_agent(&mut self, connection: ConnectionId, reason: AgentEnd) {
        if !self.agents.agents.contains_key(&connection) {
            return;
        }
        match &reason {
            // Its queue is full: the closed stream must say it.
            AgentEnd::Stalled => {}
            _ => {
                let retry_after_ms =
                    if reason == AgentEnd::Leaving { 0 } else { self.limits.refused_retry_ms };
                let order = AgentOrder::Refused { message: reason.to_string(), retry_after_ms };
                self.actions.push(ShardAction::ToAgent { connection, order });
            }
        }
        match &reason {
            // The leader loses the whole shard in a moment; its agents are elsewhere before they are missed.
            AgentEnd::Leaving => drop(self.agents.remove(connection)),
            _ => self.agent_gone(connection),
        }
        self.actions.push(ShardAction::DisconnectAgent { connection, reason });
    }

    /// Ends the session that the leader refused, without telling the leader what it knows.
    pub(super) fn end_refused(&mut self, connection: ConnectionId, message: String) {
        self.agents.remove(connection);
        self.actions.push(ShardAction::DisconnectAgent { connection, reason: AgentEnd::Refused { message } });
    }

    pub(super) fn check_agents(&mut self, now_ms: u64) {
        let (silence_ms, hello_within_ms) = (self.agents.silence_ms, self.limits.hello_within_ms);
        let overdue = |agent: &Agent| {
            let silent_ms = now_ms.saturating_sub(agent.heard_ms);
            match agent.session {
                Some(_) => (silent_ms > silence_ms).then_some(AgentEnd::Silent { limit_ms: silence_ms }),
                None => {
                    (silent_ms > hello_within_ms).then_some(AgentEnd::NoHello { limit_ms: hello_within_ms })
                }
            }
        };
        let agents = self.agents.agents.iter();
        let ended: Vec<_> = agents.filter_map(|(id, agent)| Some((*id, overdue(agent)?))).collect();
        for (connection, reason) in ended {
            self.end_agent(connection, reason);
        }
    }

    pub(super) fn leave(&mut self) {
        self.leaving = true;
        let connections: Vec<_> = self.agents.agents.keys().copied().collect();
        for connection in connections {
            self.end_agent(connection, AgentEnd::Leaving);
        }
    }
}
