//! The state of a leadership: born with a term, dropped with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use paceline_cell::{Cell, CommandBody, Event, Node, Reply, ReportedRun, ReportedState, TICK_STEP_MS_MAX};
use paceline_link::message::{MasterMessage, Observed, ReportRun};
use paceline_link::{Hub, HubAction, HubConfig, HubEvent, LinkId, Liveness, ReportProposal};
use paceline_replica::Replica;
use paceline_rules::REPLACE_AFTER_MS_DEFAULT;
use paceline_schedule::{Holds, PassLimits, Scheduler};
use paceline_telemetry::{Direction, Metrics};
use paceline_types::{AttemptId, NodeId, Revision, Term};
use tokio::task::JoinSet;

use super::assigned::AssignedView;
use super::event::{LinkEvent, LinkStream, Purpose, ReportKey, Settled};
use super::leases::Confirmed;
use super::outbox::Unsent;
use super::proposals::{Draft, assign_bytes, cut, first_cut, report_bytes, spawn};
use super::report_pace::ReportPace;
use super::retire::Retirement;
use super::{LinksAnswer, NodeLink, leases, loss};
use crate::proposer::Proposer;
use crate::published::Published;
use crate::refuse;

/// How often the cell clock moves while anything can expire.
const TICK_MS: u64 = 1_000;
/// Shortest time between two passes: what changes within it is placed together.
const PASS_EVERY_MS: u64 = 5;
/// How often links are asked for room while orders wait for it: a shard takes a few frames in that time.
const ROOM_EVERY_MS: u64 = 10;
/// Bytes that wait for all shards together; beyond it no link has room for orders.
const OUTBOXES_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Revisions of changes read from the ring at once.
const CHANGES_AT_ONCE: usize = 1_024;

/// A leadership.
pub(crate) struct Leading {
    term: u64,
    metrics: Arc<Metrics>,
    hub: Hub,
    scheduler: Scheduler,
    links: BTreeMap<LinkId, LinkStream>,
    /// Changes up to here were told to the hub.
    seen: Revision,
    /// The view that the last pass saw; nothing when a pass is due.
    passed: Option<Revision>,
    /// A suspect node is back, which the revision of the view does not show.
    node_usable: bool,
    /// No pass before this: passes must leave the loop time for links and timers.
    pass_again_ms: u64,
    /// Links are not asked for room before this.
    room_again_ms: u64,
    drafts: Vec<Draft>,
    reports: Vec<ReportProposal>,
    /// One entry of reports is under way at a time: acknowledgements of a node must follow the order of its reports,
    /// and what arrives meanwhile travels together in the next one.
    reporting: bool,
    report_pace: ReportPace,
    /// When the last tick was proposed; nothing before the first, whose step is zero.
    last_tick_ms: Option<u64>,
    ticking: bool,
    retirement: Retirement,
    holds: Holds,
    /// Rounds for which a majority is to be asked.
    rounds: Vec<u64>,
}

impl Leading {
    pub(crate) fn new(term: u64, view: &Cell, metrics: Arc<Metrics>, now_ms: u64) -> Self {
        let holds = Holds::at_office(view, now_ms);
        let mut scheduler = Scheduler::new();
        scheduler.hold_back(holds.tasks());
        Self {
            term,
            metrics,
            hub: Hub::new(hub_config(view)),
            scheduler,
            holds,
            rounds: Vec::new(),
            links: BTreeMap::new(),
            seen: super::first_seen(view),
            passed: None,
            node_usable: false,
            pass_again_ms: 0,
            room_again_ms: 0,
            drafts: Vec::new(),
            reports: Vec::new(),
            reporting: false,
            report_pace: ReportPace::default(),
            last_tick_ms: None,
            ticking: false,
            retirement: Retirement::default(),
        }
    }

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// Streams of shards.
    pub(crate) fn links_open(&self) -> u64 {
        self.links.len() as u64
    }

