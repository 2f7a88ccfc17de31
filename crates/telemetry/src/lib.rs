//! What a process says about itself: log lines, metrics, health.
//!
//! The metrics of every role stand in one table, so that a dashboard can be held against it; roles get
//! typed handles and never name a metric. Health is a set of named checks, each passing or failing with a
//! reason, set by the role that knows.
//!
//! What it leaves to others: where the routes are mounted and who may call them (`identity`'s listener and
//! access table), and what the numbers and checks mean (the roles).

mod grpc;
mod health;
mod loopback;
mod metrics;
mod quiet;
mod routes;
mod tracing_setup;

pub use grpc::{ReflectionError, Serving, grpc_routes};
pub use health::{Check, Health, HealthReport, Probe};
pub use loopback::serve_loopback_health;
pub use metrics::{
    AgentMetrics, ApiMetrics, AttemptState, CERTIFICATE_WARNING_DAYS, CallOutcome, CellMetrics, Counter,
    Definition, Direction, DiskMetrics, Gauge, Histogram, IdentityMetrics, Kind, LabelValue, Labelled,
    LinkMetrics, Metrics, ProposalOutcome, RaftMetrics, ScheduleMetrics, TABLE, certificate_ends_soon,
};
pub use routes::http_routes;
pub use tracing_setup::{InitTracingError, LogFormat, init_tracing};
