//! Consensus alone from a seed: 3 to 7 production replicas on faulty disks over a simulated network, and checkers.
//!
//! Log, chain, group commit, votes, snapshots, purge, membership, peer handlers, gRPC and HTTP/2 are what production
//! runs; only the state machine is a toy, a register map whose entries say who wrote them. A seed samples its own
//! cluster and its own mix of faults, runs them for a while, heals everything, and then the cell must serve again.
//!
//! ```text
//!   plan (from the seed) ─► world: one tick at a time
//!        │                    ├─ hosts: production replicas, told what to do through an inbox
//!        │                    ├─ faults: crashes, cuts, disks, links, membership, leadership
//!        └─► checks: after every tick and as each entry is applied; at the end all must agree
//! ```

mod calls;
mod checks;
mod connections;
mod ending;
mod faults;
mod graphs;
mod host;
mod ledger;
mod lives;
mod machine;
mod membership;
mod plan;
mod world;

pub use graphs::{Graph, MASTERS, run as run_graph};
pub use plan::Plan;

use crate::plants::Switch;
use crate::trace::Trace;

/// Runs one seed, with a bug planted if one is given. What is wrong stands in the trace.
///
/// # Errors
/// The simulation itself failed.
pub fn run(seed: u64, switch: Option<Switch>, trace: &Trace) -> anyhow::Result<()> {
    let plan = Plan::of(seed, switch);
    trace.event("plan", format_args!("seed {seed}: {plan}"));
    let ran = world::World::new(plan, trace.clone()).run();
    ran.map_err(|error| anyhow::anyhow!("turmoil gave up: {error}"))
}
