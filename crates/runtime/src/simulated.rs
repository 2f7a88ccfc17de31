//! Tasks that only pretend to run, as the scripts of their attempts say: for virtual nodes and for simulation.
//!
//! A [`SimulatedNode`] is the machine: it survives its agents, as folders and supervisors do, and loses what lives
//! when it is booted anew. A [`SimulatedRuntime`] is what one agent holds of it. Neither has a clock: whoever drives
//! the node reads one, calls [`SimulatedNode::advance`] when [`SimulatedNode::next_due_ms`] has come, and is woken
//! when that moves forward. The same calls at the same times give the same answers.
//!
//! ```text
//! agent ── launch, stop, observe ──► SimulatedRuntime ──► SimulatedNode ◄── advance ── driver, with a clock
//!   ▲                                                          │                          ▲
//!   └───────────────── subscribe: "look at X" ─────────────────┴── wake: "look sooner" ───┘
//! ```
//!
//! It leaves to others which script an attempt has (`rules`) and when the clock moves (agent, simulation).

mod clock;
mod journal;
mod life;
mod machine;
mod news;
mod output;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paceline_supervisor::Lease;
use paceline_supervisor::logs::LogStream;
use paceline_types::AttemptId;

pub use clock::ClockReading;
pub use journal::{Lived, Lives};

use crate::errors::{LaunchError, ObserveError, StopError};
use crate::runtime::{Capability, CapabilityCode, ChangeListener, Launch, LogChunk, Observed, Runtime};
use machine::Machine;

/// Reads the clocks of the machine that the runtime is on.
type Clock = Box<dyn Fn() -> ClockReading + Send + Sync>;

/// Called when the node must be advanced sooner than it said; must not block nor call the node.
type Waker = Box<dyn Fn() + Send>;

/// A machine. Clones are the same machine.
#[derive(Clone, Default)]
pub struct SimulatedNode(Arc<Shared>);

#[derive(Default)]
struct Shared {
    machine: Mutex<Machine>,
    ears: Mutex<Ears>,
}

/// Who is told of what.
#[derive(Default)]
struct Ears {
    /// Of the runtime with this number.
    listener: Option<(u64, ChangeListener)>,
    runtimes: u64,
    waker: Option<Waker>,
    /// When the driver means to come.
    awaited_ms: Option<u64>,
}

impl SimulatedNode {
    /// A machine that was just booted, with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What an agent on this machine holds. `clock` reads the machine's clocks.
    #[must_use]
    pub fn runtime(&self, clock: impl Fn() -> ClockReading + Send + Sync + 'static) -> SimulatedRuntime {
        let mut ears = self.ears();
        ears.runtimes += 1;
        SimulatedRuntime { node: self.clone(), number: ears.runtimes, clock: Box::new(clock) }
    }

    /// Lets everything happen that is due by now, in order, and tells the listener.
    pub fn advance(&self, now: ClockReading) {
        self.with(now, |_| ());
    }

    /// When to advance again, on the boot clock; nothing: not before the node wakes its driver.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        // Both at once, so that nothing becomes due between the two without a wake.
        let machine = self.machine();
        let due_ms = machine.next_due_ms();
        self.ears().awaited_ms = due_ms;
        due_ms
    }

    /// Calls `waker` from now on, in place of an earlier one, when the node must be advanced sooner than
    /// [`SimulatedNode::next_due_ms`] said last.
    pub fn wake_with(&self, waker: impl Fn() + Send + 'static) {
        self.ears().waker = Some(Box::new(waker));
    }

    /// Loses power at this moment and is booted anew, with a boot clock that begins at zero. Its agent is gone.
    pub fn reboot(&self, now: ClockReading) {
        let mut machine = self.machine();
        machine.reboot(now);
        let mut ears = self.ears();
        ears.listener = None;
        ears.awaited_ms = None;
    }

    /// What has lived since the last call, and what lives: the truth, for a checker.
    #[must_use]
    pub fn take_lives(&self) -> Lives {
        self.machine().take_lives()
    }

    fn with<T>(&self, now: ClockReading, call: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine();
        machine.advance(now);
        let answer = call(&mut machine);
        let mut ears = self.ears();
        let news = machine.news(ears.listener.is_some());
        let due_ms = machine.next_due_ms();
        drop(machine);
        if let Some((_, listener)) = &ears.listener {
            news.into_iter().for_each(listener);
        }
        if due_ms.is_some_and(|due| ears.awaited_ms.is_none_or(|awaited| due < awaited)) {
            ears.awaited_ms = due_ms;
            ears.waker.iter().for_each(|wake| wake());
        }
        answer
    }

    /// Locked before the ears, where both are.
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.machine.lock().expect("what panicked in the middle of a change left nothing to go on with")
    }

    fn ears(&self) -> MutexGuard<'_, Ears> {
        // Fields are replaced whole: a listener that panics leaves them usable.
        self.0.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pretends to run tasks on a [`SimulatedNode`]. Dropping it leaves every task running; another one finds them.
pub struct SimulatedRuntime {
    node: SimulatedNode,
    number: u64,
    clock: Clock,
}

impl SimulatedRuntime {
    fn call<T>(&self, call: impl FnOnce(&mut Machine) -> T) -> T {
        self.node.with((self.clock)(), call)
    }
}

impl Runtime for SimulatedRuntime {
    fn capabilities(&self) -> Vec<Capability> {
        let explanation = "tasks only pretend to run: no limit is kept, and none is exceeded".to_owned();
        vec![Capability { code: CapabilityCode::Simulated, enforced: true, explanation }]
    }

    fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        self.call(|machine| machine.launch(launch))
    }

    fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError> {
        self.call(|machine| machine.stop(*attempt, grace_ms))
    }

    fn renew_lease(&self, attempt: &AttemptId, lease: Lease) -> Result<(), StopError> {
        self.call(|machine| machine.renew(*attempt, lease))
    }

    fn boot_clock_ms(&self) -> u64 {
        (self.clock)().boot_ms
    }

    fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        Ok(self.call(|machine| machine.observe(attempt)))
    }

    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError> {
        Ok(self.call(Machine::all))
    }

    fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError> {
        self.call(|machine| machine.forget(*attempt))
    }

    fn read_log(
        &self,
        attempt: &AttemptId,
        stream: LogStream,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogChunk, ObserveError> {
        self.call(|machine| machine.read_output(*attempt, stream == LogStream::Stdout, offset, max_bytes))
    }

    fn subscribe(&self, listener: ChangeListener) {
        self.node.ears().listener = Some((self.number, listener));
    }
}

impl Drop for SimulatedRuntime {
    /// An agent that is gone hears nothing, and one that has taken its place goes on hearing.
    fn drop(&mut self) {
        let mut ears = self.node.ears();
        if ears.listener.as_ref().is_some_and(|(number, _)| *number == self.number) {
            ears.listener = None;
        }
    }
}
