//! The whole cell on one thread from a seed: production masters, shards, agents and clients over a simulated network,
//! with virtual time.
//!
//! ```text
//! seed ─► plan (shape, scripts, faults) ─► cell: safety phase ─► heal ─► audit: liveness, checks; judge all along
//!                                            │ tick by tick
//!                                            ▼
//!            world: turmoil hosts ─► hosts: production run functions ─► net · medium · machine · clock
//! ```
//!
//! It leaves the meaning of everything to production code and the rules of histories to `verify`. What a process would
//! take from the operating system (clocks, randomness, threads) is answered by the binary, and by it alone.

#[cfg(not(tokio_unstable))]
compile_error!("the simulation needs `--cfg tokio_unstable`: without it tokio's scheduler has no seed");

pub mod audit;
pub mod cell;
pub mod checks;
pub mod clock;
pub mod consensus;
pub mod disk;
pub mod draw;
pub mod hosts;
pub mod judge;
pub mod keys;
pub mod ledger;
pub mod links;
pub mod machine;
pub mod medium;
pub mod net;
pub mod observer;
pub mod plan;
pub mod plants;
pub mod points;
pub mod power;
pub mod shape;
pub mod trace;
pub mod watcher;
pub mod workload;
pub mod world;
