//! Virtual time: milliseconds since the simulation began, and the wall clock that processes see.
//!
//! The driver moves it, one tick at a time. The binary answers the operating system's clocks from here, so that a
//! `SystemTime` or an `Instant` in production code is as virtual as tokio's. It leaves timers to tokio and turmoil.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, Id};

/// Where the wall clock of every host begins: the first second of 2026.
pub const WALL_START_UNIX_S: u64 = 1_767_225_600;

/// ORDERING: relaxed; there is one thread.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What the clocks of hosts show besides virtual time, by the runtime of their present life.
    static SKEWS: RefCell<BTreeMap<String, (Id, Skew)>> = const { RefCell::new(BTreeMap::new()) };
}

/// How the clocks of a host differ from virtual time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew {
    /// Both clocks are ahead by so much: it was paused, or its clock runs fast. Never falls within a life.
    pub ahead_ms: u64,
    /// The wall clock was set by somebody: it is off by so much more.
    pub wall_ms: i64,
}

/// The clocks of a host, whose present life runs on the current runtime, differ so from now on.
pub fn skew(host: &str, skew: Skew) {
    let here = Handle::current().id();
    SKEWS.with_borrow_mut(|skews| skews.insert(host.to_owned(), (here, skew)));
}

/// How the clocks of whoever asks differ from virtual time.
#[must_use]
pub fn skew_here() -> Skew {
    let Ok(here) = Handle::try_current().map(|handle| handle.id()) else { return Skew::default() };
    let of = |skews: &RefCell<BTreeMap<String, (Id, Skew)>>| {
        let skews = skews.try_borrow().ok()?;
        skews.values().find(|(id, _)| *id == here).map(|(_, skew)| *skew)
    };
    SKEWS.try_with(of).ok().flatten().unwrap_or_default()
}

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
