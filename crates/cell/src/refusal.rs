//! Why a command changed nothing: typed, explained, and small, because it is recorded and sent.

use paceline_rules::Violation;
use paceline_types::{
    AgentInstance, Attempt, FeatureLevel, Generation, JobState, JobUid, NodeEpoch, NodeId, Reason, Revision,
    TaskIndex, TaskState,
};

/// What a name was looked for among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Subject {
    /// A job.
    Job = 1,
    /// A node.
    Node = 2,
    /// A link shard.
    Shard = 3,
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bound {
    /// Unanswered request ids of one client.
    OpenRequests = 1,
    /// Recorded request ids of the cell; a principal may hold as many as are free.
    RequestRecords = 2,
    /// Jobs in the cell.
    Jobs = 3,
    /// Tasks in the cell.
    Tasks = 4,
    /// Nodes of the cell.
    Nodes = 5,
    /// Link shards of the cell.
    Shards = 6,
}

/// A counter that has reached its last value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Counter {
    /// Attempts of a task.
    Attempt = 1,
    /// Epochs of a node.
    NodeEpoch = 2,
    /// Node numbers.
    NodeId = 3,
    /// Shard numbers.
    ShardId = 4,
    /// The cell clock.
    Clock = 5,
}

/// Why a command changed nothing. Bounded in size, see [`Refusal::violations`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The specification of a job has faults.
    #[error("the job is not valid: {}", list(.0))]
    InvalidSpec(Vec<Violation>),
    /// A field of another command has faults.
    #[error("{}", list(.0))]
    InvalidArgument(Vec<Violation>),
    /// Nothing of that name.
    #[error("there is no {subject} `{name}`")]
    NotFound {
        /// What was looked for.
        subject: Subject,
        /// By what name or number.
        name: String,
    },
    /// A live job has the name, and is stopping or has another specification.
    #[error(
        "job {uid} has the name, and it has another specification or is stopping: stop it and wait for its end, or choose another name"
    )]
    NameInUse {
        /// The live job.
        uid: JobUid,
    },
    /// Only jobs that have ended can be deleted or retired.
    #[error("job {uid} is {state}: only a job that has ended can be deleted or retired")]
    JobNotTerminal {
        /// The job.
        uid: JobUid,
        /// Its state.
        state: JobState,
    },
    /// Only active jobs get work.
    #[error("job {uid} is {state}: only an active job is assigned to nodes")]
    JobNotActive {
        /// The job.
        uid: JobUid,
        /// Its state.
        state: JobState,
    },
    /// Another agent instance holds the node's name.
    #[error("node {node} belongs to agent instance {known}: `node replace` lets another one take its name")]
    InstanceMismatch {
        /// The node.
        node: NodeId,
        /// The instance that is known.
        known: AgentInstance,
    },
    /// The node has another epoch.
    #[error("node {node} is at epoch {committed}")]
    StaleEpoch {
        /// The node.
        node: NodeId,
        /// Its epoch.
        committed: NodeEpoch,
    },
    /// A task is not pending at the attempt that was named.
    #[error("task {task} is {state} at attempt {attempt}")]
    StaleAttempt {
        /// The first such task.
        task: TaskIndex,
        /// Its state.
        state: TaskState,
        /// Its attempt.
        attempt: Attempt,
    },
    /// An index beyond the job's last.
    #[error("there is no task {task}: the job has {tasks} tasks, numbered from 0")]
    NoSuchTask {
        /// The index.
        task: TaskIndex,
        /// How many tasks there are.
        tasks: u32,
    },
    /// An assignment of nothing.
    #[error("no task is named")]
    NoTasks,
    /// A placement rule says no.
    #[error("not feasible: {}", .0.explanation())]
    Infeasible(Reason),
    /// A tick from another time than the cell's.
    #[error("the cell clock is at {committed_ms} ms")]
    ClockMismatch {
        /// The cell clock.
        committed_ms: u64,
    },
    /// A tick that is too long.
    #[error("a tick is at most {limit_ms} ms")]
    StepTooLarge {
        /// The limit.
        limit_ms: u64,
    },
    /// The id was used for another command.
    #[error("the request id was used for another command")]
    RequestConflict,
    /// Whether the id was executed is no longer known.
    #[error("the request id is too old to tell whether it was executed: read, then ask again with a new id")]
    RequestTooOld {
        /// Floors from here on are accepted.
        horizon: Revision,
    },
    /// The client said that it has the answer.
    #[error("the client has said that it has the answers below {lowest_unanswered}")]
    RequestAnswered {
        /// The client's lowest unanswered sequence.
        lowest_unanswered: u64,
    },
    /// Something is full for the moment. Not recorded: the same id may come again.
    #[error("{bound} is at its limit of {limit}")]
    Overloaded {
        /// What is full.
        bound: Bound,
        /// How many there may be.
        limit: u64,
        /// When to come again.
        retry_after_ms: u64,
    },
    /// The entry holds a command that not every replica may know yet.
    #[error("feature level {needed} is needed, {committed} is committed")]
    FeatureLevel {
        /// What the entry needs, or the only level that could be raised to.
        needed: FeatureLevel,
        /// What is committed.
        committed: FeatureLevel,
    },
    /// Generations only rise.
    #[error("the generation is {committed}")]
    GenerationNotHigher {
        /// What is committed.
        committed: Generation,
    },
    /// A counter cannot rise further.
    #[error("{counter} has reached its last value")]
    Exhausted {
        /// Which.
        counter: Counter,
    },
    /// The entry could not be read.
    #[error("the entry cannot be read")]
    Undecodable,
}

