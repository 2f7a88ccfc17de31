//! Says what was turned away, without letting a flood of strangers or one mad client fill the log.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line of a kind in this time; what was left out is counted on the next.
const PAUSE: Duration = Duration::from_secs(1);

/// One throttle per kind, so that a flood of one does not hide the others.
#[derive(Default)]
pub(super) struct Complaints {
    handshakes: Throttle,
    places: Throttle,
    shares: Throttle,
    accepts: Throttle,
    calls: Throttle,
    bytes: Throttle,
}

impl Complaints {
    /// A handshake failed: a stranger, or one of ours with the wrong certificate.
    pub(super) fn handshake(&self, remote: SocketAddr, error: &io::Error) {
        if let Some(unsaid) = self.handshakes.may_speak(Instant::now()) {
            tracing::warn!(%remote, %error, unsaid, "connection refused");
        }
    }

    /// There are as many connections as we take.
    pub(super) fn too_many(&self, remote: SocketAddr, limit: usize) {
        if let Some(unsaid) = self.places.may_speak(Instant::now()) {
            tracing::warn!(%remote, limit, unsaid, "connection closed: too many are open");
        }
    }

    /// One peer has as many connections as one peer may have.
    pub(super) fn too_many_of_one(&self, principal: &str, limit: usize) {
        if let Some(unsaid) = self.shares.may_speak(Instant::now()) {
            tracing::warn!(peer = principal, limit, unsaid, "connection closed: too many of one peer");
        }
    }

    /// A call met a bound on the bytes of requests.
    pub(super) fn too_much(&self, path: &str, why: &str) {
        if let Some(unsaid) = self.bytes.may_speak(Instant::now()) {
            tracing::warn!(path, why, unsaid, "call refused");
        }
    }

    /// No connection could be accepted.
    pub(super) fn accept(&self, error: &io::Error) {
        if let Some(unsaid) = self.accepts.may_speak(Instant::now()) {
            tracing::warn!(%error, unsaid, "accept failed");
        }
    }

    /// A known peer asked for what its role may not have.
    pub(super) fn call(&self, principal: &str, path: &str) {
        if let Some(unsaid) = self.calls.may_speak(Instant::now()) {
            tracing::warn!(peer = principal, path, unsaid, "call refused");
        }
    }
}

#[derive(Default)]
struct Throttle(Mutex<Spoken>);

#[derive(Default)]
struct Spoken {
    last: Option<Instant>,
    unsaid: u64,
}

impl Throttle {
    /// How many lines were left out since the last, if it is time for another.
    fn may_speak(&self, now: Instant) -> Option<u64> {
        let mut spoken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spoken.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            spoken.unsaid += 1;
            return None;
        }
        spoken.last = Some(now);
        Some(std::mem::take(&mut spoken.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_second_with_a_count() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.may_speak(start), Some(0));
        assert_eq!(throttle.may_speak(start), None);
        assert_eq!(throttle.may_speak(start + PAUSE / 2), None);
        assert_eq!(throttle.may_speak(start + PAUSE), Some(2));
    }
}
