//! Talks to a cell: finds the leader, repeats what may be repeated, and never shows a failover within its deadline.
//!
//! A call is repeated with the same request id until it is answered or its deadline has passed (A-10), so the
//! caller sees one of four things and nothing of masters: an answer; a refusal; certainty that nothing was done;
//! or, when the deadline passed while the outcome was open, [`ClientError::Unknown`]. [`Class`] is all that a
//! caller's own loop has to look at.
//!
//! ```text
//!  jobs nodes shards cell ─► Client (deadline, freshness, route) ─► caller: try ─► judge ─► pause ─► try …
//!  watch logs snapshot ───►                                          │ masters: channels, who leads
//!                                                                    └ ids: sequence, window, floor
//! ```
//!
//! Randomness is a parameter ([`ClientId`]) and time is tokio's, so that simulation runs this same code.
//! Conversions belong to `api`, identities to `identity`, words for people to the CLI.

mod error;
mod folder;

mod backoff;
mod ids;
mod masters;
mod verdict;
mod wire;

mod caller;
mod client;

mod cell;
mod jobs;
mod members;
mod nodes;
mod shards;

mod resume;

mod logs;
mod snapshot;
mod watch;

pub use cell::Cell;
pub use client::{Client, WITHIN_DEFAULT};
pub use error::{Class, ClientError, OpenError};
pub use folder::{CellFolder, MasterEntry};
pub use ids::ClientId;
pub use jobs::{Jobs, LogsOf};
pub use logs::Logs;
pub use members::{MasterRef, Members};
pub use nodes::Nodes;
pub use paceline_api::{JobRef, v1};
pub use shards::Shards;
pub use snapshot::Snapshot;
pub use watch::{Watch, WatchItem};
