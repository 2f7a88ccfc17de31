//! What must hold once a cell is whole again, one check per file. Each looks at what an outsider can see, at what
//! clients were told and at what machines really ran, and returns what is wrong in words.
//!
//! Checks that can look at every tick report to the trace as they go: `launched-once` where tasks are launched,
//! `replicas-agree` wherever a master says its digest.

mod acknowledged;
mod cell_state;
mod due_tasks;
mod launches;

use paceline_cell::Cell;
use paceline_client::v1;

use crate::launched::Launched;
use crate::ledger::Ledger;

pub use acknowledged::acknowledged;
pub use cell_state::cell_state;
pub use due_tasks::due_tasks;
pub use launches::launches;

/// What an outsider sees of a cell that has come to rest.
#[derive(Debug, Default)]
pub struct Sight {
    /// Every job, finished ones too, with its tasks.
    pub jobs: Vec<(v1::JobStatus, Vec<v1::Task>)>,
    /// The state of each master, by name, as its snapshot restores it.
    pub states: Vec<(String, Cell)>,
}

/// A check, by name.
pub type Check = fn(&Sight, &Ledger, &Launched) -> Vec<String>;

/// All checks of a cell at rest.
pub const AT_REST: [(&str, Check); 4] = [
    ("acknowledged", acknowledged),
    ("due-tasks", due_tasks),
    ("launches", launches),
    ("cell-state", cell_state),
];

/// Revision and ordinal of a job's submission.
fn uid_of(job: &v1::JobStatus) -> Option<(u64, u32)> {
    job.uid.as_ref().map(|uid| (uid.revision, uid.ordinal))
}
