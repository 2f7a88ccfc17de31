//! What was done to a cell and what came of it, one type for each kind of fault.

use serde::Serialize;

use crate::cpu::Cpu;

/// One leader that was killed.
#[derive(Clone, Debug, Serialize)]
pub struct Kill {
    /// Its name.
    pub leader: String,
    /// The term that it led in.
    pub term: u64,
    /// The term that the next write was committed in, or a later one.
    pub next_term: u64,
    /// From the SIGKILL to the reply of the next committed write, as a client sees it.
    pub ms_to_next_write: u64,
    /// From the SIGKILL until the master was back, with all of that write applied.
    pub ms_to_caught_up: u64,
    /// Tasks of the big job that had ended before.
    pub tasks_ended: u64,
}

/// One time that all masters and shards, or all shards, were away.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    /// What was away.
    pub away: &'static str,
    /// From the SIGKILLs to the first restart.
    pub ms_away: u64,
    /// Tasks that ran when it began.
    pub tasks_running: usize,
    /// Of these, still running when it ended, as the same processes.
    pub tasks_kept: usize,
    /// Of these, those that ended while nobody could hear it.
    pub tasks_ended_unheard: usize,
    /// From the first restart to the reply of the next committed write; nothing where masters were there all the time.
    pub ms_to_next_write: Option<u64>,
    /// From the first restart until every shard and node was connected.
    pub ms_to_all_connected: u64,
}

/// One agent that was killed.
#[derive(Clone, Debug, Serialize)]
pub struct AgentKill {
    /// Its node.
    pub node: String,
    /// Tasks that ran there.
    pub tasks_running: usize,
    /// Of these, those that ended before the agent was back.
    pub tasks_ended_unheard: usize,
    /// Of these, those that ran on as the same processes.
    pub tasks_kept: usize,
    /// From the SIGKILL to the restart.
    pub ms_away: u64,
    /// From the restart until the node was up.
    pub ms_to_up: u64,
    /// From the restart until the cell knew of every end that it had missed.
    pub ms_to_ends_heard: u64,
}

/// One agent that was paused while its tasks needed leases.
#[derive(Clone, Debug, Serialize)]
pub struct Fencing {
    /// Its node.
    pub node: String,
    /// Tasks that ran there.
    pub tasks_running: usize,
    /// From the SIGSTOP until none of them ran any more.
    pub ms_to_fenced: u64,
    /// From the SIGSTOP until all of them ran elsewhere.
    pub ms_to_replaced: u64,
    /// From the SIGCONT until the node was up.
    pub ms_to_up: u64,
    /// Beats that all tasks wrote in all attempts.
    pub beats: usize,
    /// The shortest time between the last beat of one attempt and the first of the next.
    pub gap_ms_min: u64,
}

/// Nodes that were killed with everything on them, and kept away.
#[derive(Clone, Debug, Serialize)]
pub struct NodeLoss {
    /// How many.
    pub nodes: usize,
    /// Tasks that ran there.
    pub tasks_running: usize,
    /// From the SIGKILLs until the brake was on; nothing where it must not be.
    pub ms_to_brake: Option<u64>,
    /// How long it was on before an operator released it.
    pub ms_braked: Option<u64>,
    /// From the SIGKILLs until all tasks ran elsewhere.
    pub ms_to_replaced: u64,
}

/// One shard that was killed.
#[derive(Clone, Debug, Serialize)]
pub struct ShardKill {
    /// Its name.
    pub shard: String,
    /// Nodes that spoke through it.
    pub nodes: Vec<String>,
    /// Tasks that ran on these nodes.
    pub tasks_running: usize,
    /// From the SIGKILL until all of them spoke through another shard.
    pub ms_to_rehomed: u64,
    /// From the SIGKILL until a new task had run on each of these nodes.
    pub ms_to_new_work_done: u64,
    /// From the restart of the shard until its nodes were with it again.
    pub ms_to_home_again: u64,
}

