//! What must hold once a cell is whole again and `judge` has no checker for: one check per file. Each looks at what an
//! outsider can see and at what clients asked for, and returns what is wrong in words.

mod cell_state;
mod due_tasks;

use paceline_cell::Cell;
use paceline_client::v1;

use crate::ledger::Ledger;

pub use cell_state::cell_state;
pub use due_tasks::due_tasks;

/// What an outsider sees of a cell that has come to rest.
#[derive(Debug, Default)]
pub struct Sight {
    /// Every job, finished ones too, with its tasks.
    pub jobs: Vec<(v1::JobStatus, Vec<v1::Task>)>,
    /// The revision of that listing.
    pub revision: u64,
    /// The state of each master, by name, as its snapshot restores it.
    pub states: Vec<(String, Cell)>,
}

/// A check, by name.
pub type Check = fn(&Sight, &Ledger) -> Vec<String>;

/// All checks of a cell at rest.
pub const AT_REST: [(&str, Check); 2] = [("due-tasks", due_tasks), ("cell-state", cell_state)];
