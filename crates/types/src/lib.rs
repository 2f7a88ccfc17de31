//! The words of a cell: ids, epochs, revisions, quantities, states and reasons, with their arithmetic.
//!
//! Pure values without behaviour of their own. What may happen to them is decided in `rules` and `cell`;
//! how they are encoded is the business of `cell` (storage) and `api` (wire).

mod attempt;
mod ids;
mod indices;
mod lease;
pub mod plant;
mod reason;
mod resources;
mod revision;
mod script;
mod state;

pub use attempt::{Attempt, AttemptId, FenceToken};
pub use ids::{
    AgentInstance, BootId, JobUid, LinkSession, NodeEpoch, NodeId, NodeName, ParseIdError, ShardId,
    ShardName, SpecVersion, TaskIndex, check_name,
};
pub use indices::{IndexRange, IndexSet, ParseIndexError};
pub use lease::{LEASE_ASK_EVERY_MS, LEASE_DRIFT_PERMILLE, LEASE_GRACE_MS_MAX, LEASE_MS, LEASE_WAIT_MS};
pub use reason::Reason;
pub use resources::{ParseQuantityError, ResourceKind, Resources, parse_cpu_milli, parse_memory_bytes};
pub use revision::{EventId, FeatureLevel, Generation, Revision, Term};
pub use script::{OnStop, Script, ScriptEnd};
pub use state::{ExitStatus, JobState, TaskState};
