//! What a client is to do: values only.

use std::hash::{DefaultHasher, Hash, Hasher};

use paceline_rules::{Failures, JobSpec, PERMILLE, RunsMs, Simulate};
use paceline_types::{OnStop, Resources};

/// Memory that each task asks for.
const TASK_MEMORY_BYTES: u64 = 1 << 20;

/// A job of equal tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many tasks.
    pub tasks: u32,
    /// What each asks for.
    pub cpu_milli: u64,
    /// How long each lasts at least.
    pub task_ms: u64,
    /// How much longer it may last.
    pub more_ms: u64,
    /// With which code each exits.
    pub exit: u8,
    /// How long a stopped task takes to end; nothing: until its grace is over.
    pub stop_ms: Option<u64>,
    /// After so long on a node that is not heard they run elsewhere.
    pub replace_after_ms: u64,
}

impl Wanted {
    /// What is submitted.
    #[must_use]
    pub fn spec(&self) -> JobSpec {
        let need = Resources::new(self.cpu_milli, TASK_MEMORY_BYTES);
        let failures = Failures { permille: PERMILLE, exit_code: u32::from(self.exit) };
        let simulate = Simulate {
            runs: RunsMs { from: self.task_ms, to: self.task_ms + self.more_ms },
            failures: (self.exit != 0).then_some(failures),
            on_stop: self.stop_ms.map_or(OnStop::Ignores, OnStop::EndsAfter),
            ..Simulate::lasting(self.task_ms)
        };
        let mut spec = JobSpec::batch(&self.name, self.tasks, &["/bin/task"], need);
        spec.simulate = Some(simulate);
        spec.replace_after_ms = Some(self.replace_after_ms);
        spec
    }

    /// Equal for equal specifications, and for no others.
    #[must_use]
    pub fn hash_of_spec(&self) -> u64 {
        // The keys of this hasher are constants.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A call of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Submits a job.
    Submit(Wanted),
    /// Submits an earlier job of the script once more, word for word.
    Again {
        /// Its name.
        name: String,
    },
    /// Repeats the first call of the script under its request id, long after it was answered: as a process that was paused
    /// in the middle of it would.
    RetryFirst,
    /// Stops a job.
    Stop {
        /// Its name.
        name: String,
    },
    /// Deletes a job.
    Delete {
        /// Its name.
        name: String,
    },
    /// Reads one job.
    Get {
        /// Its name.
        name: String,
        /// Whatever any master knows of it will do.
        stale: bool,
    },
    /// Reads all jobs.
    List {
        /// Those that have retired, too.
        retired: bool,
    },
    /// Reads the status of the cell from any master, digest and all.
    Status,
    /// Asks the leader to hand over.
    Transfer,
    /// Ends the brake.
    ReleaseBrake,
    /// Bounds how many jobs the cell holds, so that finished ones retire early.
    Bound {
        /// So many.
        jobs: u64,
    },
}

/// What one client does when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Calls, each not before its time in milliseconds.
    pub calls: Vec<(u64, Call)>,
}

impl Script {
    /// The job of this name, as it is first submitted.
    #[must_use]
    pub fn wanted(&self, name: &str) -> Option<&Wanted> {
        self.calls.iter().find_map(|(_, call)| match call {
            Call::Submit(wanted) if wanted.name == name => Some(wanted),
            _ => None,
        })
    }

    /// The job that the first change of the script submits, if that is what it does.
    #[must_use]
    pub fn first(&self) -> Option<&Wanted> {
        let changes = |call: &&Call| !matches!(call, Call::Get { .. } | Call::List { .. } | Call::Status);
        match self.calls.iter().map(|(_, call)| call).find(changes) {
            Some(Call::Submit(wanted)) => Some(wanted),
            _ => None,
        }
    }
}
