//! The bounds of the server loop, each with its reason.

use std::time::Duration;

/// Every bound of one server. Tests choose small ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) handshakes_at_once: usize,
    pub(super) handshake_deadline: Duration,
    pub(super) handshake_grace: Duration,
    pub(super) connections_at_once: usize,
    pub(super) connections_per_principal: usize,
    pub(super) first_call_deadline: Duration,
    pub(super) request_deadline: Duration,
    pub(super) request_bytes_per_principal: usize,
    pub(super) request_bytes_at_once: usize,
    pub(super) farewell_deadline: Duration,
    pub(super) accept_pause: Duration,
    pub(super) accept_failures_max: u32,
}

impl Limits {
    pub(super) const PRODUCTION: Self = Self {
        handshakes_at_once: HANDSHAKES_AT_ONCE,
        handshake_deadline: HANDSHAKE_DEADLINE,
        handshake_grace: HANDSHAKE_GRACE,
        connections_at_once: CONNECTIONS_AT_ONCE,
        connections_per_principal: CONNECTIONS_PER_PRINCIPAL,
        first_call_deadline: FIRST_CALL_DEADLINE,
        request_deadline: REQUEST_DEADLINE,
        request_bytes_per_principal: REQUEST_BYTES_PER_PRINCIPAL,
        request_bytes_at_once: REQUEST_BYTES_AT_ONCE,
        farewell_deadline: FAREWELL_DEADLINE,
        accept_pause: ACCEPT_PAUSE,
        accept_failures_max: ACCEPT_FAILURES_MAX,
    };
}

/// Handshakes in progress. Each costs about a millisecond of a core, so that all of them together end well
/// within the grace; the kernel's backlog holds the rest.
const HANDSHAKES_AT_ONCE: usize = 1024;
/// How long a handshake may take: far beyond any real round trip, short enough that a client which only
/// holds the door open is gone soon.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long it may take while others wait for its place: strangers who stall then make room at five times the
/// rate, and nobody honest needs as long.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(2);
/// Open connections. One shard must be able to take all 25,000 agents of a cell when the others are gone.
const CONNECTIONS_AT_ONCE: usize = 32 * 1024;
/// Open connections of one certificate's name, so that one client cannot take all places. A process of ours
/// needs a handful; the rest is for a person's scripts. A group of agents speaks for thousands of nodes over
/// one certificate, so it is held by the bound of all connections only.
const CONNECTIONS_PER_PRINCIPAL: usize = 1024;
/// How long a connection may stay open before its first call: as long as a quiet HTTP/1.1 client is kept. It
/// frees what broke off after the handshake, which no keepalive probes yet.
const FIRST_CALL_DEADLINE: Duration = Duration::from_secs(75);
/// How long the request of a call may take to be whole, streams aside: the largest, of 4 MiB, needs 4 Mbit/s for it.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of one certificate's requests that are on their way: eight of the largest, or two thousand small ones at the
/// least that each counts. It is more than one caller may have on its way into the log.
const REQUEST_BYTES_PER_PRINCIPAL: usize = 32 << 20;
/// Bytes of all requests on their way, which a master and its neighbours on a machine can spare.
const REQUEST_BYTES_AT_ONCE: usize = 256 << 20;
/// How long calls in progress may take to end after the shutdown has begun.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (mostly: out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts in a row after which the listener is taken for broken: ten seconds of nothing but errors.
const ACCEPT_FAILURES_MAX: u32 = 100;
