//! What the cell does with the jobs of one name, as its clients can see it.
//!
//! ```text
//! oldest                              newest
//! [ended, retired] [ended, retired] │ [ended] [active | stopping | ended]
//!          history                  │            the cell
//! ```
//!
//! At most the newest is live. To submit the specification of an active job finds that job; any other submission is
//! refused while one is live. A stop names the newest; a deletion takes the newest of the cell and leaves the older
//! ones; what has retired is found and never deleted. Jobs end, retire and leave the history by themselves, so a job
//! carries all the states that it can be in ([`Phases`]), narrowed by every answer.
//!
//! A job from a submission that was never answered has no uid until an answer shows it. Selecting by uid then has two
//! readings, it or not it, and the second is not remembered: of what is possible nothing is excluded, of what is
//! impossible this much is let through.

mod answers;
mod phases;
mod stack;

use paceline_types::{JobState, JobUid};

pub use phases::Phases;
pub use stack::{Jobs, OneJob};

use super::Model;
use crate::history::Refused;

/// What happens to ended jobs without any call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retirement {
    /// They stay in the cell.
    #[default]
    Never,
    /// They retire to the history, where they stay for longer than the run.
    Retire,
    /// They retire, and leave the history too.
    Forget,
}

/// What the cell does on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobModel {
    /// Jobs end by themselves, as soon as they are there. Where the harness knows that no task can end, `false` finds
    /// more.
    pub ends: bool,
    /// What happens to them then.
    pub retirement: Retirement,
}

impl Default for JobModel {
    fn default() -> Self {
        Self { ends: true, retirement: Retirement::Retire }
    }
}

/// Which job a call selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The newest of the name.
    Newest,
    /// This one.
    Uid(JobUid),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Submit a job.
    Submit {
        /// Equal for equal specifications.
        spec: u64,
    },
    /// Stop a job.
    Stop(Selector),
    /// Delete a job.
    Delete(Selector),
    /// Read a job.
    Get(Selector),
    /// Read all jobs of the name.
    List {
        /// Those of the history, too.
        retired: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The job is there.
    Submitted {
        /// Which.
        uid: JobUid,
        /// It was there before.
        existing: bool,
    },
    /// It stops or has ended.
    Stopping {
        /// Which.
        uid: JobUid,
        /// Where it is.
        state: JobState,
    },
    /// It is gone.
    Deleted {
        /// Which.
        uid: JobUid,
    },
    /// There it is.
    Seen {
        /// Which.
        uid: JobUid,
        /// Where it is.
        state: JobState,
    },
    /// All jobs of the name, oldest first.
    Listed(Vec<(JobUid, JobState)>),
    /// No, and it says something about the job.
    Refused(Refused),
}

impl Model for JobModel {
    type State = Jobs;
    type Input = Input;
    type Output = Output;

    fn initial(&self) -> Jobs {
        Jobs::default()
    }

    fn step(&self, state: &Jobs, input: &Input, output: Option<&Output>) -> Vec<Jobs> {
        match (input, output) {
            (Input::Submit { spec }, output) => self.submit(state, *spec, output),
            (Input::Stop(which), output) => self.stop(state, *which, output),
            (Input::Delete(which), output) => self.delete(state, *which, output),
            (Input::Get(which), Some(output)) => self.get(state, *which, output),
            (Input::List { retired }, Some(Output::Listed(listed))) => self.list(state, *retired, listed),
            (Input::Get(_) | Input::List { .. }, _) => Vec::new(),
        }
    }

    fn show_call(&self, input: &Input, output: Option<&Output>) -> String {
        let which = |which: &Selector| match which {
            Selector::Newest => "the newest".to_owned(),
            Selector::Uid(uid) => uid.to_string(),
        };
        let asked = match input {
            Input::Submit { spec } => format!("submit spec {spec:x}"),
            Input::Stop(selector) => format!("stop {}", which(selector)),
            Input::Delete(selector) => format!("delete {}", which(selector)),
            Input::Get(selector) => format!("get {}", which(selector)),
            Input::List { retired: true } => "list, retired too".to_owned(),
            Input::List { retired: false } => "list".to_owned(),
        };
        format!("{asked} → {}", output.map_or_else(|| "no answer".to_owned(), show_output))
    }

    fn show_state(&self, state: &Jobs) -> String {
        state.to_string()
    }
}

fn show_output(output: &Output) -> String {
    match output {
        Output::Submitted { uid, existing: true } => format!("{uid} was there"),
        Output::Submitted { uid, existing: false } => format!("{uid} is new"),
        Output::Stopping { uid, state } | Output::Seen { uid, state } => format!("{uid} is {state}"),
        Output::Deleted { uid } => format!("{uid} is gone"),
        Output::Listed(jobs) if jobs.is_empty() => "none".to_owned(),
        Output::Listed(jobs) => {
            let jobs: Vec<_> = jobs.iter().map(|(uid, state)| format!("{uid} {state}")).collect();
            jobs.join(", ")
        }
        Output::Refused(why) => format!("refused: {}", why.as_str()),
    }
}
