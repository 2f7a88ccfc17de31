//! The node agent: runs what its cell assigns to this node, and says what became of it.
//!
//! [`AgentTable`] decides, as a pure function; the rest carries it out. An agent converges what runs towards
//! what is assigned (A-5), obeys only the highest fence (A-8), keeps every end until its report was committed
//! (A-10), and lets its tasks go on whenever it cannot speak to anybody (A-7), or ends itself.
//!
//! ```text
//!                      ┌───────────────── agent: one owner task ─────────────────┐
//!  shard ◄── session ──┤ link ─► Event ─► table (pure) ─► Decision ─► folder     │
//!        ◄── logs ─────┤                     ▲                 │               │
//!                      │                     └── work ◄────────┘ ─► Runtime ────┼─► supervisors, tasks
//!                      └──────────────────────────────────────────────────────────┘
//! ```
//!
//! What it leaves to others: how a task runs and how its end is kept (`runtime`), which shard is home
//! (`link`), bytes on the wire (`api`), TLS (`identity`), and everything that needs more than one node (`cell`).

pub mod table;

mod agent;
mod config;
mod error;
mod facts;
mod folder;
mod jitter;
mod link;
mod logs;
mod process;
mod report_pace;
mod run;
mod simulated;
mod trouble;
mod work;

pub use config::{AgentConfig, Timings, Workers};
pub use error::AgentError;
pub use facts::{FactsError, capability_words, detect_capacity, random_instance_and_seed, read_boot_id};
pub use folder::{Folder, FolderError, Storage};
pub use process::{EndError, end_tasks, process_runtime};
pub use run::{run, run_with};
pub use simulated::{VirtualClock, drive};
pub use table::AgentTable;

pub use paceline_runtime::TaskUids;

/// Decoders are held to what they may allocate.
#[cfg(test)]
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
