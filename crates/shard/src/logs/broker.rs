//! Which agent is asked and which master gets the answer: every ticket is good for one piece, on the two streams that
//! it was asked on, for a few seconds.
//!
//! Pure: ids and times in, ids out. It holds no bytes of any output; whoever calls it holds the ends of the streams.

use std::collections::BTreeMap;

use paceline_api::v1::LogFailure;
use paceline_types::NodeName;

/// Pieces under way through a shard. At 256 KiB each this bounds what readers of output can hold of it to 16 MiB.
pub(super) const OPEN_MAX: usize = 64;
/// Pieces under way from one node: its agent reads them one after the other, and others want theirs too.
pub(super) const OPEN_PER_NODE_MAX: usize = 8;
/// Streams that claim one node: the live one, and what a broken network or a cloned folder leaves beside it.
const STREAMS_PER_NODE_MAX: usize = 4;
/// Longer than a master waits for a piece: what was not answered by then is awaited by nobody.
pub(super) const TICKET_LIFE_MS: u64 = 15_000;

/// An agent's stream, numbered by the shell and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgentStreamId(pub u64);

/// A stream to a master, numbered by the shell and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MasterStreamId(pub u64);

/// Why a question is not passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAsked {
    #[error("node {0} does not speak through this shard")]
    NodeNotHere(NodeName),
    #[error("{OPEN_MAX} pieces of output are under way through this shard, which is its limit")]
    ShardBusy,
    #[error("{OPEN_PER_NODE_MAX} pieces of output are under way from node {0}, which is the limit")]
    NodeBusy(NodeName),
    #[error("ticket {0} is taken; tickets are used once and begin at 1")]
    Ticket(u64),
}

impl NotAsked {
    /// What the master may do about it.
    pub(super) const fn failure(&self) -> LogFailure {
        match self {
            Self::NodeNotHere(_) => LogFailure::NodeNotHere,
            Self::ShardBusy | Self::NodeBusy(_) => LogFailure::Busy,
            Self::Ticket(_) => LogFailure::Unspecified,
        }
    }
}

/// A piece that was asked for.
#[derive(Debug)]
struct Open {
    master: MasterStreamId,
    agent: AgentStreamId,
    expires_ms: u64,
}

/// The streams of agents and the tickets that are open.
#[derive(Debug, Default)]
pub(super) struct Broker {
    /// The streams of each node, newest last. The newest is asked; when it ends, the one before it is again.
    nodes: BTreeMap<NodeName, Vec<AgentStreamId>>,
    open: BTreeMap<u64, Open>,
}

impl Broker {
    /// An agent's stream named its node. Refused when too many streams do.
    pub(super) fn agent_opened(&mut self, stream: AgentStreamId, node: &NodeName) -> bool {
        let streams = self.nodes.entry(node.clone()).or_default();
        let room = streams.len() < STREAMS_PER_NODE_MAX;
        if room {
            streams.push(stream);
        }
        room
    }

    /// An agent's stream ended: the tickets that it leaves open, with who waits for them.
    pub(super) fn agent_closed(
        &mut self,
        stream: AgentStreamId,
        node: &NodeName,
    ) -> Vec<(MasterStreamId, u64)> {
        if let Some(streams) = self.nodes.get_mut(node) {
            streams.retain(|known| *known != stream);
            if streams.is_empty() {
                self.nodes.remove(node);
            }
        }
        let left: Vec<(MasterStreamId, u64)> = self
            .open
            .iter()
            .filter(|(_, open)| open.agent == stream)
            .map(|(ticket, open)| (open.master, *ticket))
            .collect();
        for (_, ticket) in &left {
            self.open.remove(ticket);
        }
        left
    }

    /// A stream to a master ended: nobody waits for its answers.
    pub(super) fn master_closed(&mut self, master: MasterStreamId) {
        self.open.retain(|_, open| open.master != master);
    }

