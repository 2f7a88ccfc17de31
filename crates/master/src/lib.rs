//! The master role: the API, the apply side of the replica, and what only the leader does.
//!
//! ```text
//! api ─► proposer ─► replica ─► Machine: cell::apply ─► Published: view, events
//!  ▲                                                        │
//!  └── reads ◄──────────────────────────────────────────────┤
//!                    leader loop: hub, schedule, ticks ◄────┘ ─► proposals, orders
//! ```
//!
//! It decides nothing itself: the cell decides what is so, `schedule` what to propose, `link` what to say to shards.
//! This crate carries values between them and owns sockets and tasks. TLS is `identity`'s, disks are `store`'s.

mod api;
mod bootstrap;
mod certificates;
mod config;
mod history;
mod joining;
mod leader;
mod leaving;
mod machine;
mod own_entry;
mod pages;
mod proposer;
mod published;
mod reads;
mod refuse;
mod replies;
mod room;
mod run;
mod shares;
mod show;
mod witness;

pub use config::{Founder, LogBudget, MasterConfig};
pub use paceline_replica::{NO_RAFT_ID, REMOVED_FILE, Timings};
pub use run::{MasterError, MasterParts, Surroundings, run, run_in};
pub use witness::{Door, Witness, Witnessed};
