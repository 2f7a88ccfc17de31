//! What a replica tells about itself: openraft's metrics in the words of the cell.

use std::collections::BTreeMap;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftMetrics;
use tokio::sync::watch;

use crate::member::Member;
use crate::raft::{self, Raft, TypeConfig};

/// What a replica is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerRole {
    /// Receives the log without a vote.
    #[default]
    Learner,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Is ending.
    Stopped,
}

/// A replica and its cell at one moment. Indexes are revisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaStatus {
    /// What this replica is.
    pub role: ServerRole,
    /// The highest term it has seen.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<Member>,
    /// Whether it leads, has applied the first entry of its own term, and has been answered by a majority since it
    /// started: only then may it act for the cell.
    pub leading: bool,
    /// All members, voting or not, by Raft id.
    pub members: Vec<Member>,
    /// The members with a vote.
    pub voters: Vec<Member>,
    /// The members as of the last change that is committed: what others may be told.
    pub committed_members: Vec<Member>,
    /// Those of them with a vote.
    pub committed_voters: Vec<Member>,
    /// The entry of that change.
    pub members_at: Option<u64>,
    /// The last entry in its log.
    pub last_log: Option<u64>,
    /// The last entry known to be committed.
    pub committed: Option<u64>,
    /// The last entry applied.
    pub applied: Option<u64>,
    /// The last entry covered by its snapshot.
    pub snapshot: Option<u64>,
    /// The last entry removed from its log.
    pub purged: Option<u64>,
    /// On a leader: the last entry that each member is known to hold.
    pub matched: BTreeMap<u64, Option<u64>>,
}

fn role(state: ServerState) -> ServerRole {
    match state {
        ServerState::Learner => ServerRole::Learner,
        ServerState::Follower => ServerRole::Follower,
        ServerState::Candidate => ServerRole::Candidate,
        ServerState::Leader => ServerRole::Leader,
        ServerState::Shutdown => ServerRole::Stopped,
    }
}

/// Translates openraft's metrics.
pub fn status(metrics: &RaftMetrics<TypeConfig>) -> ReplicaStatus {
    let membership = metrics.membership_config.membership();
    let committed = &metrics.committed_membership_config;
    let (settled, settled_at) = (committed.membership(), committed.log_id());
    let role = role(metrics.state);
    let index = |id: &Option<raft::LogId>| id.as_ref().map(raft::LogId::index);
    let own_term_applied =
        metrics.last_applied.as_ref().is_some_and(|id| raft::term(id) == metrics.current_term);
    let acknowledged = acknowledged(metrics.last_quorum_acked.is_some(), membership.voter_ids().count());
    let replication = metrics.replication.iter().flatten();
    ReplicaStatus {
        role,
        term: metrics.current_term,
        leader: metrics.current_leader.and_then(|id| membership.get_node(&id).cloned()),
        leading: role == ServerRole::Leader && own_term_applied && acknowledged,
        members: membership.nodes().map(|(_, member)| member.clone()).collect(),
        voters: membership.voter_ids().filter_map(|id| membership.get_node(&id).cloned()).collect(),
        committed_members: settled.nodes().map(|(_, member)| member.clone()).collect(),
        committed_voters: settled.voter_ids().filter_map(|id| settled.get_node(&id).cloned()).collect(),
        members_at: index(settled_at),
        last_log: metrics.last_log_index,
        committed: index(&metrics.local_committed),
        applied: index(&metrics.last_applied),
        snapshot: index(&metrics.snapshot),
        purged: index(&metrics.purged),
        matched: replication.map(|(id, matched)| (*id, index(matched))).collect(),
    }
}

/// Whether a majority has answered this leader since the process started: a leader that was killed takes up its old
/// term from its disk, while the others may have elected the next one. A lone voter is its own majority.
fn acknowledged(by_quorum: bool, voters: usize) -> bool {
    by_quorum || voters == 1
}

/// Follows openraft's metrics for as long as it lives.
pub fn follow(raft: &Raft) -> (watch::Receiver<ReplicaStatus>, watch::Receiver<Option<String>>) {
    let mut metrics = raft.metrics();
    // Cloned at once: a held borrow blocks the core.
    let first = metrics.borrow_and_update().clone();
    let (statuses, status_changes) = watch::channel(status(&first));
    let (fatal, fatal_changes) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let ended = metrics.changed().await.is_err();
            let latest = metrics.borrow_and_update().clone();
            let latest_status = status(&latest);
            statuses.send_if_modified(|known| {
                let modified = *known != latest_status;
                *known = latest_status;
                modified
            });
            if let Err(error) = &latest.running_state {
                fatal.send_replace(Some(error.to_string()));
                return;
            }
            if ended {
                fatal.send_replace(Some("Raft has ended".into()));
                return;
            }
        }
    });
    (status_changes, fatal_changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_came_back_waits_for_a_majority_and_a_lone_voter_does_not() {
        assert!(!acknowledged(false, 3));
        assert!(acknowledged(true, 3));
        assert!(acknowledged(false, 1));
    }
}
