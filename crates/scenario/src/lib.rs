//! The one parser of job files, for `submit`, `plan` and `bench`.
//!
//! A job file is small YAML. [`read_job`] reports every fault of a file in one go, each with line, column, field
//! and what was expected; [`EXAMPLE`] is the commented file that `job init` prints. What a sound job may ask for is
//! decided in `rules`; this crate reads text and points at it.

mod duration;
mod example;
mod fault;
mod fields;
mod job_file;
mod simulate;
mod yaml;

pub use duration::{ParseDurationError, parse_duration_ms};
pub use example::EXAMPLE;
pub use fault::{Fault, Faults};
pub use fields::JOB_FIELDS;
pub use job_file::read_job;