    /// A master asks: which stream to pass the question to.
    pub(super) fn asked(
        &mut self,
        master: MasterStreamId,
        ticket: u64,
        node: &NodeName,
        now_ms: u64,
    ) -> Result<AgentStreamId, NotAsked> {
        self.open.retain(|_, open| open.expires_ms > now_ms);
        if ticket == 0 || self.open.contains_key(&ticket) {
            return Err(NotAsked::Ticket(ticket));
        }
        let agent = self.nodes.get(node).and_then(|streams| streams.last().copied());
        let agent = agent.ok_or_else(|| NotAsked::NodeNotHere(node.clone()))?;
        if self.open.len() >= OPEN_MAX {
            return Err(NotAsked::ShardBusy);
        }
        if self.open.values().filter(|open| open.agent == agent).count() >= OPEN_PER_NODE_MAX {
            return Err(NotAsked::NodeBusy(node.clone()));
        }
        self.open.insert(ticket, Open { master, agent, expires_ms: now_ms + TICKET_LIFE_MS });
        Ok(agent)
    }

    /// An agent answers: who waits for it. Nobody where the ticket was never asked of this stream, was answered
    /// before, or is too old.
    pub(super) fn answered(
        &mut self,
        stream: AgentStreamId,
        ticket: u64,
        now_ms: u64,
    ) -> Option<MasterStreamId> {
        let open = self.open.get(&ticket).filter(|open| open.agent == stream)?;
        let (master, in_time) = (open.master, open.expires_ms > now_ms);
        self.open.remove(&ticket);
        in_time.then_some(master)
    }

