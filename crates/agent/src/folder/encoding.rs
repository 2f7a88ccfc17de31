//! What stands in the frames: JSON, so that a person in trouble can read it with `strings`.
//!
//! A field that is added gets a default for its absence; anything else raises `FORMAT`.

use paceline_types::{
    AgentInstance, AttemptId, BootId, ExitStatus, FenceToken, Generation, IndexSet, JobUid, LinkSession,
    NodeEpoch, NodeName, Reason, Revision, Term,
};
use serde::{Deserialize, Serialize};

use crate::table::{Change, End, Stored};

const FORMAT: u32 = 1;

/// Who the folder belongs to.
#[derive(Serialize, Deserialize)]
pub(super) struct InstanceFile {
    format: u32,
    pub(super) cell: String,
    pub(super) node: String,
    pub(super) instance: String,
}

impl InstanceFile {
    pub(super) fn new(cell: &str, node: &NodeName, instance: AgentInstance) -> Self {
        let (cell, node, instance) = (cell.to_owned(), node.to_string(), instance.to_string());
        Self { format: FORMAT, cell, node, instance }
    }
}

/// The last session.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionFile {
    format: u32,
    pub(super) session: u64,
}

impl SessionFile {
    pub(super) const fn new(session: LinkSession) -> Self {
        Self { format: FORMAT, session: session.0 }
    }
}

/// The highest token, and the epoch.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct FenceFile {
    format: u32,
    generation: u32,
    term: u64,
    revision: u64,
    epoch: u32,
}

impl FenceFile {
    pub(super) const fn new(token: FenceToken, epoch: NodeEpoch) -> Self {
        Self {
            format: FORMAT,
            generation: token.generation.0,
            term: token.term.0,
            revision: token.revision.0,
            epoch: epoch.0,
        }
    }

    pub(super) const fn token(&self) -> FenceToken {
        FenceToken {
            generation: Generation(self.generation),
            term: Term(self.term),
            revision: Revision(self.revision),
        }
    }

    pub(super) const fn epoch(&self) -> NodeEpoch {
        NodeEpoch(self.epoch)
    }
}

/// The first frame of `orders`.
#[derive(Serialize, Deserialize)]
pub(super) struct OrdersHeader {
    format: u32,
    boot: String,
}

impl OrdersHeader {
    pub(super) fn new(boot: BootId) -> Self {
        Self { format: FORMAT, boot: boot.to_string() }
    }

    pub(super) fn is_of(&self, boot: BootId) -> bool {
        self.boot == boot.to_string()
    }
}

/// A change, or in a base several settled ones at once.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Fence { generation: u32, term: u64, revision: u64 },
    Epoch(u32),
    Accepted { attempt: String, generation: u32, assigned: u64, grace_ms: u64 },
    Killed { attempt: String, grace_ms: u64 },
    Ended { attempt: String, reason: u8, code: Option<i32>, signal: Option<i32> },
    Settled { job: String, attempt: u32, tasks: String },
}

/// Changes as one payload.
pub(super) fn encode(changes: &[Change]) -> Vec<u8> {
    let lines: Vec<_> = changes.iter().map(line).collect();
    serde_json::to_vec(&lines).expect("plain enums of texts and numbers encode")
}

/// Everything that is stored, as changes to nothing.
pub(super) fn encode_base(stored: &Stored) -> Vec<u8> {
    let mut lines = vec![line(&Change::Fence(stored.fence)), line(&Change::Epoch(stored.epoch))];
    for (&attempt, was) in &stored.attempts {
        let (generation, assigned, grace_ms) = (was.generation, was.assigned, was.grace_ms);
        lines.push(line(&Change::Accepted { attempt, generation, assigned, grace_ms }));
        lines.extend(was.kill_grace_ms.map(|grace_ms| line(&Change::Killed { attempt, grace_ms })));
        lines.extend(was.end.map(|end| line(&Change::Ended { attempt, end })));
    }
    lines.extend(stored.settled.iter().map(|(job, attempt, tasks)| Line::Settled {
        job: job.to_string(),
        attempt: attempt.0,
        tasks: tasks.to_string(),
    }));
    serde_json::to_vec(&lines).expect("plain enums of texts and numbers encode")
}

fn line(change: &Change) -> Line {
    match *change {
        Change::Fence(token) => {
            Line::Fence { generation: token.generation.0, term: token.term.0, revision: token.revision.0 }
        }
        Change::Epoch(epoch) => Line::Epoch(epoch.0),
        Change::Accepted { attempt, generation, assigned, grace_ms } => Line::Accepted {
            attempt: attempt.to_string(),
            generation: generation.0,
            assigned: assigned.0,
            grace_ms,
        },
        Change::Killed { attempt, grace_ms } => Line::Killed { attempt: attempt.to_string(), grace_ms },
        Change::Ended { attempt, end } => {
            let (code, signal) = match end.status {
                Some(ExitStatus::Code(code)) => (Some(code), None),
                Some(ExitStatus::Signal(signal)) => (None, Some(signal)),
                None => (None, None),
            };
            Line::Ended { attempt: attempt.to_string(), reason: end.reason.code(), code, signal }
        }
        Change::Settled { attempt } => Line::Settled {
            job: attempt.job.to_string(),
            attempt: attempt.attempt.0,
            tasks: attempt.task.to_string(),
        },
    }
}

/// Folds a payload of changes into what is stored; the text says what in it makes no sense.
pub(super) fn fold(payload: &[u8], stored: &mut Stored) -> Result<(), String> {
    let lines: Vec<Line> = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    lines.into_iter().try_for_each(|line| fold_line(line, stored))
}

fn fold_line(line: Line, stored: &mut Stored) -> Result<(), String> {
    let id = |text: String| text.parse::<AttemptId>().map_err(|error| error.to_string());
    let change = match line {
        Line::Fence { generation, term, revision } => Change::Fence(FenceToken {
            generation: Generation(generation),
            term: Term(term),
            revision: Revision(revision),
        }),
        Line::Epoch(epoch) => Change::Epoch(NodeEpoch(epoch)),
        Line::Accepted { attempt, generation, assigned, grace_ms } => Change::Accepted {
            attempt: id(attempt)?,
            generation: Generation(generation),
            assigned: Revision(assigned),
            grace_ms,
        },
        Line::Killed { attempt, grace_ms } => Change::Killed { attempt: id(attempt)?, grace_ms },
        Line::Ended { attempt, reason, code, signal } => {
            let reason = Reason::from_code(reason).ok_or_else(|| format!("{reason} is no reason"))?;
            let status = code.map(ExitStatus::Code).or(signal.map(ExitStatus::Signal));
            Change::Ended { attempt: id(attempt)?, end: End { status, reason } }
        }
        Line::Settled { job, attempt, tasks } => return fold_settled(&job, attempt, &tasks, stored),
    };
    stored.apply(&change);
    Ok(())
}

fn fold_settled(job: &str, attempt: u32, tasks: &str, stored: &mut Stored) -> Result<(), String> {
    let job: JobUid = job.parse().map_err(|error: paceline_types::ParseIdError| error.to_string())?;
    let tasks: IndexSet =
        tasks.parse().map_err(|error: paceline_types::ParseIndexError| error.to_string())?;
    stored.settle(job, paceline_types::Attempt(attempt), &tasks);
    Ok(())
}
