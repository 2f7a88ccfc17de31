//! The agent's side of its link: one session at a time, through the shard where the node belongs.
//!
//! ```text
//!  Waiting ─► Dialling ─► Reached ─► Opening ─► Open ──► lost, refused, not welcomed
//!     ▲          │                      │         │
//!     └──────────┴──────────────────────┴─────────┘ with jittered waits
//! ```
//!
//! Knows addresses, waits and heartbeats; what a session carries is decided by the owner, who is asked for a
//! Hello at `Reached` and told of every order. A node away from its home dials the home first and moves only
//! when it has answered, so a dead home costs nothing but a connection attempt.

pub(crate) mod dial;
mod pace;
mod round;
mod session;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use paceline_link::message::{AgentMessage, AgentOrder, Hello};
use paceline_runtime::Runtime;
use paceline_telemetry::Metrics;
use paceline_types::{NodeName, ShardName};
use tokio::time::{Instant, sleep_until};

use crate::config::{AgentConfig, Timings, Workers};
use crate::jitter::Jitter;
use dial::{DialError, Dialler, Opened, Reached};
use pace::{Pace, RETURN_SPREAD_MS};
use round::{Round, RoundEnd};
use session::{News, Session};
use targets::Targets;

/// How much later than the last attempt a home that did not answer is dialled again, and as much jitter.
const HOME_RETRY_MS: u64 = 20_000;
/// That wait is doubled up to this often for a home that connects and does not serve.
const HOME_DOUBLINGS_MAX: u32 = 4;
/// A session without a Welcome is kept up to this many doublings of its patience.
const PATIENCE_DOUBLINGS_MAX: u32 = 4;

/// What the owner of the link must know.
pub(crate) enum LinkEvent {
    /// A shard is connected and wants a Hello: call [`Link::open`].
    Reached,
    /// An order came: a Welcome, orders or an acknowledgement; the link keeps the rest to itself.
    Order(AgentOrder),
    /// The session or the attempt at one ended, and why.
    Lost(String),
}

enum State {
    Waiting { until: Instant },
    Dialling(Round),
    Reached(Option<Box<Reached>>),
    Opening(paceline_identity::BoxFuture<'static, Result<Opened, DialError>>),
    Open(Box<Session>),
}

pub(crate) struct Link {
    node: NodeName,
    timings: Timings,
    metrics: Arc<Metrics>,
    dialler: Dialler,
    runtime: Arc<dyn Runtime>,
    workers: Workers,
    targets: Targets,
    jitter: Jitter,
    state: State,
    pace: Pace,
    began: Instant,
    /// Sessions since the last Welcome that did not get one.
    unwelcomed: u32,
    /// Sessions at home, since the last good one, that were not welcomed.
    home_refusals: u32,
}

impl Link {
    pub(crate) fn new(config: &AgentConfig, dialler: Dialler, runtime: Arc<dyn Runtime>) -> Self {
        let mut jitter = Jitter::new(config.seed);
        let start = usize::try_from(jitter.below(1 << 16)).expect("16 bits fit any usize");
        let (shards, masters) = (config.shards.clone(), config.masters.clone());
        Self {
            node: config.node.clone(),
            timings: config.timings,
            metrics: Arc::clone(&config.metrics),
            dialler,
            runtime,
            workers: config.workers,
            targets: Targets::new(config.node.clone(), shards, masters, start),
            jitter,
            state: State::Waiting { until: Instant::now() },
            pace: Pace::new(&config.timings),
            began: Instant::now(),
            unwelcomed: 0,
            home_refusals: 0,
        }
    }

    /// Whether there is anybody to dial at all.
    pub(crate) fn has_targets(&self) -> bool {
        !self.targets.is_empty()
    }

    /// The next event. May be dropped and called again at any point.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    async fn step(&mut self) -> Option<LinkEvent> {
        match &mut self.state {
            State::Waiting { until } => {
                sleep_until(*until).await;
                let ask = self.pace.may_ask(elapsed_ms(self.began), &mut self.jitter);
                self.state = State::Dialling(Round::new(self.targets.round(ask)));
                None
            }
            State::Dialling(round) => {
                let end = round.next(&self.dialler, &self.node).await;
                self.on_round(end)
            }
            State::Reached(_) => std::future::pending().await,
            State::Opening(opening) => {
                let opened = opening.await;
                self.on_opened(opened)
            }
            State::Open(session) => {
                let news = session.next().await;
                self.on_news(news)
            }
        }
    }

    fn on_round(&mut self, end: RoundEnd) -> Option<LinkEvent> {
        match end {
            RoundEnd::Reached(reached) => {
                self.state = State::Reached(Some(reached));
                Some(LinkEvent::Reached)
            }
            RoundEnd::Listed(list) => {
                self.targets.learn(list);
                let wait = Duration::from_millis(self.pace.wait(false, &mut self.jitter));
                self.state = State::Waiting { until: Instant::now() + wait };
                None
            }
            RoundEnd::Failed { cause, costly } => Some(self.lose(&cause, costly)),
        }
    }

    /// Says Hello to the shard that was reached.
    pub(crate) fn open(&mut self, hello: Hello) {
        if let State::Reached(reached) = &mut self.state
            && let Some(reached) = reached.take()
        {
            tracing::info!(shard = %reached.shard, address = reached.address, session = %hello.session, "connected");
            self.state = State::Opening(self.dialler.open(*reached, hello));
        }
    }

