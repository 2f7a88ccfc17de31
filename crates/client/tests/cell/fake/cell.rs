//! What the fake masters agree on, and what they are told to do wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use paceline_api::v1::{ErrorCode, ErrorDetail, Leader};
use paceline_api::{CallId, error_detail, status_from, v1};
use tonic::Status;

/// What the next call goes wrong with. Faults are used up in order, by whichever master leads.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Executes, then answers nothing that a client could understand.
    DropReply,
    /// Executes, then never answers.
    Hang,
    /// Answers so without executing.
    Say(ErrorDetail),
}

/// The truth.
#[derive(Default)]
pub struct FakeCell(Mutex<Truth>);

/// What is in it.
#[derive(Default)]
pub struct Truth {
    pub addresses: Vec<String>,
    /// Which master leads; nobody during an election.
    pub leader: Option<usize>,
    pub faults: VecDeque<Fault>,
    /// Every mutating request that reached a leader: its id, whether executed anew or not.
    pub seen: Vec<CallId>,
    /// Replies by request id.
    answered: BTreeMap<([u8; 16], u64), v1::SubmitJobReply>,
    pub executions: u64,
    /// Revisions that others made.
    pub others: u64,
    /// Who answered the last read.
    pub read_by: Option<usize>,
    /// What each opening of a watch sends, and the revisions they were opened after.
    pub watches: VecDeque<Vec<Result<v1::WatchReply, Status>>>,
    pub watched_after: Vec<u64>,
    /// The jobs that watches were opened for.
    pub watched_of: Vec<String>,
    /// What each page of tasks answers, by turn.
    pub pages: VecDeque<Result<v1::ListTasksReply, Status>>,
    /// What each opening of a log sends, and the offsets and jobs asked for.
    pub logs: VecDeque<Vec<Result<v1::LogsReply, Status>>>,
    pub logged_from: Vec<u64>,
    pub logged_of: Vec<String>,
}

impl FakeCell {
    pub fn lock(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Truth {
    /// Refuses as a follower does.
    pub fn only_leader(&self, at: usize) -> Result<(), Status> {
        if self.leader == Some(at) {
            return Ok(());
        }
        let mut detail = error_detail(ErrorCode::NotLeader, format!("m{at} does not lead"));
        detail.leader = self
            .leader
            .map(|leader| Leader { name: format!("m{leader}"), api_address: self.addresses[leader].clone() });
        Err(status_from(detail))
    }

    /// Executes once per request id.
    pub fn execute(&mut self, id: CallId) -> v1::SubmitJobReply {
        let key = (id.client, id.sequence);
        if let Some(reply) = self.answered.get(&key) {
            return *reply;
        }
        self.executions += 1;
        let revision = 100 + self.others + self.executions;
        let uid = Some(v1::JobUid { revision, ordinal: 0 });
        let reply = v1::SubmitJobReply { revision, uid, existing: false };
        self.answered.insert(key, reply);
        reply
    }
}
