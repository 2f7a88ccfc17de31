//! The scheduling pass: a view of the cell in, assignments to propose out.
//!
//! ```text
//! view ─► pending jobs, oldest first ─► need classes ─► best fit over free nodes ─► proposals
//!              ▲                                              │
//!              └── reservations: proposed, not yet in the view ◄┘
//! ```
//!
//! Pure: the leader, the simulation and `paceline plan` run this same code. It proposes only; the cell decides
//! (A-5). Feasibility is asked of `rules`, never decided here (A-4).

mod best_fit;
mod explain;
mod holds;
mod pass;
mod reservations;
mod round;
#[cfg(test)]
mod tests;

pub use explain::{Change, Obstacle, Waiting, explain_job};
pub use holds::Holds;
pub use pass::{PassLimits, Proposal, ProposalId, Scheduler};
