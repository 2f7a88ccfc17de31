//! Link-shard logic: events in, actions out, time as a parameter; no clock, socket, task or randomness.
//!
//! ```text
//! agent ══ stream ══► shard: ShardLogic ══ one stream ══► leader: Hub ──► proposals to the cell
//!   ▲                                                       │
//!   └────────────── orders, acknowledgements ◄──────────────┘  (what is assigned: trait Assigned)
//! ```
//!
//! [`shard`] is what a link shard decides and [`hub`] what the leader decides; the same code runs in the roles
//! and in simulation. Both are soft state: dropping either loses no fact (A-6), because agents keep a terminal
//! record until it is acknowledged and an acknowledgement is only ever minted here, in the hub, after the report
//! was applied from a committed entry. Bytes are the business of `api`, sockets that of the shells.

mod fence;
pub mod home;
pub mod hub;
pub mod message;
mod ranges;
pub mod shard;
mod weight;

pub use fence::fence_accepts;
pub use hub::{
    Assigned, BrakeEnd, BrakeStatus, Hub, HubAction, HubConfig, HubEvent, Known, LinkEnd, LinkId, Liveness,
    LossStatus, MassLoss, NodeCounts, NodeRecord, Notice, ReportProposal, Standing, WriteOff,
};
pub use shard::{AgentEnd, Claim, ConnectionId, LeaderEnd, ShardAction, ShardEvent, ShardLimits, ShardLogic};
pub use weight::{
    BATCH_BYTES_MAX, agent_message_bytes, master_message_bytes, report_bytes, shard_message_bytes,
};
