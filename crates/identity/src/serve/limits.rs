//! The bounds of the server loop, each with its reason.

use std::time::Duration;

/// Every bound of one server. Tests choose small ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) handshakes_at_once: usize,
    pub(super) handshake_deadline: Duration,
    pub(super) connections_at_once: usize,
    pub(super) farewell_deadline: Duration,
    pub(super) accept_pause: Duration,
    pub(super) accept_failures_max: u32,
}

impl Limits {
    pub(super) const PRODUCTION: Self = Self {
        handshakes_at_once: HANDSHAKES_AT_ONCE,
        handshake_deadline: HANDSHAKE_DEADLINE,
        connections_at_once: CONNECTIONS_AT_ONCE,
        farewell_deadline: FAREWELL_DEADLINE,
        accept_pause: ACCEPT_PAUSE,
        accept_failures_max: ACCEPT_FAILURES_MAX,
    };
}

/// Handshakes in progress. Each costs about a millisecond of a core, so more would only queue for it; the
/// kernel's backlog holds the rest.
const HANDSHAKES_AT_ONCE: usize = 256;
/// How long a handshake may take: far beyond any real round trip, short enough that a client which only
/// holds the door open is gone soon.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Open connections. One shard must be able to take all 25,000 agents of a cell when the others are gone.
const CONNECTIONS_AT_ONCE: usize = 32 * 1024;
/// How long calls in progress may take to end after the shutdown has begun.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (mostly: out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts in a row after which the listener is taken for broken: ten seconds of nothing but errors.
const ACCEPT_FAILURES_MAX: u32 = 100;