    pub(crate) fn on_link(&mut self, event: LinkEvent, view: &Cell, now_ms: u64) {
        match event {
            LinkEvent::Connected { link, name, address, stream } => {
                self.links.insert(link, stream);
                self.tell(HubEvent::ShardConnected { link, name, address }, view, now_ms);
            }
            // After a disconnect by the hub a few frames may still arrive; they are nobody's.
            LinkEvent::Messages { link, messages, held: _held } if self.links.contains_key(&link) => {
                self.metrics.link.messages.of(Direction::Received).add(messages.len() as u64);
                self.tell(HubEvent::ShardMessages { link, messages }, view, now_ms);
            }
            LinkEvent::Messages { .. } => {}
            LinkEvent::Disconnected { link } => {
                if self.links.remove(&link).is_some() {
                    self.tell(HubEvent::ShardDisconnected { link }, view, now_ms);
                }
            }
        }
    }

    pub(crate) fn on_timer(&mut self, majority: bool, view: &Cell, now_ms: u64) {
        self.tell(HubEvent::Majority { answers: majority }, view, now_ms);
        self.tell(HubEvent::Timer, view, now_ms);
        loss::observe(&self.metrics, &self.hub.loss(now_ms));
        self.tick(view, now_ms);
        self.retire(view, now_ms);
    }

    /// Hands finished jobs to the history.
    fn retire(&mut self, view: &Cell, now_ms: u64) {
        if let Some(jobs) = self.retirement.next(view, now_ms) {
            let commands = vec![CommandBody::Retire { jobs }];
            self.drafts.push(Draft { purpose: Purpose::Retire, commands });
        }
    }

    /// Moves the cell clock by the monotonic time since the last tick was proposed, while anything can expire.
    fn tick(&mut self, view: &Cell, now_ms: u64) {
        if !view.wants_tick() {
            self.last_tick_ms = None;
            return;
        }
        let elapsed = self.last_tick_ms.map_or(0, |last| now_ms.saturating_sub(last));
        let due = self.last_tick_ms.is_none() || elapsed >= TICK_MS;
        if self.ticking || !due {
            return;
        }
        // A longer gap counts nothing: an outage expires nothing.
        let step_ms = if elapsed <= TICK_STEP_MS_MAX { elapsed } else { 0 };
        self.last_tick_ms = Some(now_ms);
        self.ticking = true;
        let command = CommandBody::Tick { from_ms: view.clock_ms(), step_ms };
        self.drafts.push(Draft { purpose: Purpose::Tick, commands: vec![command] });
    }

    /// Tells the hub what changed since it was last told, and places what can be placed.
    pub(crate) fn on_view(&mut self, published: &Published, now_ms: u64) {
        let view = published.view();
        self.follow_view(published, &view, now_ms);
        if self.holds.free(now_ms) {
            self.hold_back();
        }
        self.make_room(&view, now_ms);
        if self.passed != Some(view.revision()) && now_ms >= self.pass_again_ms {
            self.pass(&view, now_ms);
        }
    }

    /// When a pass, orders or reports that had to wait are due.
    pub(crate) fn due_ms(&self, view: &Cell) -> Option<u64> {
        let pass_ms = (self.passed != Some(view.revision())).then_some(self.pass_again_ms);
        let room_ms = self.hub.links_without_room().next().map(|_| self.room_again_ms);
        let report_ms = self.report_pace.due_ms(self.reports.len()).filter(|_| !self.reporting);
        [pass_ms, room_ms, report_ms, self.holds.due_ms()].into_iter().flatten().min()
    }

    /// The scheduler learns what is held now; what is free may find a place in the view of before.
    fn hold_back(&mut self) {
        let held = self.holds.tasks();
        if !held.is_empty() {
            let tasks: u64 = held.values().map(paceline_types::IndexSet::count).sum();
            tracing::info!(tasks, "tasks wait because a lease may be out");
        }
        self.scheduler.hold_back(held);
        self.passed = None;
    }

