//! The clocks of one host. A simulated process cannot be stopped while others go on, but it can be made to see what a
//! stopped one sees: all at once it is later, and nothing of what happened meanwhile has arrived yet.
//!
//! ```text
//!   world   ──┬───────────── cut of all links, held ─────────────┬── everything arrives, both ways
//!   host      └ its clock jumps by as much; every timer is due    ┘
//! ```
//!
//! Nobody compares the monotonic clocks of two hosts, so for all that they can tell the process slept.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Skew, skew};

#[derive(Debug, Default)]
struct State {
    /// To jump by.
    due_ms: u64,
    skew: Skew,
}

/// The clocks of a host over all of its lives. Clones are the same clocks.
#[derive(Debug, Clone, Default)]
pub struct HostClock {
    state: Arc<Mutex<State>>,
    turned: Arc<Notify>,
}

impl HostClock {
    /// Both clocks go forward by so much at once.
    pub fn advance(&self, by_ms: u64) {
        self.state.lock().due_ms += by_ms;
        self.turned.notify_one();
    }

    /// Somebody sets the wall clock: it is off by so much from now on.
    pub fn set_wall(&self, off_by_ms: i64) {
        self.state.lock().skew.wall_ms = off_by_ms;
        self.turned.notify_one();
    }

    /// A life begins: its monotonic clock does too, and the wall clock stays as somebody set it.
    pub(super) fn begin(&self, host: &str) {
        let mut state = self.state.lock();
        (state.due_ms, state.skew.ahead_ms) = (0, 0);
        skew(host, state.skew);
        drop(state);
        tokio::spawn(self.clone().turn(host.to_owned()));
    }

    /// Turns the clocks of the current host for as long as its process lives.
    async fn turn(self, host: String) {
        loop {
            self.turned.notified().await;
            let due_ms = {
                let mut state = self.state.lock();
                let due_ms = std::mem::take(&mut state.due_ms);
                state.skew.ahead_ms += due_ms;
                skew(&host, state.skew);
                due_ms
            };
            if due_ms > 0 {
                tokio::time::advance(Duration::from_millis(due_ms)).await;
            }
        }
    }
}
