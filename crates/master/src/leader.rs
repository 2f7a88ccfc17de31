//! What only the leader does: the hub of the links, the scheduling passes, the cell clock.
//!
//! ```text
//! links ─► hub ─┐                         ┌─► proposals (settled: back to hub, scheduler)
//! view ─► pass ─┼─► one owner task, no locks ─┤
//! timer ────────┘                         └─► orders to shards
//! ```
//!
//! One owner task with one state, which exists only while this replica leads and has applied its own term's first
//! entry; losing the leadership drops all of it, hub, scheduler and links.

mod assigned;
mod event;
mod leases;
mod loss;
mod outbox;
mod proposals;
mod report_pace;
mod retire;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use paceline_cell::Cell;
use paceline_link::{Liveness, LossStatus};
use paceline_replica::{Replica, ReplicaStatus};
use paceline_telemetry::Metrics;
use paceline_types::{AttemptId, NodeId, Revision, ShardName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::proposer::Proposer;
use crate::published::Published;

pub(crate) use assigned::shard_list;
use event::Settled;
pub(crate) use event::{LinkEvent, LinkStream};
use leases::Confirmed;
pub(crate) use outbox::{FrameStream, Outbox};
use state::Leading;

/// How often the hub looks at its clocks and the cell clock may move: a tenth of a detection period.
const TIMER: Duration = Duration::from_millis(500);
/// Frames of shards that wait for the loop, whose bytes their streams bound. Beyond it shards' streams are read no further.
pub(crate) const LINK_EVENTS_MAX: usize = 1_024;
/// Questions that wait for the loop; beyond it the asker waits.
pub(crate) const QUESTIONS_MAX: usize = 256;

/// What the API asks of the leader's soft state.
#[derive(Debug)]
pub(crate) enum Question {
    /// Which nodes are heard, and through which shards.
    Links(oneshot::Sender<LinksAnswer>),
    /// What is silent is gone; whether the brake was on, or why it stays. Nothing where this loop does not lead.
    ReleaseBrake(oneshot::Sender<Option<Result<bool, String>>>),
    /// Process ids of attempts.
    Pids(Vec<(NodeId, AttemptId)>, oneshot::Sender<Vec<Option<u32>>>),
}

/// The leader's knowledge of its links; soft, and empty where another master leads.
#[derive(Debug, Default)]
pub(crate) struct LinksAnswer {
    /// Every node of the leader's view.
    pub nodes: BTreeMap<NodeId, NodeLink>,
    /// Connected shards, with how many nodes speak through each.
    pub shards: BTreeMap<ShardName, u64>,
    /// Whether and why write-offs wait.
    pub loss: LossStatus,
}

/// What the leader knows of one node's link.
#[derive(Debug)]
pub(crate) struct NodeLink {
    pub liveness: Liveness,
    pub shard: Option<ShardName>,
    pub silent_ms: Option<u64>,
}

/// Everything that the loop needs from outside.
pub(crate) struct LeaderLoop {
    pub replica: Arc<Replica>,
    pub published: Arc<Published>,
    pub proposer: Proposer,
    pub metrics: Arc<Metrics>,
    pub links: mpsc::Receiver<LinkEvent>,
    pub questions: mpsc::Receiver<Question>,
}

impl LeaderLoop {
    /// Runs until the channels close.
    pub(crate) async fn run(mut self) {
        let mut status = self.replica.subscribe();
        let mut revisions = self.published.subscribe();
        let mut timer = interval(TIMER);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut proposals: JoinSet<Settled> = JoinSet::new();
        let mut confirmations: JoinSet<Confirmed> = JoinSet::new();
        let started = Instant::now();
        let mut leading = None;
        // Read where something has come, and not before the wait: holds and silences count from it.
        let now_ms = || elapsed_ms(started);
        self.follow_status(&mut status, &mut leading, 0);
        loop {
            tokio::select! {
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follow_status(&mut status, &mut leading, now_ms());
                }
                changed = revisions.changed(), if leading.is_some() => {
                    if changed.is_err() {
                        return;
                    }
                    let _ = *revisions.borrow_and_update();
                }
                event = self.links.recv() => match event {
                    None => return,
                    Some(event) => {
                        // A stream that was accepted under a new leadership must not meet the old one's state.
                        self.follow_status(&mut status, &mut leading, now_ms());
                        if let Some(leading) = &mut leading {
                            leading.on_link(event, &self.published.view(), now_ms());
                        }
                    }
                },
                Some(question) = self.questions.recv() => answer(leading.as_mut(), question, &self.published.view(), now_ms()),
                Some(settled) = proposals.join_next(), if !proposals.is_empty() => {
                    match (settled, &mut leading) {
                        (Ok(settled), Some(leading)) => leading.on_settled(settled, &self.published.view(), now_ms()),
                        (Ok(_), None) => {}
                        (Err(error), _) => tracing::error!(%error, "a proposal's task failed"),
                    }
                }
                Some(confirmed) = confirmations.join_next(), if !confirmations.is_empty() => {
                    match (confirmed, &mut leading) {
                        (Ok(confirmed), Some(leading)) => leading.on_confirmed(confirmed, &self.published.view(), now_ms()),
                        (Ok(_), None) => {}
                        (Err(error), _) => tracing::error!(%error, "the task that asks for a majority failed"),
                    }
                }
                () = work_due(leading.as_ref(), &self.published, started) => {}
                _ = timer.tick() => if let Some(leading) = &mut leading {
                    leading.on_timer(loss::majority_answers(&self.replica), &self.published.view(), now_ms());
                },
            }
            if let Some(leading) = &mut leading {
                let now_ms = now_ms();
                leading.on_view(&self.published, now_ms);
                leading.propose(&self.proposer, &mut proposals, now_ms);
                leading.confirm(&self.replica, &mut confirmations);
            }
            self.metrics.link.sessions.set_u64(leading.as_ref().map_or(0, Leading::links_open));
        }
    }

    /// Takes office or leaves it.
    fn follow_status(
        &self,
        status: &mut watch::Receiver<ReplicaStatus>,
        leading: &mut Option<Leading>,
        now_ms: u64,
    ) {
        let now = status.borrow_and_update();
        let term = now.leading.then_some(now.term);
        if leading.as_ref().map(Leading::term) == term {
            return;
        }
        *leading = term.map(|term| {
            let view = self.published.view();
            tracing::info!(term, revision = %view.revision(), "this master leads");
            Leading::new(term, &view, self.metrics.clone(), now_ms)
        });
        if leading.is_none() {
            // The next leader looks for itself.
            loss::observe(&self.metrics, &LossStatus::default());
            tracing::info!("this master does not lead");
        }
    }
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Completes when a pass, orders or reports that had to wait are due; never when nothing waits.
async fn work_due(leading: Option<&Leading>, published: &Published, started: Instant) {
    match leading.and_then(|leading| leading.due_ms(&published.view())) {
        Some(due_ms) => sleep_until(started + Duration::from_millis(due_ms)).await,
        None => std::future::pending().await,
    }
}

fn answer(leading: Option<&mut Leading>, question: Question, view: &Cell, now_ms: u64) {
    // Whoever asked may have gone; then nobody misses the answer.
    match question {
        Question::Links(reply) => {
            let _ = reply.send(leading.map(|leading| leading.links(view, now_ms)).unwrap_or_default());
        }
        Question::ReleaseBrake(reply) => {
            let _ = reply.send(leading.map(|leading| leading.release_brake(view, now_ms)));
        }
        Question::Pids(attempts, reply) => {
            let pid = |(node, attempt): &(NodeId, AttemptId)| {
                leading.as_ref().and_then(|leading| leading.pid(*node, attempt))
            };
            let _ = reply.send(attempts.iter().map(pid).collect());
        }
    }
}

/// Where a new leader begins to read events.
fn first_seen(view: &Cell) -> Revision {
    view.revision()
}