    fn on_opened(&mut self, opened: Result<Opened, DialError>) -> Option<LinkEvent> {
        match opened {
            Ok(opened) => {
                let logs = crate::logs::spawn(
                    opened.channel.clone(),
                    self.node.clone(),
                    Arc::clone(&self.runtime),
                    self.workers,
                );
                let patience_ms = self.timings.welcome_ms << self.unwelcomed.min(PATIENCE_DOUBLINGS_MAX);
                let heartbeat = Duration::from_millis(self.timings.heartbeat_ms);
                let patience = Duration::from_millis(patience_ms);
                self.state = State::Open(Box::new(Session::new(opened, logs, heartbeat, patience)));
                None
            }
            Err(error) => Some(self.lose(&explain(&error), true)),
        }
    }

    fn on_news(&mut self, news: News) -> Option<LinkEvent> {
        match news {
            News::Order(order) => self.on_order(order),
            News::Skipped => {
                let shard = self.session()?.shard().to_string();
                self.metrics.skipped_messages(&shard, 1);
                None
            }
            News::Ended(cause) => Some(self.lose_to_another(&cause)),
            News::NotWelcomed if self.targets.has_choice() => {
                self.unwelcomed += 1;
                Some(self.lose_to_another("no leader welcomed the session"))
            }
            News::NotWelcomed => {
                self.session()?.wait_for_welcome_again();
                None
            }
            News::MoveDue => {
                let present = self.session()?.shard().clone();
                let home = self.targets.home_elsewhere(&present).map(|(target, _)| target);
                let dialling = home.map(|home| self.dialler.dial(home, &self.node));
                self.session()?.dial_home(dialling);
                None
            }
            News::Home(Ok(reached)) => {
                tracing::info!(shard = %reached.shard, "moving to the shard where this node belongs");
                self.state = State::Reached(Some(Box::new(reached)));
                Some(LinkEvent::Reached)
            }
            News::Home(Err(error)) => {
                tracing::debug!(error = explain(&error), "the shard where this node belongs does not answer");
                let wait = HOME_RETRY_MS + self.jitter.below(HOME_RETRY_MS);
                self.session()?.move_in(Duration::from_millis(wait));
                None
            }
        }
    }

    fn on_order(&mut self, order: AgentOrder) -> Option<LinkEvent> {
        match order {
            AgentOrder::Welcome { heartbeat_ms, .. } => {
                self.pace.welcomed();
                self.unwelcomed = 0;
                self.targets.settle();
                self.session()?.welcomed(Duration::from_millis(heartbeat_ms.max(1)));
                self.plan_move();
                Some(LinkEvent::Order(order))
            }
            AgentOrder::Shards(list) => {
                if self.targets.learn(list) && self.session()?.is_welcomed() {
                    self.plan_move();
                }
                None
            }
            AgentOrder::Refused { message, retry_after_ms } => {
                let lost = self.lose_to_another(&format!("the session was refused: {message}"));
                if let State::Waiting { until } = &mut self.state {
                    let after = retry_after_ms + self.jitter.below(RETURN_SPREAD_MS);
                    *until = (*until).max(Instant::now() + Duration::from_millis(after));
                }
                Some(lost)
            }
            AgentOrder::Orders(_) | AgentOrder::Acknowledge { .. } | AgentOrder::Lease(_) => {
                Some(LinkEvent::Order(order))
            }
        }
    }

    /// Moves home when its time has come, if home is elsewhere.
    fn plan_move(&mut self) {
        let Some(present) = self.session().map(|session| session.shard().clone()) else { return };
        let delay_ms = self.targets.home_elsewhere(&present).map(|(_, delay_ms)| delay_ms);
        if delay_ms.is_none() {
            self.home_refusals = 0;
        }
        let longer_ms = HOME_RETRY_MS * ((1 << self.home_refusals.min(HOME_DOUBLINGS_MAX)) - 1);
        if let Some(session) = self.session() {
            match delay_ms {
                Some(delay_ms) => session.move_in(Duration::from_millis(delay_ms + longer_ms)),
                None => session.stay(),
            }
        }
    }

    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open(session) => Some(session),
            _ => None,
        }
    }

    /// The shard of the present session.
    pub(crate) fn shard(&self) -> Option<&ShardName> {
        match &self.state {
            State::Open(session) => Some(session.shard()),
            _ => None,
        }
    }

    /// Whether a message can be sent now.
    pub(crate) fn has_room(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.has_room())
    }

    /// Sends a message; only where there is room.
    pub(crate) fn send(&mut self, message: AgentMessage) {
        if let Some(session) = self.session() {
            session.send(message);
        }
    }

    /// The shard, or the way to it, is of no use at present: the next one in the node's order is tried first.
    /// A home that takes connections and does not serve is dialled ever more rarely.
    fn lose_to_another(&mut self, cause: &str) -> LinkEvent {
        if let State::Open(session) = &self.state {
            let is_home = self.targets.home_elsewhere(session.shard()).is_none();
            if is_home && !session.is_welcomed() {
                self.home_refusals = self.home_refusals.saturating_add(1);
            }
            self.targets.pass_over(session.shard(), session.address());
        }
        self.lose(cause, true)
    }

    /// Ends the session, to begin another soon.
    pub(crate) fn drop_session(&mut self, cause: &str) -> LinkEvent {
        self.lose(cause, true)
    }

    fn lose(&mut self, cause: &str, costly: bool) -> LinkEvent {
        let wait = self.pace.failed(costly, elapsed_ms(self.began), &mut self.jitter);
        self.state = State::Waiting { until: Instant::now() + Duration::from_millis(wait) };
        LinkEvent::Lost(cause.to_owned())
    }

    /// Says goodbye: ends our direction and lets the shard end its own.
    pub(crate) async fn leave(&mut self) {
        let left = State::Waiting { until: Instant::now() };
        if let State::Open(session) = std::mem::replace(&mut self.state, left) {
            session.leave().await;
        }
    }
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An error with its causes in one line, for the log and the health check.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
