//! What a shard is started with.

use std::sync::Arc;

use paceline_identity::Credentials;
use paceline_link::ShardLimits;
use paceline_types::ShardName;

/// Where a master serves its API, `host:port`.
pub type MasterAddress = String;

/// What a shard is started with; it stores nothing.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its name, as in its certificate.
    pub name: ShardName,
    /// The cell, for the log.
    pub cell: String,
    /// Where agents reach it, `host:port`; the listener's own address when it is not said.
    pub address: Option<String>,
    /// API addresses of the masters to begin with, in any order; the leader's hints are followed from there.
    pub masters: Vec<MasterAddress>,
    /// For the metric and the warning of days left; connections have their own through listener and connector.
    pub credentials: Option<Arc<Credentials>>,
    /// A port on loopback that says nothing but healthy or not, without certificates.
    pub health_port: Option<u16>,
    /// Bounds and intervals.
    pub limits: ShardLimits,
    /// Seeds the jitter of reconnection: different for each shard, fixed in simulation.
    pub seed: u64,
}
