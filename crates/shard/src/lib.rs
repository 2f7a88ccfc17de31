//! The shard role: the sockets, clock and tasks around [`paceline_link::ShardLogic`].
//!
//! ```text
//! agents ══ service ══► ┌───────┐ ──► ShardLogic ──► actions ──► agents' and leader's outboxes
//! leader ══ leader  ══► │ owner │
//! timer ──────────────► └───────┘  one task, one closed Event enum
//! output of tasks: agents ══► logs ══► every master, on streams of its own
//! ```
//!
//! It decides nothing: who may speak for which node, what goes where and when a stream ends is the logic's business;
//! bytes are `api`'s, TLS and the role table `identity`'s. A shard has no data folder: killing it loses no fact (A-6).

mod backoff;
mod config;
mod connection;
mod intake;
mod leader;
mod logs;
mod masters;
mod owner;
mod run;
mod service;
mod turns;

pub use config::{MasterAddress, ShardConfig};
pub use paceline_link::ShardLimits;
pub use run::{ShardError, run};