/// One leader that was paused.
#[derive(Clone, Debug, Serialize)]
pub struct Pause {
    /// Its name.
    pub leader: String,
    /// The term that it led in.
    pub term: u64,
    /// Who led meanwhile.
    pub successor: String,
    /// The term that it led in.
    pub next_term: u64,
    /// How long it was paused.
    pub ms_paused: u64,
    /// From the SIGSTOP until the successor said that it leads.
    pub ms_to_successor: u64,
    /// From the SIGSTOP until a write was committed without it.
    pub ms_to_next_write: u64,
    /// From the SIGSTOP until all long tasks that the successor was given ran.
    pub ms_to_assigned: u64,
    /// Tasks that the successor assigned.
    pub tasks_assigned: usize,
    /// Tasks that the successor removed.
    pub tasks_removed: usize,
    /// From the SIGCONT until the old leader named the successor.
    pub ms_to_stepped_down: u64,
}

/// One follower that was away until the log behind it was gone.
#[derive(Clone, Debug, Serialize)]
pub struct CatchUp {
    /// Its name.
    pub follower: String,
    /// Its log ended below this revision.
    pub revision_before: u64,
    /// No other master had an entry up to this revision any more when it came back.
    pub purged_revision: u64,
    /// The revision of its snapshot once it had caught up.
    pub snapshot_revision: u64,
    /// From the restart until it had applied what the leader had by then.
    pub ms_to_caught_up: u64,
    /// Finished jobs that were read from it.
    pub jobs_read: usize,
}

/// One master that another took the place of.
#[derive(Clone, Debug, Serialize)]
pub struct Replacement {
    /// Who went.
    pub old: String,
    /// Who came.
    pub new: String,
    /// Alive, dead, or with the leader killed half-way.
    pub how: &'static str,
    /// The leader that was killed as soon as the new one was a member.
    pub killed_leader: Option<String>,
    /// How many entries the new one lacked, and had no vote, right before that leader was killed. Absent where nothing
    /// was killed, and where the new one had not answered yet.
    pub learner_lag_at_kill: Option<u64>,
    /// From the call until the new one voted and the old one was no member.
    pub ms_to_replaced: u64,
    /// From the call until the old one had ended by itself.
    pub ms_to_gone: u64,
}

/// What a large job cost a leader that nobody disturbed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Throughput {
    /// Tasks of the job.
    pub tasks: u32,
    /// From its acknowledgement to its end.
    pub seconds: f64,
    /// Bytes given to the leader's log writer meanwhile, framing included.
    pub log_bytes: u64,
    /// Transitions to assigned, running and ended meanwhile.
    pub task_transitions: u64,
    /// The one over the other.
    pub log_bytes_per_transition: f64,
    /// Processor time for each task, in milliseconds.
    pub cpu_ms_per_task: Cpu<f64>,
}

impl Kill {
    pub(super) fn text(&self) -> String {
        let Self { leader, ms_to_next_write, ms_to_caught_up, tasks_ended, .. } = self;
        format!(
            "{leader} killed after {tasks_ended} tasks: next write after {ms_to_next_write} ms, caught up after \
             {ms_to_caught_up} ms"
        )
    }
}

impl Outage {
    pub(super) fn text(&self) -> String {
        let Self { away, ms_away, tasks_running, tasks_kept, tasks_ended_unheard, .. } = self;
        let write = self.ms_to_next_write.map(|ms| format!("next write after {ms} ms, ")).unwrap_or_default();
        format!(
            "{away} away for {ms_away} ms: of {tasks_running} tasks {tasks_kept} went on and {tasks_ended_unheard} \
             ended meanwhile; {write}all connected after {} ms",
            self.ms_to_all_connected
        )
    }
}

