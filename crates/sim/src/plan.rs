//! What happens to a cell: its shape, what its clients do, and which faults strike when. Everything follows from the seed.

mod calls;
mod canary;
mod faults;
mod smoke;
mod swarm;

use crate::draw::Draw;
use crate::shape::Shape;
use crate::workload::Script;

pub use faults::{Fault, Side, Target};

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

/// Families of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// One job, one killed leader.
    Smoke,
    /// Everything, in a mix of each seed's own.
    Swarm,
    /// A cell that must lose what it acknowledged: held is failed.
    Canary,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Swarm, Self::Canary];

    /// Its word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Swarm => "swarm",
            Self::Canary => "canary",
        }
    }

    /// The plan of a seed.
    #[must_use]
    pub fn plan(self, seed: u64) -> Plan {
        let draw = Draw::new(seed).part("plan");
        match self {
            Self::Smoke => smoke::plan(&draw),
            Self::Swarm => swarm::plan(&draw),
            Self::Canary => canary::plan(&draw),
        }
    }
}