    /// Asks a majority for every round that waits.
    pub(crate) fn confirm(&mut self, replica: &Arc<Replica>, confirmations: &mut JoinSet<Confirmed>) {
        for round in self.rounds.drain(..) {
            leases::ask(replica, self.term, round, confirmations);
        }
    }

    /// A majority has answered, or not.
    pub(crate) fn on_confirmed(&mut self, confirmed: Confirmed, view: &Cell, now_ms: u64) {
        let Confirmed { term, round, confirmed } = confirmed;
        if term == self.term {
            self.tell(HubEvent::LeadershipConfirmed { round, confirmed }, view, now_ms);
        }
    }

    /// Tells the hub how much links take whose nodes wait for orders.
    fn make_room(&mut self, view: &Cell, now_ms: u64) {
        if now_ms < self.room_again_ms {
            return;
        }
        let waiting: Vec<LinkId> = self.hub.links_without_room().collect();
        if waiting.is_empty() {
            return;
        }
        self.room_again_ms = now_ms + ROOM_EVERY_MS;
        for link in waiting {
            let used: usize = self.links.values().map(|stream| stream.outbox.waiting_bytes()).sum();
            let room = self.links.get(&link).map_or(0, |stream| stream.outbox.room_bytes());
            let bytes = room.min(OUTBOXES_BYTES_MAX.saturating_sub(used));
            if bytes > 0 {
                self.tell(HubEvent::LinkRoom { link, bytes }, view, now_ms);
            }
        }
    }

    fn follow_view(&mut self, published: &Published, view: &Cell, now_ms: u64) {
        while self.seen < view.revision() {
            let Ok(mut changes) = published.changes_after(self.seen, CHANGES_AT_ONCE) else {
                // What happened in between is not known: every node that the hub knows is looked at again, those that
                // the cell has no more too, and everything else that is read from the view.
                let nodes = self.hub.node_ids().collect();
                self.tell(HubEvent::Reconfigured { config: hub_config(view) }, view, now_ms);
                self.tell(HubEvent::NodesChanged { nodes }, view, now_ms);
                self.tell(HubEvent::ShardsChanged, view, now_ms);
                self.holds = Holds::at_office(view, now_ms);
                self.hold_back();
                self.seen = view.revision();
                return;
            };
            let whole = changes.len() < CHANGES_AT_ONCE;
            // The ring may be ahead of the view: a change that the view does not show yet would be told in vain.
            changes.retain(|(revision, _)| *revision <= view.revision());
            let last = changes.last().map(|(revision, _)| *revision);
            let events: Vec<&Event> = changes.iter().flat_map(|(_, events)| events.iter()).collect();
            self.tell_changes(&events, view, now_ms);
            self.seen = match last {
                Some(last) if !whole => last,
                _ => view.revision(),
            };
        }
    }

    fn tell_changes(&mut self, events: &[&Event], view: &Cell, now_ms: u64) {
        let mut held = false;
        for event in events {
            held |= self.holds.note(event, view, now_ms);
        }
        if held {
            self.hold_back();
        }
        let nodes: BTreeSet<NodeId> = events.iter().filter_map(|event| node_of(event)).collect();
        if !nodes.is_empty() {
            self.tell(HubEvent::NodesChanged { nodes: nodes.into_iter().collect() }, view, now_ms);
        }
        if events.iter().any(|event| matches!(event, Event::ShardsChanged { .. })) {
            self.tell(HubEvent::ShardsChanged, view, now_ms);
        }
        if events.iter().any(|event| matches!(event, Event::ConfigChanged)) {
            self.tell(HubEvent::Reconfigured { config: hub_config(view) }, view, now_ms);
        }
    }

