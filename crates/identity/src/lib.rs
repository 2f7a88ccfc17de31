//! Who is on the other end of a connection, and what they may call.
//!
//! Every port of a cell speaks mutual TLS 1.3 and nothing else (invariant A-14). This crate owns the
//! certificate authorities, the certificates and their one `spiffe://CELL/ROLE/NAME` name, the handshake,
//! the table that says which role may call which path, and the server loop that applies it before any
//! handler runs. A handler sees a [`PeerIdentity`] in its request's extensions and nothing of TLS.
//!
//! What it leaves to others: which service is mounted where (the roles), what a caller may do *inside* a
//! call (an agent speaks for its own node only: the services), metrics (`telemetry`), and the binding of a
//! master's name to its Raft id and disk (`replica`).
//!
//! ```text
//!   Listener ─► Pending (handshake) ─► PeerStream ─► serve: allowed(role, path)? ─► router ─► handler
//!   handler's client ◄── tonic Channel ◄── channel(connector, address, expect) ◄── Connector
//! ```
//!
//! [`Listener`] and [`Connector`] are traits so that a simulation can hand out streams with injected
//! identities; [`TlsListener`] and [`TlsConnector`] are the only ones that production uses.

mod access;
mod authority;
mod channel;
mod connector;
mod credentials;
mod error;
mod files;
mod listener;
mod name;
mod peer;
mod per_caller;
mod refusal;
mod role;
mod serve;
mod stream;
mod tls;
mod trust;

pub use access::{RULES, Requests, Rule, allowed, roles_for, rule_of};
pub use authority::{Authority, CERTIFICATE_LIFE, IssuedCredentials, Validity};
pub use channel::channel;
pub use connector::{Connector, Expect};
pub use credentials::Credentials;
pub use error::IdentityError;
pub use listener::{BoxFuture, Listener, Pending};
pub use peer::PeerIdentity;
pub use per_caller::{Full, PerCaller, Share};
pub use refusal::{PeerRefusal, Presented};
pub use role::{ParseRoleError, Role};
pub use serve::{RETRY_AFTER_MS_HEADER, ServeError, grpc, serve};
pub use stream::PeerStream;
pub use tls::{TlsConnector, TlsListener};

/// Decoders are held to what they may allocate.
#[cfg(test)]
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