/// Most faults that one refusal carries: it is recorded and sent.
const VIOLATIONS_MAX: usize = 32;
/// Longest text of one fault, in bytes.
const VIOLATION_BYTES_MAX: usize = 256;
/// Most faults that the request table keeps of one refusal: with the two limits below, less than a kilobyte.
const RECORDED_VIOLATIONS_MAX: usize = 8;
/// Longest field of a recorded fault, in bytes.
const RECORDED_FIELD_BYTES_MAX: usize = 64;
/// Longest value of a recorded fault, in bytes.
const RECORDED_VALUE_BYTES_MAX: usize = 32;
/// Longest name that a refusal repeats, in bytes.
const NAME_BYTES_MAX: usize = 128;

impl Refusal {
    /// Whether the refusal says nothing about the command itself: it is not recorded, so that the same id may
    /// come again.
    #[must_use]
    pub const fn is_overload(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
    }

    /// Cuts a list of faults to what a reply may carry.
    #[must_use]
    pub fn violations(mut found: Vec<Violation>) -> Vec<Violation> {
        let left_out = found.len().saturating_sub(VIOLATIONS_MAX);
        found.truncate(VIOLATIONS_MAX);
        for violation in &mut found {
            for text in [&mut violation.field, &mut violation.value, &mut violation.expected] {
                cut(text, VIOLATION_BYTES_MAX);
            }
        }
        if left_out > 0 {
            found.push(Violation {
                field: "and more".to_owned(),
                value: format!("{left_out} faults"),
                expected: "none".to_owned(),
            });
        }
        found
    }

    /// The refusal as the request table keeps it: small, and without prose, which later builds may word otherwise. A
    /// retry hears which fields were wrong.
    #[must_use]
    pub(crate) fn to_record(&self) -> Self {
        let short = |found: &[Violation]| {
            let cut_to = |text: &str, bytes| {
                let mut text = text.to_owned();
                cut(&mut text, bytes);
                text
            };
            let fault = |violation: &Violation| Violation {
                field: cut_to(&violation.field, RECORDED_FIELD_BYTES_MAX),
                value: cut_to(&violation.value, RECORDED_VALUE_BYTES_MAX),
                expected: String::new(),
            };
            found.iter().take(RECORDED_VIOLATIONS_MAX).map(fault).collect()
        };
        match self {
            Self::InvalidSpec(found) => Self::InvalidSpec(short(found)),
            Self::InvalidArgument(found) => Self::InvalidArgument(short(found)),
            other => other.clone(),
        }
    }

    /// One fault of a field.
    #[must_use]
    pub fn argument(field: &str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        let violation = Violation { field: field.to_owned(), value: value.into(), expected: expected.into() };
        Self::InvalidArgument(Self::violations(vec![violation]))
    }

    /// Nothing of that name.
    #[must_use]
    pub fn not_found(subject: Subject, name: &impl ToString) -> Self {
        let mut name = name.to_string();
        cut(&mut name, NAME_BYTES_MAX);
        Self::NotFound { subject, name }
    }
}

/// Shortens a text to at most `bytes`, between characters.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

macro_rules! coded {
    ($name:ident { $($variant:ident $text:literal,)+ }) => {
        impl $name {
            /// The stored code.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value of a stored code.
            #[must_use]
            pub fn from_code(code: u32) -> Option<Self> {
                [$(Self::$variant,)+].into_iter().find(|value| u32::from(value.code()) == code)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }
    };
}

coded!(Subject { Job "job", Node "node", Shard "shard", });
coded!(Bound {
    OpenRequests "the number of unanswered requests of this client",
    RequestRecords "the share of this principal in the recorded requests",
    Jobs "the number of jobs in the cell",
    Tasks "the number of tasks in the cell",
    Nodes "the number of nodes of the cell",
    Shards "the number of link shards of the cell",
});
coded!(Counter {
    Attempt "the attempt of a task",
    NodeEpoch "the epoch of the node",
    NodeId "the number of nodes ever registered",
    ShardId "the number of link shards ever registered",
    Clock "the cell clock",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stays_small_whatever_was_wrong() {
        let fault = |at: usize| Violation {
            field: format!("env.{at}.{}", "ä".repeat(1000)),
            value: String::new(),
            expected: String::new(),
        };
        let kept = Refusal::violations((0..1000).map(fault).collect());
        assert_eq!(kept.len(), VIOLATIONS_MAX + 1);
        assert!(kept.iter().all(|violation| violation.field.len() <= VIOLATION_BYTES_MAX));
        assert_eq!(kept[VIOLATIONS_MAX].value, "968 faults");
    }

    #[test]
    fn a_recorded_refusal_is_smaller_than_a_kilobyte_and_has_no_prose() {
        let fault = Violation { field: "f".repeat(250), value: "v".repeat(250), expected: "less".to_owned() };
        let recorded = Refusal::InvalidSpec(Refusal::violations(vec![fault; 1000])).to_record();
        let Refusal::InvalidSpec(kept) = recorded else { panic!("another refusal") };
        assert!(kept.iter().all(|fault| fault.expected.is_empty()));
        assert!(kept.iter().map(|fault| fault.field.len() + fault.value.len()).sum::<usize>() < 1024);
        assert_eq!(Refusal::RequestConflict.to_record(), Refusal::RequestConflict);
    }

    #[test]
    fn codes_read_back() {
        for code in 0..=8 {
            for read in [
                Subject::from_code(code).map(Subject::code),
                Bound::from_code(code).map(Bound::code),
                Counter::from_code(code).map(Counter::code),
            ] {
                assert!(read.is_none_or(|read| u32::from(read) == code));
            }
        }
    }
}
