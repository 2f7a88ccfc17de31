//! The cell service: status, configuration, snapshot, leadership.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Stream;
use paceline_api::v1;
use paceline_api::v1::cell_server::Cell as CellApi;
use paceline_cell::{Cell, CommandBody, ConfigChange, Setting};
use paceline_link::Liveness;
use paceline_replica::{Execution, ReplicaStatus, ServerRole};
use paceline_rules::Violation;
use paceline_types::{JobState, Revision, TaskState};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Caller, Services};
use crate::leader::LinksAnswer;
use crate::{refuse, show};

/// Pieces of a snapshot that wait for a slow reader: 1 MiB each.
const WAITING_PIECES: usize = 4;

/// Snapshots that are sent at once: each pins a view and a thread for as long as its reader takes.
const SNAPSHOTS_AT_ONCE: usize = 2;
/// When to come again while that many are under way.
const SNAPSHOT_RETRY_MS: u64 = 5_000;
/// Longest wait for a reader to take a piece: one that stops reading must not hold the place for ever.
const PIECE_WAIT: Duration = Duration::from_secs(30);

/// A master that has not answered its leader's heartbeats for this long is down: a few elections long, so that a
/// pause that Raft itself shrugs off does not flicker.
const MASTER_SILENCE: Duration = Duration::from_secs(2);

/// A status without a revision of its own is answered with a digest of at most this age: it costs a read of the whole
/// state, and anybody may ask.
const DIGEST_FOR: Duration = Duration::from_secs(1);
/// Calls that wait for digests at once. Each holds a view for as long as it waits.
const DIGESTS_WAITED_FOR: usize = 64;
/// When to come again while that many wait.
const DIGEST_RETRY_MS: u64 = 1_000;

/// A digest, and when it was computed.
#[derive(Clone, Copy)]
struct Known {
    revision: Revision,
    digest: [u8; 32],
    at: Instant,
}

/// Whether a digest of this revision and age will do for a view.
fn will_do(known: Revision, age: Duration, view: Revision, exactly: bool) -> bool {
    known == view || (!exactly && known < view && age < DIGEST_FOR)
}

/// The service, with the digest that was computed last.
pub(super) struct CellService {
    services: Services,
    digest: Mutex<Option<Known>>,
    digest_calls: Semaphore,
    snapshots: Arc<Semaphore>,
}

impl CellService {
    pub(super) fn new(services: Services) -> Self {
        Self {
            services,
            digest: Mutex::new(None),
            digest_calls: Semaphore::new(DIGESTS_WAITED_FOR),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_AT_ONCE)),
        }
    }
}

type SnapshotStream = Pin<Box<dyn Stream<Item = Result<v1::SnapshotReply, Status>> + Send>>;

#[tonic::async_trait]
impl CellApi for CellService {
    type SnapshotStream = SnapshotStream;

    async fn status(
        &self,
        request: Request<v1::CellStatusRequest>,
    ) -> Result<Response<v1::CellStatusReply>, Status> {
        let v1::CellStatusRequest { read, at_revision } = request.into_inner();
        let mut view = self.services.reads.view(read.as_ref()).await?;
        if at_revision != 0 {
            view = self.services.reads.exactly(Revision(at_revision)).await?;
        }
        let digest = self.digest(&view, at_revision != 0).await?;
        let links = self.services.links().await;
        Ok(Response::new(self.status_reply(&view, digest, links.as_deref())))
    }

    async fn get_config(
        &self,
        request: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::GetConfigReply>, Status> {
        let view = self.services.reads.view(request.get_ref().read.as_ref()).await?;
        let config = Some(config(&view));
        Ok(Response::new(v1::GetConfigReply { revision: view.revision().0, config }))
    }

    async fn set_config(
        &self,
        request: Request<v1::SetConfigRequest>,
    ) -> Result<Response<v1::SetConfigReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::SetConfigRequest { request: id, config: change } = request.into_inner();
        let change = change.ok_or_else(|| refuse::invalid_field("config", "", "what shall change"))?;
        let body = CommandBody::SetConfig(config_change(&self.services.published.view(), change)?);
        let (revision, _) = self.services.command(&caller, id, body).await?;
        let view = self.services.reads.at_least(revision).await?;
        Ok(Response::new(v1::SetConfigReply { revision: revision.0, config: Some(config(&view)) }))
    }

