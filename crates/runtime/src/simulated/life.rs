//! One simulated attempt from its start to its end. Its ways to an end that it did not choose are decided by the code
//! that a real supervisor runs: time limit, stop and grace by [`Ending`], the lease by [`decide`].

use paceline_supervisor::ending::{Act, Ending};
use paceline_supervisor::lease::{Decision, decide};
use paceline_supervisor::{Cause, Ended, Lease, Outcome};
use paceline_types::{ExitStatus, OnStop, Script, ScriptEnd};

use crate::runtime::Launch;
use crate::simulated::clock::ClockReading;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// The code of what was not executed.
const CODE_NOT_EXECUTED: i32 = 127;

/// How it must be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub script: Script,
    pub time_limit_ms: Option<u64>,
    pub grace_ms: u64,
    pub at_most_one: bool,
}

impl Terms {
    pub fn new(launch: &Launch, script: Script) -> Self {
        let Launch { time_limit_ms, grace_ms, at_most_one, .. } = *launch;
        Self { script, time_limit_ms, grace_ms, at_most_one }
    }
}

/// An attempt that runs.
#[derive(Debug)]
pub(super) struct Life {
    terms: Terms,
    lease: Option<Lease>,
    pub pid: u32,
    pub started: ClockReading,
    ending: Ending,
    /// When it is gone, once it was told to go.
    obeys_at_ms: Option<u64>,
    /// When the lease is to be looked at again.
    lease_due_ms: Option<u64>,
}

impl Life {
    pub fn begin(terms: Terms, lease: Option<Lease>, pid: u32, started: ClockReading) -> Self {
        let ending = Ending::new(terms.time_limit_ms, terms.grace_ms);
        Self { terms, lease, pid, started, ending, obeys_at_ms: None, lease_due_ms: None }
    }

    pub const fn script(&self) -> &Script {
        &self.terms.script
    }

    /// Somebody wants it to end.
    pub fn stop(&mut self, grace_ms: u64, now_ms: u64) {
        self.ending.ask(Cause::Stopped, grace_ms, self.age_ms(now_ms));
    }

    /// The agent got a lease for it.
    pub fn renew(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// When [`Life::act`] has something to do, on the boot clock.
    pub fn due_ms(&self) -> u64 {
        let asked = self.ending.due_at_ms().map(|age| self.started.boot_ms.saturating_add(age));
        let due = [Some(self.ends_by_itself_ms()), self.obeys_at_ms, self.lease_due_ms, asked];
        due.into_iter().flatten().min().expect("the first is always there")
    }

    /// Does what is due at `now_ms`; gives the end when that was it.
    pub fn act(&mut self, now_ms: u64) -> Option<(Outcome, Cause)> {
        if now_ms >= self.ends_by_itself_ms() {
            return Some(self.by_itself());
        }
        if self.obeys_at_ms.is_some_and(|at| now_ms >= at) {
            return Some(self.by_signal(SIGTERM));
        }
        self.heed_lease(now_ms);
        match self.ending.act(self.age_ms(now_ms)) {
            Act::Wait => None,
            Act::Kill => Some(self.by_signal(SIGKILL)),
            Act::Terminate => match self.terms.script.on_stop {
                OnStop::Ignores => None,
                OnStop::EndsAfter(0) => Some(self.by_signal(SIGTERM)),
                OnStop::EndsAfter(ms) => {
                    self.obeys_at_ms = Some(now_ms.saturating_add(ms));
                    None
                }
            },
        }
    }

    fn heed_lease(&mut self, now_ms: u64) {
        if !self.terms.at_most_one {
            return;
        }
        let age_ms = self.age_ms(now_ms);
        self.lease_due_ms = match decide(self.lease.as_ref(), self.terms.grace_ms, now_ms) {
            Decision::RunUntil(at) => Some(at),
            Decision::StopBy(end) => {
                self.ending.ask(Cause::LeaseEnded, end.saturating_sub(now_ms), age_ms);
                None
            }
            // It began under a lease, so there is one.
            Decision::Kill | Decision::Wait => {
                self.ending.ask(Cause::LeaseEnded, 0, age_ms);
                None
            }
        };
    }

    const fn ends_by_itself_ms(&self) -> u64 {
        self.started.boot_ms.saturating_add(self.terms.script.runs_ms)
    }

    const fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.started.boot_ms)
    }

    /// A stop, a time limit or a lease explains whatever came after it.
    fn by_itself(&self) -> (Outcome, Cause) {
        let (outcome, cause) = match self.terms.script.end {
            ScriptEnd::Exit(ExitStatus::Code(code)) => (Outcome::Code(code), Cause::Exited),
            ScriptEnd::Exit(ExitStatus::Signal(signal)) => (Outcome::Signal(signal), Cause::Exited),
            ScriptEnd::OutOfMemory => (Outcome::Signal(SIGKILL), Cause::OutOfMemory),
        };
        (outcome, self.ending.cause().unwrap_or(cause))
    }

    fn by_signal(&self, signal: i32) -> (Outcome, Cause) {
        let cause = self.ending.cause();
        (Outcome::Signal(signal), cause.expect("only what was asked to end gets a signal of ours"))
    }
}

/// The record of an attempt that was never executed.
pub(super) fn not_started(cause: Cause, message: &str, now: ClockReading) -> Ended {
    Ended {
        outcome: Outcome::Code(CODE_NOT_EXECUTED),
        cause,
        message: message.to_owned(),
        pid: 0,
        started_unix_ms: now.unix_ms,
        ended_unix_ms: now.unix_ms,
    }
}
