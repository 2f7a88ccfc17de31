//! A runtime whose processes do what the test says. It outlives agents, as supervisors do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use paceline_runtime::{
    Capability, CapabilityCode, ChangeListener, Exit, Launch, LaunchError, Lease, LogChunk, LogStream,
    ObserveError, Observed, Runtime, StopError,
};
use paceline_types::{AttemptId, ExitStatus, Reason};

#[derive(Default)]
struct State {
    attempts: BTreeMap<AttemptId, Observed>,
    launches: Vec<Launch>,
    stops: Vec<(AttemptId, u64)>,
    forgotten: Vec<AttemptId>,
    leases: Vec<(AttemptId, Lease)>,
    boot_clock_ms: u64,
}

pub struct FakeRuntime {
    state: Mutex<State>,
    listener: Mutex<Option<ChangeListener>>,
    /// Processes exit with code 0 as soon as they run.
    exit_at_once: bool,
}

impl FakeRuntime {
    pub fn new(exit_at_once: bool) -> Self {
        Self { state: Mutex::default(), listener: Mutex::default(), exit_at_once }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn set(&self, attempt: AttemptId, observed: Observed) {
        self.state().attempts.insert(attempt, observed);
        if let Some(listener) = &*self.listener.lock().unwrap() {
            listener(attempt);
        }
    }

    pub fn exit(&self, attempt: AttemptId, code: i32) {
        let reason = if code == 0 { Reason::ExitedZero } else { Reason::ExitedNonZero };
        self.set(attempt, Observed::Exited(exit(ExitStatus::Code(code), reason)));
    }

    pub fn launches(&self) -> Vec<Launch> {
        self.state().launches.clone()
    }

    pub fn stops(&self) -> Vec<(AttemptId, u64)> {
        self.state().stops.clone()
    }

    pub fn leases(&self) -> Vec<(AttemptId, Lease)> {
        self.state().leases.clone()
    }

    pub fn set_boot_clock_ms(&self, now_ms: u64) {
        self.state().boot_clock_ms = now_ms;
    }

    pub fn forgotten(&self) -> Vec<AttemptId> {
        self.state().forgotten.clone()
    }
}

fn exit(status: ExitStatus, reason: Reason) -> Exit {
    Exit { status, reason, message: String::new(), started_unix_ms: 1, ended_unix_ms: 2, pid: 70 }
}

impl Runtime for FakeRuntime {
    fn capabilities(&self) -> Vec<Capability> {
        let explanation = "a test".to_owned();
        vec![Capability { code: CapabilityCode::MemoryLimit, enforced: false, explanation }]
    }

    fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        let attempt = launch.attempt;
        assert!(!self.state().attempts.contains_key(&attempt), "{attempt} was launched twice");
        self.state().launches.push(launch.clone());
        self.set(attempt, Observed::Running { pid: 70, started_unix_ms: 1 });
        if self.exit_at_once {
            self.exit(attempt, 0);
        }
        Ok(())
    }

    fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError> {
        self.state().stops.push((*attempt, grace_ms));
        self.set(*attempt, Observed::Exited(exit(ExitStatus::Signal(15), Reason::JobStopped)));
        Ok(())
    }

    fn renew_lease(&self, attempt: &AttemptId, lease: Lease) -> Result<(), StopError> {
        self.state().leases.push((*attempt, lease));
        Ok(())
    }

    fn boot_clock_ms(&self) -> u64 {
        self.state().boot_clock_ms
    }

    fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        Ok(self.state().attempts.get(attempt).cloned())
    }

    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError> {
        Ok(self.state().attempts.iter().map(|(attempt, observed)| (*attempt, observed.clone())).collect())
    }

    fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError> {
        let mut state = self.state();
        state.attempts.remove(attempt);
        state.forgotten.push(*attempt);
        Ok(())
    }

    fn read_log(
        &self,
        attempt: &AttemptId,
        stream: LogStream,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogChunk, ObserveError> {
        if !self.state().attempts.contains_key(attempt) {
            return Err(ObserveError::Unknown { attempt: *attempt });
        }
        let text = format!("{stream:?} of {attempt}\n").into_bytes();
        let from = usize::try_from(offset).unwrap().min(text.len());
        let to = (from + max_bytes).min(text.len());
        Ok(LogChunk { offset, bytes: text[from..to].to_vec(), complete: to == text.len() })
    }

    fn subscribe(&self, listener: ChangeListener) {
        *self.listener.lock().unwrap() = Some(listener);
    }
}