    async fn snapshot(
        &self,
        request: Request<v1::SnapshotRequest>,
    ) -> Result<Response<SnapshotStream>, Status> {
        let view = self.services.reads.view(request.get_ref().read.as_ref()).await?;
        let Ok(place) = self.snapshots.clone().try_acquire_owned() else {
            let message = format!("{SNAPSHOTS_AT_ONCE} snapshots are being sent, and no more are at once");
            return Err(refuse::overloaded(message, SNAPSHOT_RETRY_MS));
        };
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let execution = self.services.execution;
        tokio::spawn(async move {
            send_pieces(execution, view, sender).await;
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipReply>, Status> {
        let v1::TransferLeadershipRequest { to, if_term, .. } = request.into_inner();
        let status = self.services.replica.status();
        if if_term > status.term {
            // Whoever is in that term knows more than this master.
            return Err(refuse::not_leader(status.leader.as_ref().filter(|_| !status.leading)));
        }
        // A term that has passed means that the leadership has moved already: a retry only hears who leads now.
        let asked = if_term == 0 || if_term == status.term;
        if asked {
            let to = (!to.is_empty()).then_some(to);
            self.services.replica.transfer_leadership(to).await.map_err(|error| transfer(&error))?;
        }
        let status = self.services.replica.status();
        let leader = status.leader.ok_or_else(|| {
            let code = if asked { v1::ErrorCode::OutcomeUnknown } else { v1::ErrorCode::Unavailable };
            refuse::plain(code, format!("no leader is known in term {}", status.term))
        })?;
        Ok(Response::new(v1::TransferLeadershipReply {
            revision: self.services.published.view().revision().0,
            leader: leader.name,
            term: status.term,
        }))
    }

    async fn release_brake(
        &self,
        request: Request<v1::ReleaseBrakeRequest>,
    ) -> Result<Response<v1::ReleaseBrakeReply>, Status> {
        let v1::ReleaseBrakeRequest { if_term, .. } = request.into_inner();
        let status = self.services.replica.status();
        let not_leader = || refuse::not_leader(status.leader.as_ref().filter(|_| !status.leading));
        if !status.leading || if_term > status.term {
            return Err(not_leader());
        }
        // A term that has passed: its brake went with it, and a new leader looks for itself.
        let released = if if_term == 0 || if_term == status.term {
            let released = self.services.release_brake().await.ok_or_else(not_leader)?;
            released.map_err(|why| refuse::plain(v1::ErrorCode::Conflict, why))?
        } else {
            false
        };
        let revision = self.services.published.view().revision().0;
        Ok(Response::new(v1::ReleaseBrakeReply { revision, released }))
    }
}

impl CellService {
    /// The digest of exactly a view, or of one shortly before, computed on a thread of its own. Callers of one moment wait
    /// for one computation.
    async fn digest(&self, view: &Arc<Cell>, exactly: bool) -> Result<Known, Status> {
        let Ok(_place) = self.digest_calls.try_acquire() else {
            let message =
                format!("{DIGESTS_WAITED_FOR} calls wait for a digest of the state, and no more at once");
            return Err(refuse::overloaded(message, DIGEST_RETRY_MS));
        };
        let mut last = self.digest.lock().await;
        let revision = view.revision();
        if let Some(known) = *last
            && will_do(known.revision, known.at.elapsed(), revision, exactly)
        {
            return Ok(known);
        }
        let asked = view.clone();
        let digest = self.services.execution.blocking(move || asked.digest()).await;
        let digest = digest.ok_or_else(|| {
            refuse::plain(v1::ErrorCode::Internal, "the digest was not computed to its end")
        })?;
        let known = Known { revision, digest, at: Instant::now() };
        *last = Some(known);
        Ok(known)
    }

    fn status_reply(&self, view: &Cell, digest: Known, links: Option<&LinksAnswer>) -> v1::CellStatusReply {
        let status = self.services.replica.status();
        let log_bytes = self.services.replica.log_bytes_written();
        let task_transitions = self.services.published.transitions();
        v1::CellStatusReply {
            revision: view.revision().0,
            cell: self.services.config.cell.clone(),
            leader: status.leader.as_ref().map(|leader| leader.name.clone()).unwrap_or_default(),
            term: status.term,
            generation: view.generation().0,
            feature_level: view.feature_level().0,
            state_digest: Some(v1::StateDigest {
                revision: digest.revision.0,
                digest: digest.digest.to_vec().into(),
            }),
            masters: self.masters(&status),
            shards: view.shards().map(|shard| show::shard(shard, links)).collect(),
            nodes: Some(node_counts(view, links)),
            jobs: Some(v1::JobCounts { retired: self.services.history.count(), ..job_counts(view) }),
            tasks: Some(task_totals(view)),
            log_bytes,
            task_transitions,
            log_bytes_per_transition_milli: log_bytes
                .saturating_mul(1_000)
                .checked_div(task_transitions)
                .unwrap_or(0),
            answered_by: self.services.config.name.clone(),
            cell_clock_ms: view.clock_ms(),
            node_loss: links.map(|links| show::node_loss(&links.loss)),
        }
    }

    fn masters(&self, status: &ReplicaStatus) -> Vec<v1::Master> {
        let now_unix = super::links::unix_seconds();
        let silences = self.services.replica.silences();
        let master = |member: &paceline_replica::Member| {
            let own = member.name == self.services.config.name;
            let leads = status.leader.as_ref().is_some_and(|leader| leader.raft_id == member.raft_id);
            let votes = status.voters.iter().any(|voter| voter.raft_id == member.raft_id);
            let role = match status.role {
                _ if leads => v1::MasterRole::Leader,
                ServerRole::Candidate if own => v1::MasterRole::Candidate,
                _ if votes => v1::MasterRole::Follower,
                _ => v1::MasterRole::Learner,
            };
            v1::Master {
                id: member.raft_id,
                name: member.name.clone(),
                api_address: member.api_address.clone(),
                role: role.into(),
                up: if own {
                    Some(true)
                } else {
                    silences.get(&member.raft_id).map(|silence| answers(*silence))
                },
                certificate_days_left: self.services.certificates.days_left(&member.name, now_unix),
                matched_revision: status.matched.get(&member.raft_id).copied().flatten(),
                snapshot_revision: status.snapshot.filter(|_| own),
                purged_revision: status.purged.filter(|_| own),
            }
        };
        status.members.iter().map(master).collect()
    }
}

/// Whether a master is up as its leader sees it.
fn answers(silence: Option<Duration>) -> bool {
    silence.is_some_and(|silence| silence < MASTER_SILENCE)
}

/// Encodes on threads of its own, one piece at a time: a large state would hold up a worker. Ends when the reader goes
/// or stops reading.
async fn send_pieces(
    execution: Execution,
    view: Arc<Cell>,
    sender: mpsc::Sender<Result<v1::SnapshotReply, Status>>,
) {
    let revision = view.revision().0;
    let mut chunks = view.snapshot_chunks();
    let mut next = chunks.next();
    let mut piece = 0;
    while let Some(data) = next {
        let view = view.clone();
        let encoded = execution.blocking(move || {
            let following = chunks.next();
            let digest = following.is_none().then(|| view.digest());
            (chunks, following, digest)
        });
        let Some((rest, following, digest)) = encoded.await else { return };
        (chunks, next) = (rest, following);
        let end = digest.map(|digest| v1::SnapshotEnd { digest: digest.to_vec().into(), pieces: piece + 1 });
        let reply = v1::SnapshotReply { revision, piece, data, end };
        if sender.send_timeout(Ok(reply), PIECE_WAIT).await.is_err() {
            return;
        }
        piece += 1;
    }
}

fn node_counts(view: &Cell, links: Option<&LinksAnswer>) -> v1::NodeCounts {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let heard = |wanted: fn(&Liveness) -> bool| {
        links.map(|links| count(links.nodes.values().filter(|node| wanted(&node.liveness)).count()))
    };
    v1::NodeCounts {
        up: heard(|liveness| matches!(liveness, Liveness::Up)),
        suspect: heard(|liveness| matches!(liveness, Liveness::Suspect { .. })),
        lost: heard(|liveness| matches!(liveness, Liveness::Lost { .. })),
        returning: heard(|liveness| matches!(liveness, Liveness::Returning)),
        unheard: heard(|liveness| matches!(liveness, Liveness::Unheard)),
        draining: count(view.nodes().filter(|node| node.draining).count()),
        total: count(view.node_count()),
    }
}

fn job_counts(view: &Cell) -> v1::JobCounts {
    let mut counts = v1::JobCounts::default();
    for job in view.jobs() {
        *match job.state {
            JobState::Active => &mut counts.active,
            JobState::Stopping => &mut counts.stopping,
            JobState::Succeeded => &mut counts.succeeded,
            JobState::Failed => &mut counts.failed,
            JobState::Killed => &mut counts.killed,
        } += 1;
    }
    counts
}

fn task_totals(view: &Cell) -> v1::TaskTotals {
    let total = |state: TaskState| view.jobs().map(|job| u64::from(job.count(state))).sum();
    v1::TaskTotals {
        pending: total(TaskState::Pending),
        assigned: total(TaskState::Assigned),
        running: total(TaskState::Running),
        stopping: total(TaskState::Stopping),
        succeeded: total(TaskState::Succeeded),
        failed: total(TaskState::Failed),
        killed: total(TaskState::Killed),
        lost: total(TaskState::Lost),
    }
}

fn config(view: &Cell) -> v1::CellConfig {
    let config = view.config();
    v1::CellConfig {
        settings: Setting::ALL.iter().map(|&key| (key.as_str().to_owned(), config.value(key))).collect(),
        failure_domains: Some(v1::FailureDomains { labels: config.failure_domains.clone() }),
    }
}

/// What shall change; a setting that nobody knows is named together with all other faults.
fn config_change(view: &Cell, change: v1::CellConfig) -> Result<ConfigChange, Status> {
    let mut unknown = Vec::new();
    let mut settings = std::collections::BTreeMap::new();
    for (word, value) in change.settings {
        match Setting::ALL.iter().find(|setting| setting.as_str() == word) {
            Some(&setting) => {
                settings.insert(setting, value);
            }
            None => {
                let words: Vec<&str> = Setting::ALL.iter().map(|setting| setting.as_str()).collect();
                let expected = format!("one of {}", words.join(", "));
                unknown.push(Violation {
                    field: format!("config.{word}"),
                    value: value.to_string(),
                    expected,
                });
            }
        }
    }
    let failure_domains = change.failure_domains.map(|domains| domains.labels);
    let change = ConfigChange { settings, failure_domains };
    if unknown.is_empty() {
        return Ok(change);
    }
    unknown.extend(view.config().with(&change).err().unwrap_or_default());
    Err(refuse::invalid(&unknown))
}

fn transfer(error: &paceline_replica::TransferError) -> Status {
    use paceline_replica::TransferError;
    match error {
        TransferError::NotLeader { leader } => refuse::not_leader(leader.as_ref()),
        TransferError::NoSuchVoter { .. } => refuse::plain(v1::ErrorCode::NotFound, error.to_string()),
        TransferError::NoOtherVoter => refuse::plain(v1::ErrorCode::Conflict, error.to_string()),
        // The other master was told to take over, and may still do.
        TransferError::NotTaken { .. } => refuse::plain(v1::ErrorCode::OutcomeUnknown, error.to_string()),
        TransferError::Raft(cause) => {
            // In the words of Raft's own types, which help nobody who asked.
            tracing::debug!(cause, "a leadership was not handed over");
            let message = "the leadership was not handed over: this master is stopping, or lost it meanwhile; nothing was done";
            refuse::plain(v1::ErrorCode::Unavailable, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_replica::TransferError;

    #[test]
    fn a_digest_shortly_before_will_do_where_no_revision_was_named() {
        let (young, old) = (DIGEST_FOR / 2, DIGEST_FOR * 2);
        let at = Revision;
        assert!(will_do(at(5), young, at(7), false));
        assert!(!will_do(at(5), old, at(7), false), "too old");
        assert!(!will_do(at(5), young, at(7), true), "exactly is exactly");
        assert!(will_do(at(7), old, at(7), true), "the same state has the same digest");
        assert!(!will_do(at(9), young, at(7), false), "a view has not seen what comes after it");
    }

    #[test]
    fn unknown_settings_and_values_out_of_range_are_named_at_once() {
        let settings = [("no_such".to_owned(), 1), ("heartbeat_ms".to_owned(), 1)].into();
        let change = v1::CellConfig { settings, failure_domains: None };
        let refused = config_change(&Cell::genesis("test"), change).expect_err("two faults");
        let detail = paceline_api::detail_of(&refused).expect("typed");
        let fields: Vec<&str> = detail.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert!(fields.len() == 2 && fields[0] == "config.no_such", "{fields:?}");
        assert!(fields[1].contains("heartbeat_ms"), "{fields:?}");
    }

    #[test]
    fn what_is_not_known_is_absent_and_what_is_none_is_zero() {
        let view = Cell::genesis("test");
        let follower = node_counts(&view, None);
        assert_eq!((follower.up, follower.suspect, follower.unheard, follower.total), (None, None, None, 0));
        let leader = node_counts(&view, Some(&LinksAnswer::default()));
        assert_eq!((leader.up, leader.suspect, leader.unheard), (Some(0), Some(0), Some(0)));
    }

    #[test]
    fn a_handover_that_was_asked_for_and_not_seen_may_still_come() {
        let code = |error| paceline_api::detail_of(&transfer(&error)).expect("typed").code();
        assert_eq!(code(TransferError::NotTaken { deadline_ms: 5 }), v1::ErrorCode::OutcomeUnknown);
        let raft = || TransferError::Raft("Fatal(Panicked { disk_id: [7, 9] })".into());
        assert_eq!(code(raft()), v1::ErrorCode::Unavailable);
        assert!(!transfer(&raft()).message().contains(['{', '[']), "in plain words");
        assert_eq!(code(TransferError::NotLeader { leader: None }), v1::ErrorCode::NotLeader);
    }
}
