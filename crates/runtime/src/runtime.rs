//! The contract between an agent and whatever runs its tasks.

use std::collections::BTreeMap;
use std::fmt;

use paceline_supervisor::Lease;
use paceline_supervisor::logs::LogStream;
use paceline_types::{AttemptId, ExitStatus, Reason, Resources, Script};

use crate::errors::{LaunchError, ObserveError, StopError};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The attempt; the same one is never started twice.
    pub attempt: AttemptId,
    /// The job's name, for the task's environment.
    pub job_name: String,
    /// The job's number of tasks, for the task's environment.
    pub task_count: u32,
    /// Command and arguments.
    pub run: Vec<String>,
    /// The job's environment. `PACELINE_*` in it is passed over.
    pub env: BTreeMap<String, String>,
    /// Who it runs as; nothing: as the node's default user.
    pub user: Option<String>,
    /// CPU is a weight, memory a hard limit, where the node can enforce them.
    pub resources: Resources,
    /// Never more CPU than this, where the node can enforce it.
    pub cpu_limit_milli: Option<u64>,
    /// Stopped after this.
    pub time_limit_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL when the time limit passes.
    pub grace_ms: u64,
    /// It must run only while it holds a lease, so that it never runs twice.
    pub at_most_one: bool,
    /// What it pretends to do; nothing: it runs. A runtime that cannot do the one that is asked for refuses.
    pub script: Option<Script>,
}

/// What an attempt does at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Launched, not executed yet.
    Starting,
    /// Executed.
    Running {
        /// Process id of the task.
        pid: u32,
        /// Wall clock, for display.
        started_unix_ms: u64,
    },
    /// Over.
    Exited(Exit),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code or signal. 127 when it was not executed, SIGKILL when nobody saw its end.
    pub status: ExitStatus,
    /// Why.
    pub reason: Reason,
    /// More for people; may be empty.
    pub message: String,
    /// Wall clock, for display; equal to the end when it was not executed.
    pub started_unix_ms: u64,
    /// Wall clock, for display.
    pub ended_unix_ms: u64,
    /// Process id of the task; zero when it was not executed.
    pub pid: u32,
}

/// Something that a node can or cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Which.
    pub code: CapabilityCode,
    /// Whether it does.
    pub enforced: bool,
    /// How, or why not.
    pub explanation: String,
}

/// What a node may be able to enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapabilityCode {
    /// Memory is a hard limit, and running out of it a reason of its own.
    MemoryLimit,
    /// CPU is shared by weight.
    CpuWeight,
    /// `cpu_limit` is kept.
    CpuQuota,
    /// Tasks run as users of their own, not as the agent.
    UserSwitch,
    /// A task that names no user shares its own with no other task.
    OwnUser,
    /// Everything of a task is killed at once, whatever it forks.
    KillAtOnce,
    /// Tasks only pretend to run, so that no limit is kept and none is exceeded.
    Simulated,
}

impl CapabilityCode {
    /// The word in the API, the CLI and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemoryLimit => "memory_limit",
            Self::CpuWeight => "cpu_weight",
            Self::CpuQuota => "cpu_quota",
            Self::UserSwitch => "user_switch",
            Self::OwnUser => "own_user",
            Self::KillAtOnce => "kill_at_once",
            Self::Simulated => "simulated",
        }
    }
}

impl fmt::Display for CapabilityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A piece of a task's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Position of the first byte; above the one asked for when older bytes were rotated away.
    pub offset: u64,
    /// The bytes; empty when there are none yet.
    pub bytes: Vec<u8>,
    /// The task has ended and nothing follows these bytes.
    pub complete: bool,
}

impl LogChunk {
    /// The position to go on from.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Told which attempt to look at. It is called from a thread of the runtime and must not block; it may be
/// told the same again, and about attempts that did not change.
pub type ChangeListener = Box<dyn Fn(AttemptId) + Send>;

/// Runs tasks. Every call may block for a few milliseconds on the file system.
pub trait Runtime: Send + Sync + 'static {
    /// What it can enforce on this node, and why not what it cannot.
    fn capabilities(&self) -> Vec<Capability>;

    /// Starts an attempt that was not started before; of one that was, nothing is done.
    /// A command that cannot be executed is no error here: the attempt ends with that reason.
    ///
    /// # Errors
    /// When this node is in trouble: nothing was started then, and to try again is safe.
    fn launch(&self, launch: &Launch) -> Result<(), LaunchError>;

    /// Starts several, each as [`Runtime::launch`] would, and answers in their order: what waking others costs is paid
    /// once for all of them.
    fn launch_all(&self, launches: &[Launch]) -> Vec<Result<(), LaunchError>> {
        launches.iter().map(|launch| self.launch(launch)).collect()
    }

    /// Ends an attempt: SIGTERM to its process group, after the grace SIGKILL to all of it. Asked again with
    /// a shorter grace, it shortens it. One that has ended stays as it is.
    ///
    /// # Errors
    /// When the attempt is not here, or cannot be told.
    fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError>;

    /// Gives an attempt that may run only under a lease the one that its agent received: it starts, or goes on. What has
    /// ended or needs none is left as it is.
    ///
    /// # Errors
    /// When the attempt is not here, or cannot be told.
    fn renew_lease(&self, attempt: &AttemptId, lease: Lease) -> Result<(), StopError>;

    /// What the machine's boot clock shows, which goes on while the machine is suspended: leases count by it.
    fn boot_clock_ms(&self) -> u64;

    /// What an attempt does; nothing when it is not here.
    ///
    /// # Errors
    /// When a record of it is damaged or cannot be read.
    fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError>;

    /// Every attempt that was not forgotten, those of an earlier agent and an earlier boot too.
    ///
    /// # Errors
    /// When a record is damaged or cannot be read.
    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError>;

    /// Drops an attempt that has ended. Its output stays for a while, within bounds; its folder does not.
    /// One that is not here is forgotten.
    ///
    /// # Errors
    /// When it has not ended, or the file system refuses.
    fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError>;

    /// Reads at most `max_bytes` of a stream from `offset`.
    ///
    /// # Errors
    /// When neither the attempt nor its output is here, or the file system refuses.
    fn read_log(
        &self,
        attempt: &AttemptId,
        stream: LogStream,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogChunk, ObserveError>;

    /// Calls `listener` from now on, in place of an earlier one, soon after an attempt changed.
    /// Changes are told again until they were observed.
    fn subscribe(&self, listener: ChangeListener);
}