    fn pass(&mut self, view: &Cell, now_ms: u64) {
        let hub = &self.hub;
        // What nobody hears of takes no new work. A node that the new leader has not heard yet is not held against it.
        let usable = |node: &Node| loss::usable(hub.presence(&node.name, node.lost, now_ms));
        let started = Instant::now();
        let proposals = self.scheduler.pass(view, &PassLimits::default(), usable);
        self.metrics.schedule.pass_seconds.observe(started.elapsed());
        self.metrics.schedule.passes.inc();
        self.metrics
            .schedule
            .assignments
            .add(proposals.iter().map(|proposal| assigned(&proposal.command)).sum());
        self.passed = (!self.scheduler.is_unfinished()).then_some(view.revision());
        // What this round had looked at before the node came back is worth another look.
        if self.passed.is_some() && std::mem::take(&mut self.node_usable) {
            self.passed = None;
        }
        self.pass_again_ms = now_ms + PASS_EVERY_MS;
        for chunk in cut(proposals, |proposal| assign_bytes(&proposal.command)) {
            let (ids, commands) = chunk.into_iter().map(|proposal| (proposal.id, proposal.command)).unzip();
            self.drafts.push(Draft { purpose: Purpose::Assign(ids), commands });
        }
    }

    /// Passes an event to the hub and carries out what it wants done.
    fn tell(&mut self, event: HubEvent, view: &Cell, now_ms: u64) {
        let assigned = AssignedView::new(view, Term(self.term));
        let mut actions = std::collections::VecDeque::from(self.hub.handle(event, &assigned, now_ms));
        while let Some(action) = actions.pop_front() {
            if let Some(link) = self.execute(action) {
                self.links.remove(&link);
                actions.extend(self.hub.handle(HubEvent::ShardDisconnected { link }, &assigned, now_ms));
            }
        }
    }

    /// Carries out one action; the link whose shard does not read is returned.
    fn execute(&mut self, action: HubAction) -> Option<LinkId> {
        match action {
            HubAction::RegisterShard { link, name, address } => {
                let commands = vec![CommandBody::RegisterShard { name, address }];
                self.drafts.push(Draft { purpose: Purpose::Shard { link }, commands });
            }
            HubAction::RemoveShard { name } => {
                let commands = vec![CommandBody::RemoveShard { name }];
                self.drafts.push(Draft { purpose: Purpose::RemoveShard, commands });
            }
            HubAction::Register { hello } => {
                let commands = vec![CommandBody::RegisterNode {
                    name: hello.node.clone(),
                    instance: hello.instance,
                    boot: hello.boot,
                    capacity: hello.capacity,
                    labels: hello.labels.clone(),
                    capabilities: hello.capabilities.clone(),
                }];
                self.drafts.push(Draft { purpose: Purpose::Node { hello }, commands });
            }
            HubAction::ProposeReport(report) => self.reports.push(report),
            HubAction::Send { link, messages } => return self.send(link, messages),
            HubAction::Disconnect { link, reason } => {
                tracing::warn!(?link, %reason, "a shard's link is closed");
                if let Some(stream) = self.links.remove(&link) {
                    let status = refuse::plain(paceline_api::v1::ErrorCode::Unavailable, reason.to_string());
                    stream.outbox.end(status);
                }
            }
            HubAction::ConfirmLeadership { round } => self.rounds.push(round),
            HubAction::WriteOff(off) => self.drafts.push(loss::draft(off)),
            HubAction::BrakeOn { cause, silent } => loss::brake_on(&cause, silent),
            HubAction::BrakeOff { end } => loss::brake_off(end),
            HubAction::NodeUsable { .. } => {
                self.passed = None;
                self.node_usable = true;
            }
            HubAction::Notice(notice) => tracing::warn!(%notice, "two machines claim one node"),
        }
        None
    }

    fn send(&self, link: LinkId, messages: Vec<MasterMessage>) -> Option<LinkId> {
        let outbox = &self.links.get(&link)?.outbox;
        self.metrics.link.messages.of(Direction::Sent).add(messages.len() as u64);
        match outbox.send(messages) {
            Ok(()) => None,
            Err(Unsent::Full) => {
                tracing::warn!(?link, "a shard does not read what it is told: its link is closed");
                Some(link)
            }
            Err(Unsent::Closed) => Some(link),
        }
    }

