//! Virtual time: milliseconds since the simulation began, and the wall clock that processes see.
//!
//! The driver moves it, one tick at a time. The binary answers the operating system's clocks from here, so that a
//! `SystemTime` or an `Instant` in production code is as virtual as tokio's. It leaves timers to tokio and turmoil.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where the wall clock of every host begins: the first second of 2026.
pub const WALL_START_UNIX_S: u64 = 1_767_225_600;

/// ORDERING: relaxed; there is one thread.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// Virtual time since the beginning.
#[must_use]
pub fn now_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// Moves time; it never goes back.
pub fn set_now(now: Duration) {
    NOW_MS.fetch_max(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// As a person reads it: seconds and milliseconds.
#[must_use]
pub fn shown(ms: u64) -> String {
    format!("{:4}.{:03}", ms / 1_000, ms % 1_000)
}
