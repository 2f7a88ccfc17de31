//! Virtual nodes: drives a simulated machine by tokio's clock, which simulation may replace.
//!
//! It leaves what tasks pretend to do to `runtime`, and whether a cell may have virtual nodes to who starts agents.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use paceline_runtime::{ClockReading, SimulatedNode};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The clocks of a machine that was booted when this was made. Its wall clock never jumps.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    booted: Instant,
    booted_unix_ms: u64,
}

impl VirtualClock {
    /// Boots at this time of the wall clock. Needs tokio's clock, so call it in its runtime.
    #[must_use]
    pub fn boot(unix_ms: u64) -> Self {
        Self { booted: Instant::now(), booted_unix_ms: unix_ms }
    }

    /// What the clocks show.
    #[must_use]
    pub fn read(&self) -> ClockReading {
        let boot_ms = u64::try_from(self.booted.elapsed().as_millis()).unwrap_or(u64::MAX);
        ClockReading { boot_ms, unix_ms: self.booted_unix_ms.saturating_add(boot_ms) }
    }
}

/// Lets things happen on a machine when they are due, for as long as it is polled. The machine does not stand still
/// without it: what was due happens with the next call of its runtime, at the time at which it was due.
pub async fn drive(node: SimulatedNode, clock: impl Fn() -> ClockReading) -> Infallible {
    let sooner = Arc::new(Notify::new());
    let wake = Arc::clone(&sooner);
    node.wake_with(move || wake.notify_one());
    loop {
        let now = clock();
        node.advance(now);
        match node.next_due_ms() {
            None => sooner.notified().await,
            Some(due_ms) => {
                tokio::select! {
                    () = sleep(Duration::from_millis(due_ms.saturating_sub(now.boot_ms))) => {}
                    () = sooner.notified() => {}
                }
            }
        }
    }
}
