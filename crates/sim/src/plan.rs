//! What happens to a cell: its shape, what its clients do, and which faults strike when. Everything follows from the seed.

mod faults;
mod smoke;

use crate::draw::Draw;
use crate::shape::Shape;
use crate::workload::Script;

pub use faults::{Fault, Target};

/// A run from beginning to end.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the cell consists of.
    pub shape: Shape,
    /// What each client does.
    pub scripts: Vec<Script>,
    /// What strikes when, in milliseconds.
    pub faults: Vec<(u64, Fault)>,
    /// How long the safety phase lasts at least; it goes on until all clients are done.
    pub safety_ms: u64,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        smoke::plan(&Draw::new(seed).part("plan"))
    }
}
