//! The owner of the shard's state: one task, one closed enum of events; calls the logic and does what it says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use paceline_link::message::{AgentMessage, MasterMessage};
use paceline_link::{Claim, ConnectionId, LinkId, ShardAction, ShardEvent, ShardLogic};
use paceline_telemetry::{Check, Direction, Metrics};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::connection::{AgentStream, Taken};
use crate::intake::Held;
use crate::leader::LeaderStream;

/// Events that wait for the owner, whose bytes [`crate::intake`] bounds: beyond it streams are read no further. A full one is some milliseconds of work.
pub(crate) const EVENTS_MAX: usize = 4_096;

/// What happens to a shard.
#[derive(Debug)]
pub(crate) enum Event {
    /// An agent's stream began.
    AgentConnected { connection: ConnectionId, claim: Claim, stream: AgentStream },
    /// An agent said something.
    AgentMessage { connection: ConnectionId, message: AgentMessage, held: Held },
    /// An agent's stream ended, by a fault where there is a reason.
    AgentDisconnected { connection: ConnectionId, why: Option<String> },
    /// A stream to a master begins.
    LeaderConnected { link: LinkId, stream: LeaderStream },
    /// The leader said something.
    LeaderMessages { link: LinkId, messages: Vec<MasterMessage>, held: Held },
    /// The stream to the master ended.
    LeaderDisconnected { link: LinkId },
    /// Agents are to go elsewhere; answered when they were told.
    Leave(oneshot::Sender<()>),
}

/// State and the ends of all streams.
pub(crate) struct Owner {
    logic: ShardLogic,
    agents: BTreeMap<ConnectionId, AgentStream>,
    leader: Option<(LinkId, LeaderStream)>,
    metrics: Arc<Metrics>,
    ready: Check,
    led: Option<bool>,
    started: Instant,
}

impl Owner {
    pub(crate) fn new(logic: ShardLogic, metrics: Arc<Metrics>, ready: Check) -> Self {
        let (agents, leader, led) = (BTreeMap::new(), None, None);
        Self { logic, agents, leader, metrics, ready, led, started: Instant::now() }
    }

    /// Runs until every sender of events is gone.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        loop {
            self.show();
            let wake = self.started + Duration::from_millis(self.logic.wake_ms());
            let taken = self.leader.as_ref().map(|(link, stream)| (*link, stream.taken.clone()));
            let batches_taken = async {
                match &taken {
                    Some((_, taken)) => taken.changed.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    None => return,
                    Some(event) => self.on(event),
                },
                () = batches_taken => if let Some((link, taken)) = &taken {
                    self.step(ShardEvent::LeaderTook { link: *link, batches: taken.take() });
                },
                () = sleep_until(wake) => self.step(ShardEvent::Timer),
            }
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::AgentConnected { connection, claim, stream } => {
                self.agents.insert(connection, stream);
                self.step(ShardEvent::AgentConnected { connection, claim });
            }
            Event::AgentMessage { connection, message, held: _held } => {
                self.metrics.link.messages.of(Direction::Received).add(1);
                self.step(ShardEvent::AgentMessage { connection, message });
            }
            Event::AgentDisconnected { connection, why } => {
                if let Some(stream) = self.agents.remove(&connection) {
                    if let Some(why) = &why {
                        tracing::info!(connection = connection.0, why, "an agent's stream broke");
                        stream.end(why);
                    }
                    self.step(ShardEvent::AgentDisconnected { connection });
                }
            }
            Event::LeaderConnected { link, stream } => {
                self.leader = Some((link, stream));
                self.step(ShardEvent::LeaderConnected { link });
            }
            Event::LeaderMessages { link, messages, held: _held } => {
                self.step(ShardEvent::LeaderMessages { link, messages })
            }
            Event::LeaderDisconnected { link } => {
                self.leader.take_if(|(known, _)| *known == link);
                self.step(ShardEvent::LeaderDisconnected { link });
            }
            Event::Leave(told) => {
                self.step(ShardEvent::Leave);
                // Nobody waits any more when the process is already ending.
                let _ = told.send(());
            }
        }
    }

    /// One event through the logic, and whatever doing its actions gives rise to.
    fn step(&mut self, event: ShardEvent) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for action in self.logic.handle(event, now_ms) {
                events.extend(self.act(action));
            }
        }
    }

    fn act(&mut self, action: ShardAction) -> Option<ShardEvent> {
        match action {
            ShardAction::ToAgent { connection, order } => {
                let stream = self.agents.get(&connection)?;
                self.metrics.link.messages.of(Direction::Sent).add(1);
                (stream.send(order.into()) == Taken::Stalled)
                    .then_some(ShardEvent::AgentStalled { connection })
            }
            ShardAction::DisconnectAgent { connection, reason } => {
                tracing::info!(connection = connection.0, %reason, "an agent's stream is closed");
                self.agents.remove(&connection)?.end(&reason.to_string());
                None
            }
            ShardAction::ToLeader { link, messages } => {
                let (_, stream) = self.leader.as_ref().filter(|(known, _)| *known == link)?;
                // Room is there by the logic's own bound; a closed outbox is a stream whose end is on its way to us.
                let _ = stream.outbox.try_send(messages.into());
                None
            }
            ShardAction::DisconnectLeader { link, reason } => {
                tracing::info!(%reason, "the stream to the leader is closed");
                self.leader.take_if(|(known, _)| *known == link);
                None
            }
            ShardAction::FetchLog { request, .. } => {
                tracing::debug!(node = %request.node, "asked for output on the link: it has a stream of its own");
                None
            }
        }
    }

    /// Keeps gauges and readiness true.
    fn show(&mut self) {
        self.metrics.link.sessions.set(i64::try_from(self.logic.agents()).unwrap_or(i64::MAX));
        let led = self.logic.has_leader();
        if self.led != Some(led) {
            self.led = Some(led);
            match led {
                true => self.ready.pass(),
                false => self.ready.fail("no leader has accepted this shard"),
            }
        }
    }
}