impl Fencing {
    /// In one line.
    pub(super) fn text(&self) -> String {
        let Self { node, tasks_running, ms_to_fenced, ms_to_replaced, ms_to_up, beats, gap_ms_min } = self;
        format!(
            "agent of {node} paused: its {tasks_running} tasks gone after {ms_to_fenced} ms, elsewhere after \
             {ms_to_replaced} ms, the node up {ms_to_up} ms after it was resumed; {beats} beats, shortest gap between \
             two attempts {gap_ms_min} ms"
        )
    }
}

impl NodeLoss {
    /// In one line.
    pub(super) fn text(&self) -> String {
        let Self { nodes, tasks_running, ms_to_brake, ms_braked, ms_to_replaced } = self;
        let brake = match (ms_to_brake, ms_braked) {
            (Some(to), Some(on)) => format!("the brake on after {to} ms and released {on} ms later, "),
            _ => String::new(),
        };
        format!(
            "{nodes} nodes killed: {brake}their {tasks_running} tasks elsewhere after {ms_to_replaced} ms"
        )
    }
}

impl AgentKill {
    pub(super) fn text(&self) -> String {
        let Self {
            node,
            tasks_running,
            tasks_ended_unheard,
            tasks_kept,
            ms_away,
            ms_to_up,
            ms_to_ends_heard,
        } = self;
        format!(
            "agent of {node} away for {ms_away} ms: of {tasks_running} tasks {tasks_kept} went on and \
             {tasks_ended_unheard} ended meanwhile; up after {ms_to_up} ms, all ends heard after \
             {ms_to_ends_heard} ms"
        )
    }
}

impl ShardKill {
    pub(super) fn text(&self) -> String {
        let Self { shard, nodes, tasks_running, ms_to_rehomed, ms_to_new_work_done, ms_to_home_again } = self;
        format!(
            "{shard} killed with {} and {tasks_running} tasks behind it: re-homed after {ms_to_rehomed} ms, new work \
             done there after {ms_to_new_work_done} ms; home again {ms_to_home_again} ms after its return",
            nodes.join(", ")
        )
    }
}

impl Pause {
    pub(super) fn text(&self) -> String {
        let Self { leader, term, successor, next_term, ms_paused, tasks_assigned, tasks_removed, .. } = self;
        format!(
            "{leader} (term {term}) paused for {ms_paused} ms: {successor} led (term {next_term}) after {} ms, \
             committed after {} ms, {tasks_assigned} tasks assigned, the long ones running after {} ms, \
             {tasks_removed} removed; stepped down {} ms after it was resumed",
            self.ms_to_successor, self.ms_to_next_write, self.ms_to_assigned, self.ms_to_stepped_down
        )
    }
}

impl CatchUp {
    pub(super) fn text(&self) -> String {
        let Self {
            follower,
            revision_before,
            purged_revision,
            snapshot_revision,
            ms_to_caught_up,
            jobs_read,
        } = self;
        format!(
            "{follower} had no entry from revision {revision_before} on, the others none up to {purged_revision}: \
             caught up by snapshot {snapshot_revision} after {ms_to_caught_up} ms; {jobs_read} finished jobs read \
             from it"
        )
    }
}

impl Replacement {
    pub(crate) fn text(&self) -> String {
        let Self { old, new, how, killed_leader, ms_to_replaced, ms_to_gone, .. } = self;
        let killed = killed_leader.as_ref().map(|leader| format!(" ({leader})")).unwrap_or_default();
        format!(
            "{old} replaced by {new}, {how}{killed}: votes after {ms_to_replaced} ms, the old one ended by itself \
             after {ms_to_gone} ms"
        )
    }
}

impl Throughput {
    pub(super) fn text(&self) -> String {
        format!(
            "{} tasks in {:.1} s without a failover: {} bytes of log over {} transitions, {:.2} bytes each; {}",
            self.tasks,
            self.seconds,
            self.log_bytes,
            self.task_transitions,
            self.log_bytes_per_transition,
            self.cpu_ms_per_task.text()
        )
    }
}
