//! What a job asks for, and which node may run it.
//!
//! `spec` is the specification as it is stored and shown; `validate` finds every fault of one at once;
//! `simulate` says what attempts of a job that only pretends to run do; `predicate` holds the one reference function of each placement rule. Placement's bitmaps are built
//! from these functions, and apply, `why` and `plan` call them; nobody decides feasibility anywhere else.
//! Parsing of job files belongs to `scenario`, encoding to `cell` (storage) and `api` (wire).

mod limits;
mod predicate;
mod simulate;
mod spec;
mod validate;

pub use limits::Limits;
pub use predicate::{NodeTerms, feasible, fits, matches_constraints, simulates_alike, tolerates};
pub use simulate::{Failures, Kills, LaunchFaults, PERMILLE, RunsMs, SIMULATED, Simulate};
pub use spec::{
    Constraint, GRACE_MS_DEFAULT, JobKind, JobSpec, Labels, Operator, Override, REPLACE_AFTER_MS_DEFAULT,
    Taint, TaskSpec, Toleration,
};
pub use validate::{FAULTS_MAX, Violation, validate_job, validate_labels, validate_taint};