    /// Hands every draft to a task of its own.
    pub(crate) fn propose(&mut self, proposer: &Proposer, proposals: &mut JoinSet<Settled>, now_ms: u64) {
        if !self.reporting && self.report_pace.is_due(self.reports.len(), now_ms) {
            self.report_pace.proposed(now_ms);
            let count = first_cut(&self.reports, report_bytes);
            let reports: Vec<ReportProposal> = self.reports.drain(..count).collect();
            let key = |report: &ReportProposal| ReportKey {
                node: report.name.clone(),
                session: report.session,
                sequence: report.sequence,
            };
            let purpose = Purpose::Reports(reports.iter().map(key).collect());
            self.drafts.push(Draft { purpose, commands: reports.iter().map(report_command).collect() });
            self.reporting = true;
        }
        for draft in self.drafts.drain(..) {
            spawn(draft, self.term, proposer, proposals);
        }
    }

    /// A proposal has its answer.
    pub(crate) fn on_settled(&mut self, settled: Settled, view: &Cell, now_ms: u64) {
        if settled.term != self.term {
            return;
        }
        let Ok(proposed) = settled.outcome else {
            // Mostly a lost leadership or a shutdown ends here; both drop this state very soon.
            self.abandon(settled.purpose, view, now_ms);
            return;
        };
        match settled.purpose {
            Purpose::Tick => self.ticking = false,
            Purpose::Retire => {
                self.retirement.settled();
                // More may wait, and the timer alone would be too slow under pressure.
                self.retire(view, now_ms);
            }
            Purpose::RemoveShard => {}
            Purpose::WriteOff(off) => {
                loss::settled(&self.metrics, &off, proposed.replies.first());
                self.tell(HubEvent::WriteOffSettled { node: off.name, applied: true }, view, now_ms);
            }
            Purpose::Shard { link } => {
                if let Some(Reply::Refused(refusal)) = proposed.replies.first() {
                    self.tell(HubEvent::ShardRefused { link, message: refusal.to_string() }, view, now_ms);
                } else {
                    self.tell(HubEvent::ShardsChanged, view, now_ms);
                }
            }
            Purpose::Node { hello } => {
                let (node, session) = (hello.node, hello.session);
                let event = match proposed.replies.into_iter().next() {
                    Some(Reply::NodeRegistered { .. }) => HubEvent::NodeRegistered { node, session },
                    Some(Reply::Refused(refusal)) => {
                        HubEvent::RegistrationRefused { node, session, message: refusal.to_string() }
                    }
                    other => {
                        let message = format!("unexpected reply {other:?}");
                        HubEvent::RegistrationRefused { node, session, message }
                    }
                };
                self.tell(event, view, now_ms);
            }
            Purpose::Reports(keys) => {
                self.reporting = false;
                for ReportKey { node, session, sequence } in keys {
                    self.tell(HubEvent::ReportApplied { node, session, sequence }, view, now_ms);
                }
            }
            Purpose::Assign(ids) => {
                for (id, reply) in ids.into_iter().zip(proposed.replies) {
                    match reply {
                        Reply::Refused(refusal) => {
                            tracing::debug!(%refusal, "an assignment was refused");
                            self.scheduler.released(id);
                            self.passed = None;
                        }
                        _ => {
                            self.scheduler.committed(id, proposed.revision);
                            // A pass that saw the entry's view before this answer counted the claim twice.
                            if self.passed >= Some(proposed.revision) {
                                self.passed = None;
                            }
                        }
                    }
                }
            }
        }
    }

