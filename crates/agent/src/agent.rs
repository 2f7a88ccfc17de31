//! The owner task: one event at a time, a pure decision, its changes stored, its actions carried out.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use paceline_identity::Credentials;
use paceline_link::message::{AgentMessage, AgentOrder, Hello};
use paceline_telemetry::{AttemptState, Check, Direction, Probe};
use paceline_types::LEASE_ASK_EVERY_MS;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::folder::Storage;
use crate::link::{Link, LinkEvent};
use crate::report_pace::ReportPace;
use crate::table::{Action, AgentTable, Decision, REPORT_ATTEMPTS_MAX};
use crate::work::{Done, Work};

/// How often the days left of the certificate are counted.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(6 * 3_600);

/// Everything that can happen to an agent.
enum Event {
    /// The link has something to say.
    Link(LinkEvent),
    /// A call to the runtime came back.
    Done(Done),
    /// What changed has waited long enough to be reported.
    Flush,
    /// Time to look for what was missed.
    Sweep,
    /// Time to ask for the next lease.
    Lease,
}

pub(crate) struct Agent<S> {
    config: AgentConfig,
    credentials: Arc<Credentials>,
    storage: S,
    table: AgentTable,
    link: Link,
    work: Work,
    capabilities: Vec<String>,
    pace: ReportPace,
    sweep_at: Instant,
    lease_at: Instant,
    certificate_at: Instant,
    linked: Check,
    /// Why there is no session, so that an outage of an hour is one line in the log and not thousands.
    lost: String,
}

impl<S: Storage> Agent<S> {
    pub(crate) fn new(
        config: AgentConfig,
        credentials: Arc<Credentials>,
        storage: S,
        table: AgentTable,
        link: Link,
        work: Work,
        capabilities: Vec<String>,
    ) -> Self {
        let linked = config.health.check(Probe::Ready, "link");
        let pace = ReportPace::new(&config.timings);
        Self {
            pace,
            config,
            credentials,
            storage,
            table,
            link,
            work,
            capabilities,
            certificate_at: Instant::now(),
            sweep_at: Instant::now(),
            lease_at: Instant::now(),
            linked,
            lost: String::new(),
        }
    }