    /// A question that could not be handed to its stream was not asked.
    pub(super) fn withdrawn(&mut self, ticket: u64) {
        self.open.remove(&ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1: MasterStreamId = MasterStreamId(1);
    const M2: MasterStreamId = MasterStreamId(2);
    const A1: AgentStreamId = AgentStreamId(11);
    const A2: AgentStreamId = AgentStreamId(12);

    fn node(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    /// Nodes a and b, with a stream each.
    fn broker() -> Broker {
        let mut broker = Broker::default();
        assert!(broker.agent_opened(A1, &node("a")));
        assert!(broker.agent_opened(A2, &node("b")));
        broker
    }

    #[test]
    fn an_answer_goes_to_whoever_asked_and_only_once() {
        let mut broker = broker();
        assert_eq!(broker.asked(M1, 70, &node("a"), 0), Ok(A1));
        assert_eq!(broker.asked(M2, 71, &node("b"), 0), Ok(A2));
        assert_eq!(broker.answered(A2, 71, 1), Some(M2));
        assert_eq!(broker.answered(A1, 70, 1), Some(M1));
        assert_eq!(broker.answered(A1, 70, 1), None, "a ticket is good for one piece");
    }

    #[test]
    fn a_ticket_of_one_node_is_worth_nothing_to_another() {
        let mut broker = broker();
        broker.asked(M1, 70, &node("a"), 0).expect("asked");
        assert_eq!(broker.answered(A2, 70, 1), None);
        assert_eq!(broker.answered(A1, 70, 1), Some(M1), "the attempt of the other spoiled nothing");
        assert_eq!(broker.answered(A1, 99, 1), None, "nobody asked");
    }

    #[test]
    fn a_ticket_dies_of_age() {
        let mut broker = broker();
        broker.asked(M1, 70, &node("a"), 5).expect("asked");
        assert_eq!(broker.answered(A1, 70, 5 + TICKET_LIFE_MS), None);
        broker.asked(M1, 71, &node("a"), 10).expect("asked");
        assert_eq!(broker.answered(A1, 71, 9 + TICKET_LIFE_MS), Some(M1));
    }

    #[test]
    fn a_ticket_is_refused_while_it_is_taken() {
        let mut broker = broker();
        broker.asked(M1, 70, &node("a"), 0).expect("asked");
        assert_eq!(broker.asked(M2, 70, &node("b"), 0), Err(NotAsked::Ticket(70)));
        assert_eq!(broker.asked(M2, 0, &node("b"), 0), Err(NotAsked::Ticket(0)));
    }

    #[test]
    fn a_node_that_is_not_here_is_named() {
        let refused = broker().asked(M1, 1, &node("c"), 0).expect_err("not here");
        assert_eq!((refused.failure(), refused), (LogFailure::NodeNotHere, NotAsked::NodeNotHere(node("c"))));
    }

    #[test]
    fn bounds_refuse_until_an_answer_or_age_makes_room() {
        let mut broker = Broker::default();
        let nodes = OPEN_MAX / OPEN_PER_NODE_MAX;
        for number in 0..=nodes as u64 {
            assert!(broker.agent_opened(AgentStreamId(number), &node(&format!("n{number}"))));
        }
        let mut ticket = 0;
        for number in 0..nodes {
            for _ in 0..OPEN_PER_NODE_MAX {
                ticket += 1;
                broker.asked(M1, ticket, &node(&format!("n{number}")), 0).expect("room");
            }
            if number == 0 {
                let refused = broker.asked(M1, 1_000, &node("n0"), 0).expect_err("the node is busy");
                assert_eq!(refused, NotAsked::NodeBusy(node("n0")));
            }
        }
        let last = node(&format!("n{nodes}"));
        let refused = broker.asked(M1, 1_000, &last, 0).expect_err("the shard is busy");
        assert_eq!((refused.failure(), refused), (LogFailure::Busy, NotAsked::ShardBusy));
        assert_eq!(broker.answered(AgentStreamId(0), 1, 1), Some(M1));
        assert_eq!(broker.asked(M1, 1_000, &last, 1), Ok(AgentStreamId(nodes as u64)));
        assert_eq!(broker.asked(M1, 1_001, &last, TICKET_LIFE_MS), Ok(AgentStreamId(nodes as u64)));
    }

    #[test]
    fn the_end_of_an_agents_stream_frees_its_tickets_and_says_whose_they_were() {
        let mut broker = broker();
        for (master, ticket, name) in [(M1, 1, "a"), (M2, 2, "a"), (M1, 3, "b")] {
            broker.asked(master, ticket, &node(name), 0).expect("asked");
        }
        assert_eq!(broker.agent_closed(A1, &node("a")), [(M1, 1), (M2, 2)]);
        assert_eq!(broker.asked(M1, 4, &node("a"), 0), Err(NotAsked::NodeNotHere(node("a"))));
        assert_eq!(broker.answered(A2, 3, 0), Some(M1));
    }

    #[test]
    fn the_end_of_a_masters_stream_frees_its_tickets_alone() {
        let mut broker = broker();
        broker.asked(M1, 1, &node("a"), 0).expect("asked");
        broker.asked(M2, 2, &node("a"), 0).expect("asked");
        broker.master_closed(M1);
        assert_eq!(broker.answered(A1, 1, 0), None);
        assert_eq!(broker.answered(A1, 2, 0), Some(M2));
    }

    #[test]
    fn the_newest_stream_of_a_node_is_asked_and_the_one_before_it_is_not_forgotten() {
        let mut broker = broker();
        let newer = AgentStreamId(20);
        assert!(broker.agent_opened(newer, &node("a")));
        assert_eq!(broker.asked(M1, 1, &node("a"), 0), Ok(newer));
        broker.agent_closed(newer, &node("a"));
        assert_eq!(broker.asked(M1, 2, &node("a"), 0), Ok(A1));
        for number in 21..21 + STREAMS_PER_NODE_MAX as u64 - 1 {
            assert!(broker.agent_opened(AgentStreamId(number), &node("a")));
        }
        assert!(!broker.agent_opened(AgentStreamId(30), &node("a")), "a flood of streams is refused");
        assert_eq!(broker.asked(M1, 3, &node("a"), 0), Ok(AgentStreamId(23)));
    }
}
