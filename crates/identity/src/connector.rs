//! How a process dials another: the trait, and whom it expects to find there.

use std::fmt;
use std::io;

use crate::listener::BoxFuture;
use crate::peer::PeerIdentity;
use crate::role::Role;
use crate::stream::PeerStream;

/// Whom a dialled address must turn out to be. The cell is always our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The role that must answer.
    pub role: Role,
    /// The name that must answer, where one is known.
    pub name: Option<String>,
}

impl Expect {
    /// Any peer of a role.
    pub const fn any(role: Role) -> Self {
        Self { role, name: None }
    }

    /// One peer by name.
    pub fn named(role: Role, name: impl Into<String>) -> Self {
        Self { role, name: Some(name.into()) }
    }

    /// Whether the peer is whom we expect. The cell has been checked before.
    pub fn matches(&self, peer: &PeerIdentity) -> bool {
        self.role == peer.role && self.name.as_ref().is_none_or(|name| *name == peer.name)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.role),
            None => write!(f, "any {}", self.role),
        }
    }
}

/// Opens authenticated streams. Simulation hands out its own.
pub trait Connector: Send + Sync + 'static {
    /// Dials `HOST:PORT` and returns a stream whose peer is proved to be `expect` of our cell.
    fn connect(&self, address: &str, expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>>;

    /// Who we are to those whom we dial; nothing where no certificate is shown, as in a simulation.
    fn presents(&self) -> Option<PeerIdentity> {
        None
    }
}