    /// Runs until `shutdown`; then waits a little for what is on its way, says goodbye and leaves the tasks
    /// running.
    pub(crate) async fn run(
        mut self,
        recovered: Decision,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AgentError> {
        let mut shutdown = std::pin::pin!(shutdown);
        self.carry_out(recovered)?;
        loop {
            let event = tokio::select! {
                biased;
                () = &mut shutdown => break,
                event = self.next() => event,
            };
            self.handle(event)?;
        }
        self.leave().await
    }

    async fn next(&mut self) -> Event {
        let flush = async {
            match self.pace.due() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.link.next() => Event::Link(event),
            done = self.work.next() => Event::Done(done),
            () = flush => Event::Flush,
            () = sleep_until(self.sweep_at) => Event::Sweep,
            () = sleep_until(self.lease_at) => Event::Lease,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), AgentError> {
        match event {
            Event::Link(event) => self.on_link(event)?,
            Event::Done(done) => self.on_done(done)?,
            Event::Flush => self.send_reports(),
            Event::Sweep => self.sweep()?,
            Event::Lease => self.ask_lease(),
        }
        if self.table.wants_lease_now() {
            self.ask_lease();
        }
        self.plan_flush();
        Ok(())
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), AgentError> {
        match event {
            LinkEvent::Reached => self.say_hello(),
            LinkEvent::Lost(cause) => {
                self.on_lost(&cause);
                Ok(())
            }
            LinkEvent::Order(order) => {
                self.config.metrics.link.messages.of(Direction::Received).inc();
                self.on_order(order)
            }
        }
    }

    /// A new session: a number never used before, and nothing sent of the table yet.
    fn say_hello(&mut self) -> Result<(), AgentError> {
        let session = self.storage.next_session()?;
        self.table.on_session();
        self.link.open(Hello {
            node: self.config.node.clone(),
            instance: self.storage.instance(),
            boot: self.config.boot,
            epoch: self.table.epoch(),
            session,
            fence: self.table.fence(),
            capacity: self.config.capacity,
            labels: self.config.labels.clone(),
            capabilities: self.capabilities.clone(),
            certificate_der: Vec::new(),
            signature: Vec::new(),
        });
        Ok(())
    }

    fn on_lost(&mut self, cause: &str) {
        if self.lost == cause {
            tracing::debug!(cause, "still no session; tasks go on");
        } else {
            tracing::warn!(cause, "no session; tasks go on");
            cause.clone_into(&mut self.lost);
        }
        self.linked.fail(cause);
        self.config.metrics.link.sessions.set(0);
        self.table.on_session();
        self.pace.flushed();
    }

    fn on_order(&mut self, order: AgentOrder) -> Result<(), AgentError> {
        match order {
            AgentOrder::Welcome { node, epoch, heartbeat_ms } => {
                let shard = self.link.shard().map(ToString::to_string);
                tracing::info!(%node, %epoch, heartbeat_ms, shard, "welcome");
                self.linked.pass();
                self.lost.clear();
                self.config.metrics.link.sessions.set(1);
                let decision = self.table.on_welcome(epoch);
                self.carry_out(decision)
            }
            AgentOrder::Orders(orders) => {
                let decision = self.table.on_orders(&orders);
                if let Some(fence) = decision.stale_below {
                    tracing::warn!(token = ?orders.token, ?fence, "orders of a leader of the past were dropped");
                }
                self.carry_out(decision)
            }
            AgentOrder::Acknowledge { sequence } => {
                let decision = self.table.on_acknowledge(sequence);
                self.carry_out(decision)
            }
            AgentOrder::Lease(lease) => {
                let decision = self.table.on_lease(&lease);
                if let Some(fence) = decision.stale_below {
                    tracing::warn!(token = ?lease.token, ?fence, "the lease of a leader of the past was dropped");
                }
                self.carry_out(decision)
            }
            // The link keeps these to itself.
            AgentOrder::Refused { .. } | AgentOrder::Shards(_) => Ok(()),
        }
    }

    fn on_done(&mut self, done: Done) -> Result<(), AgentError> {
        match done {
            Done::Launched(launched) => {
                self.config.metrics.agent.launches.add(launched.len() as u64);
                let mut all = Decision::default();
                for (attempt, launched) in launched {
                    all.append(self.table.on_launched(attempt, launched));
                }
                self.carry_out(all)
            }
            Done::Stopped(told) => {
                told.into_iter().for_each(|(attempt, told)| self.table.on_stop_told(attempt, told));
                Ok(())
            }
            Done::Looked(found) => {
                let mut all = Decision::default();
                for (attempt, seen) in found {
                    all.append(match seen {
                        Some(seen) => self.table.on_observed(attempt, seen),
                        None => self.table.on_vanished(attempt),
                    });
                }
                self.carry_out(all)
            }
            Done::Forgotten(_) | Done::Renewed => Ok(()),
        }
    }

    /// Stores what must be stored, then acts. An agent that cannot store must not act, and ends.
    fn carry_out(&mut self, decision: Decision) -> Result<(), AgentError> {
        self.storage.store(&decision.changes)?;
        for action in decision.actions {
            match action {
                Action::Launch { attempt, spec } => self.work.launch(attempt, &spec),
                Action::Stop { attempt, grace_ms } => self.work.stop(attempt, grace_ms),
                Action::Renew { attempt, lease } => self.work.renew(attempt, lease),
                Action::Forget { attempt } => self.work.forget(attempt),
                Action::Resync(cause) => {
                    if let LinkEvent::Lost(cause) = self.link.drop_session(&cause.to_string()) {
                        self.on_lost(&cause);
                    }
                }
            }
        }
        Ok(())
    }

    /// A report goes out when it is full, or a little after the first change that it carries, and not at once after
    /// another one.
    fn plan_flush(&mut self) {
        if self.table.unreported() >= REPORT_ATTEMPTS_MAX && self.link.has_room() {
            self.send_reports();
        }
        self.pace.plan(self.table.unreported(), Instant::now());
    }

    /// Sends what is due, as far as the link has room; the rest stays in the table until the next flush.
    fn send_reports(&mut self) {
        self.pace.flushed();
        while self.link.has_room()
            && let Some(report) = self.table.next_report()
        {
            self.config.metrics.link.messages.of(Direction::Sent).inc();
            self.link.send(AgentMessage::Report(report));
            self.pace.sent(Instant::now());
        }
    }

    /// Asks for a lease, when anything needs one. It counts from before the request leaves.
    fn ask_lease(&mut self) {
        self.lease_at = after(LEASE_ASK_EVERY_MS);
        if self.table.wants_lease() && self.link.has_room() {
            let number = self.table.ask_lease(self.work.boot_clock_ms());
            self.link.send(AgentMessage::LeaseRequest { number });
        }
    }

    /// Looks for what no news came of.
    fn sweep(&mut self) -> Result<(), AgentError> {
        self.sweep_at = after(self.config.timings.sweep_ms);
        let started: Vec<_> = self.table.started().collect();
        self.work.look(started.into_iter(), true);
        self.work.retry_forgets();
        self.measure();
        let decision = self.table.retry_stops();
        self.carry_out(decision)
    }

    fn measure(&mut self) {
        let counts = self.table.counts();
        let attempts = &self.config.metrics.agent.attempts;
        for (state, count) in [
            (AttemptState::Starting, counts.starting),
            (AttemptState::Running, counts.running),
            (AttemptState::Stopping, counts.stopping),
            (AttemptState::Ended, counts.ended),
        ] {
            attempts.of(state).set_u64(count as u64);
        }
        if self.certificate_at <= Instant::now() {
            self.certificate_at = Instant::now() + CERTIFICATE_PERIOD;
            // A clock before 1970 makes the certificate look young; the handshakes will say more.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            self.config.metrics.observe_certificate(&self.credentials, now_unix);
        }
    }

    /// Waits for launches that are on their way, reports once more, says goodbye. Tasks go on.
    async fn leave(mut self) -> Result<(), AgentError> {
        self.linked.fail("leaving");
        self.table.hold_launches();
        let until = after(self.config.timings.leave_ms);
        while self.table.launches_in_flight() > 0
            && let Ok(done) = timeout_at(until, self.work.next()).await
        {
            self.on_done(done)?;
        }
        self.send_reports();
        if timeout_at(until, self.link.leave()).await.is_err() {
            tracing::info!("the shard did not answer the goodbye in time");
        }
        let counts = self.table.counts();
        tracing::info!(running = counts.running, unacknowledged = counts.ended, "left; tasks go on");
        Ok(())
    }
}

fn after(delay_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(delay_ms)
}
