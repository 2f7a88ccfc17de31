//! What an agent and the supervisor of a task tell each other: records in the attempt's folder.
//!
//! Each attempt has a folder and one supervisor process. The agent makes the folder and gives an [`Order`] to its
//! [`nursery`], which forks the supervisor; the supervisor publishes an [`Intent`] before it executes anything, a
//! [`Running`] record once the task runs and an [`Ended`] record when it is over. The agent asks for an end by a
//! [`Stop`] record. Nothing is synced to disk: the folder of an attempt belongs to one boot of the machine, and a
//! new boot id covers what a power loss took.
//!
//! ```text
//! agent      order ─► nursery        ┌─ answer       stop ─► control pipe
//! supervisor             └─ (fork) ─► intent ─► running ──────────────────► exit ─► nudge socket
//! ```
//!
//! The library is std only, so that every runtime can use the same records, [`lease`] and [`ending`] decisions and
//! log segments. It leaves running a process to the binary of this crate, and what an attempt means to the cell
//! to the agent.

pub mod cgroup;
mod checksum;
pub mod ending;
mod folder;
pub mod lease;
mod ledger;
pub mod logs;
pub mod nursery;
mod process;
mod record;

pub use folder::{
    FAILURE_NOTE, LOG_FOLDER, NUDGE_SOCKET, NUDGE_SOCKET_FROM_ATTEMPT, Record, WORK_FOLDER, publish, read,
    replace,
};
pub use ledger::Ledger;
pub use process::{ProcessIdentity, ProcessStat, boot_id, is_gone};
pub use record::ended::{Cause, Ended, Outcome};
pub use record::intent::Intent;
pub use record::lease::Lease;
pub use record::order::{CpuShare, KeptGroups, LogLimits, MemoryLimit, Order, UserIds};
pub use record::running::Running;
pub use record::stop::Stop;
pub use record::text::{Damage, RecordError};

/// Decoders are held to what they may allocate.
#[cfg(test)]
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
