//! `at_most_one` from end to end without a clock, a network or a disk: the agent's table, simulated machines under the
//! supervisor's decision, shards, hubs, the scheduler and the cell, all of them production code, on clocks that differ.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking, in its world too")]

mod histories;
mod master;
mod node;
#[path = "../../../link/tests/loss/view.rs"]
mod view;
mod world;
