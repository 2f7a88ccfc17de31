//! How a task runs on a node, behind one trait: [`Runtime`]. [`ProcessRuntime`] runs it as a process,
//! [`SimulatedRuntime`] pretends to on a [`SimulatedNode`].
//!
//! A runtime starts attempts, ends them and says what became of them. It never decides that something
//! should run, never restarts anything and never forgets an end before it is told to: that is the agent's,
//! which may itself be killed and come back at any time.
//!
//! ```text
//! agent ── launch, stop, observe, forget ──► ProcessRuntime ──► paceline-supervisor ──► task
//!   ▲                                            │                     │
//!   └────────── subscribe: "look at X" ──────────┴─── nudge, each second by itself
//! ```

mod errors;
mod process;
mod runtime;
mod simulated;

pub use errors::{LaunchError, ObserveError, OpenError, StopError};
pub use paceline_supervisor::Lease;
pub use paceline_supervisor::LogLimits;
pub use paceline_supervisor::logs::LogStream;
pub use process::{AllowedUsers, LogRetention, ProcessOptions, ProcessRuntime, TaskUids};
pub use runtime::{Capability, CapabilityCode, ChangeListener, Exit, Launch, LogChunk, Observed, Runtime};
pub use simulated::{ClockReading, Lived, Lives, SimulatedNode, SimulatedRuntime};