    fn abandon(&mut self, purpose: Purpose, view: &Cell, now_ms: u64) {
        match purpose {
            Purpose::Assign(ids) => {
                ids.into_iter().for_each(|id| self.scheduler.released(id));
                self.passed = None;
            }
            Purpose::Tick => self.ticking = false,
            Purpose::Retire => self.retirement.settled(),
            Purpose::Reports(_) => self.reporting = false,
            Purpose::Node { hello } => {
                let message = "the registration could not be proposed".to_owned();
                let (node, session) = (hello.node, hello.session);
                self.tell(HubEvent::RegistrationRefused { node, session, message }, view, now_ms);
            }
            Purpose::WriteOff(off) => {
                // Refused or timed out: in either case it may have been handed to Raft, and be applied yet.
                self.tell(HubEvent::WriteOffSettled { node: off.name, applied: false }, view, now_ms);
            }
            Purpose::Shard { .. } | Purpose::RemoveShard => {}
        }
    }

    /// An operator says that what is silent is gone. Says whether the brake was on, or why it stays.
    pub(crate) fn release_brake(&mut self, view: &Cell, now_ms: u64) -> Result<bool, String> {
        let was_on = loss::release(&self.hub.loss(now_ms))?;
        self.tell(HubEvent::ReleaseBrake, view, now_ms);
        Ok(was_on)
    }

    /// What the hub knows of nodes and shards.
    pub(crate) fn links(&self, view: &Cell, now_ms: u64) -> LinksAnswer {
        let link = |node: &Node| {
            let liveness = self.hub.presence(&node.name, node.lost, now_ms);
            let silent_ms = match liveness {
                Liveness::Suspect { since_ms } | Liveness::Lost { since_ms } => {
                    Some(now_ms.saturating_sub(since_ms))
                }
                Liveness::Up | Liveness::Returning | Liveness::Unheard => None,
            };
            let shard = self.hub.shard_of(&node.name).cloned();
            (node.id, NodeLink { liveness, shard, silent_ms })
        };
        let loss = self.hub.loss(now_ms);
        LinksAnswer { nodes: view.nodes().map(link).collect(), shards: self.hub.shards(), loss }
    }

    /// The process id of an attempt, where its agent told of one.
    pub(crate) fn pid(&self, node: NodeId, attempt: &AttemptId) -> Option<u32> {
        self.hub.pid(node, attempt)
    }
}

/// How many tasks a command would assign.
fn assigned(command: &CommandBody) -> u64 {
    match command {
        CommandBody::Assign { tasks, .. } => tasks.count(),
        _ => 0,
    }
}

/// The intervals that the cell's configuration sets.
fn hub_config(view: &Cell) -> HubConfig {
    let config = view.config();
    HubConfig {
        heartbeat_ms: config.heartbeat_ms,
        silence_ms: config.detection_ms,
        shard_leaves_ms: config.shard_silence_ms,
        brake_nodes: config.brake_nodes,
        brake_share_permille: config.brake_share_permille,
        write_off_permille_per_minute: config.write_off_permille_per_minute,
        idle_patience_ms: REPLACE_AFTER_MS_DEFAULT,
        ..HubConfig::default()
    }
}

fn report_command(report: &ReportProposal) -> CommandBody {
    let run = |run: &ReportRun| ReportedRun {
        job: run.job,
        attempt: run.attempt,
        tasks: run.tasks.clone(),
        observed: match run.observed {
            Observed::Running => ReportedState::Running,
            Observed::Ended { status, reason } => ReportedState::Ended { status, reason },
        },
    };
    CommandBody::Report {
        node: report.node,
        epoch: report.epoch,
        runs: report.runs.iter().map(run).collect(),
    }
}

/// The node whose orders or record an event changed.
fn node_of(event: &Event) -> Option<NodeId> {
    match event {
        Event::TasksAssigned { node, .. }
        | Event::TasksStopping { node, .. }
        | Event::TasksRequeued { node, .. }
        | Event::NodeRegistered { node, .. }
        | Event::NodeChanged { node, .. }
        | Event::NodeLost { node, .. }
        | Event::NodeRemoved { node, .. } => Some(*node),
        Event::TasksEnded { node, .. } => *node,
        _ => None,
    }
}
