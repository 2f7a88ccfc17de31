//! The processes of the cell as turmoil hosts: each role's production run function, given simulated surroundings.
//!
//! A seat is what outlives a process: its disk, its identity, its machine's tasks. A life is one run of it. Ports are the
//! same on every host, since each has an address of its own.

mod agent;
mod clock;
mod master;
mod shard;

use std::sync::Arc;

use paceline_identity::PeerIdentity;
use parking_lot::Mutex;

use crate::net::Party;
use crate::power::Power;
use crate::trace::Trace;

pub use agent::{AgentSeat, AgentStorage};
pub use clock::HostClock;
pub use master::MasterSeat;
pub use shard::ShardSeat;

/// Where masters serve clients, shards and agents.
pub const API_PORT: u16 = 7_100;
/// Where masters serve masters.
pub const PEER_PORT: u16 = 7_200;
/// Where shards serve agents.
pub const SHARD_PORT: u16 = 7_300;
/// Where agents serve health and metrics.
pub const AGENT_PORT: u16 = 7_400;

/// The address of a port of a host.
#[must_use]
pub fn address(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

/// The lives of a process: which one it is in, and its power.
#[derive(Debug, Clone)]
pub struct Lives {
    name: Arc<str>,
    power: Arc<Mutex<Power>>,
    ended: Arc<Mutex<Option<String>>>,
    clock: HostClock,
    trace: Trace,
}

impl Lives {
    /// Before the first.
    #[must_use]
    pub fn new(name: &str, trace: Trace) -> Self {
        let (power, ended, clock) = Default::default();
        Self { name: name.into(), power, ended, clock, trace }
    }

    /// The next life begins.
    fn begin(&self, identity: PeerIdentity) -> Party {
        let power = Power::default();
        *self.power.lock() = power.clone();
        *self.ended.lock() = None;
        self.clock.begin(&self.name);
        self.trace.event(&self.name, "starts");
        Party { identity, power, trace: self.trace.clone() }
    }

    /// This life ended by itself.
    fn end(&self, how: &str) {
        self.trace.event(&self.name, format_args!("ended: {how}"));
        *self.ended.lock() = Some(how.to_owned());
    }

    /// Its clocks.
    #[must_use]
    pub const fn clock(&self) -> &HostClock {
        &self.clock
    }

    /// The power of the present life.
    #[must_use]
    pub fn power(&self) -> Power {
        self.power.lock().clone()
    }

    /// How the present life ended by itself, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.ended.lock().clone()
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
