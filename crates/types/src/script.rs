//! What a simulated attempt does, as values: the words that a job's `simulate` block and a runtime share.
//!
//! Which attempt gets which script is decided in `rules`; playing it is the business of a runtime.

use crate::state::ExitStatus;

/// Everything that one attempt pretends. It is over after `runs_ms` unless something ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// How long it runs when it is left alone.
    pub runs_ms: u64,
    /// How it ends then.
    pub end: ScriptEnd,
    /// What SIGTERM does to it.
    pub on_stop: OnStop,
    /// How often its launch fails before it succeeds, as if the node were in trouble.
    pub launch_faults: u32,
    /// Standard output that it writes while it runs.
    pub output_bytes_per_second: u64,
}

/// How a simulated attempt ends when it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// By itself, or by a signal that nobody of the cell sent.
    Exit(ExitStatus),
    /// The kernel ends it for memory.
    OutOfMemory,
}

/// What SIGTERM does to a simulated attempt. SIGKILL ends every one at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// It is gone after this many milliseconds, if the grace is as long.
    EndsAfter(u64),
    /// Nothing: it goes on until the grace is over.
    Ignores,
}
