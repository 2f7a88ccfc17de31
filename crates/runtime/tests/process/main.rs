//! The process runtime with real processes: what it promises an agent, held against the machine.
//!
//! What this machine or user does not permit is skipped, and said on standard error.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking, in its fixtures too")]

mod ends;
mod leases;
mod limits;
mod node;
mod outlives;
mod refused;
mod supervising;
mod surroundings;
