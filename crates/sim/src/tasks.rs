//! A runtime whose tasks are nothing but times: each lasts as long as its environment says and exits as it says.
//!
//! It outlives the agent, as supervisors do, and ends with the machine. What it launched is noted for the checks: it is
//! the only one who knows what really ran. The words are `SIM_MS`, how long (100 unless said), and `SIM_EXIT`, the code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use paceline_runtime::{
    Capability, ChangeListener, Exit, Launch, LaunchError, Lease, LogChunk, LogStream, ObserveError,
    Observed, Runtime, StopError,
};
use paceline_types::{AttemptId, ExitStatus, Reason};
use parking_lot::Mutex;

use crate::clock;
use crate::launched::Launched;

/// How long a task lasts that does not say.
const MS_DEFAULT: u64 = 100;
/// What a stopped task takes to end: it listens to SIGTERM.
const STOP_MS: u64 = 5;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

#[derive(Debug, Clone)]
struct Run {
    started_ms: u64,
    ends_ms: u64,
    status: ExitStatus,
    reason: Reason,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<AttemptId, Run>,
    listener: Option<ChangeListener>,
}

/// The tasks of one machine. Clones are the same machine.
#[derive(Clone)]
pub struct Tasks {
    node: Arc<str>,
    state: Arc<Mutex<State>>,
    launched: Launched,
}

impl Tasks {
    /// A machine without tasks.
    #[must_use]
    pub fn new(node: &str, launched: Launched) -> Self {
        Self { node: node.into(), state: Arc::default(), launched }
    }

    /// The machine lost its power: what ran is over. What ended before and was not acknowledged is of an earlier boot now,
    /// which the cell takes for lost, since nothing of it had to be synced.
    pub fn power_cut(&self) {
        let now = clock::now_ms();
        let mut state = self.state.lock();
        for (attempt, run) in &mut state.runs {
            self.launched.struck(*attempt, now);
            if run.ends_ms > now {
                (run.ends_ms, run.status, run.reason) =
                    (now, ExitStatus::Signal(SIGKILL), Reason::NodeRebooted);
            }
        }
        state.listener = None;
    }

    /// Tells the agent when an attempt ends, unless it dies before.
    fn tell_at(&self, attempt: AttemptId, ends_ms: u64) {
        let tasks = self.clone();
        let left = Duration::from_millis(ends_ms.saturating_sub(clock::now_ms()) + 1);
        tokio::spawn(async move {
            tokio::time::sleep(left).await;
            if let Some(listener) = &tasks.state.lock().listener {
                listener(attempt);
            }
        });
    }
}

fn observed(run: &Run, now: u64) -> Observed {
    let unix = |ms: u64| clock::WALL_START_UNIX_S * 1_000 + ms;
    if now < run.ends_ms {
        return Observed::Running { pid: 1, started_unix_ms: unix(run.started_ms) };
    }
    Observed::Exited(Exit {
        status: run.status,
        reason: run.reason,
        message: String::new(),
        started_unix_ms: unix(run.started_ms),
        ended_unix_ms: unix(run.ends_ms),
        pid: 1,
    })
}

/// A number of the environment; anything else counts as not said.
fn number(launch: &Launch, name: &str) -> Option<u64> {
    launch.env.get(name).and_then(|text| text.parse().ok())
}

impl Runtime for Tasks {
    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        let (attempt, now) = (launch.attempt, clock::now_ms());
        if self.state.lock().runs.contains_key(&attempt) {
            return Ok(());
        }
        let ends_ms = now + number(launch, "SIM_MS").unwrap_or(MS_DEFAULT);
        let code = number(launch, "SIM_EXIT").and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
        let reason = if code == 0 { Reason::ExitedZero } else { Reason::ExitedNonZero };
        let run = Run { started_ms: now, ends_ms, status: ExitStatus::Code(code), reason };
        self.state.lock().runs.insert(attempt, run);
        self.launched.started(attempt, &self.node, now, ends_ms);
        self.tell_at(attempt, now);
        self.tell_at(attempt, ends_ms);
        Ok(())
    }

    fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError> {
        let now = clock::now_ms();
        let ends_ms = {
            let mut state = self.state.lock();
            let Some(run) = state.runs.get_mut(attempt) else {
                return Err(StopError::Unknown { attempt: *attempt });
            };
            let ends_ms = now + STOP_MS.min(grace_ms);
            if run.ends_ms <= ends_ms {
                return Ok(());
            }
            (run.ends_ms, run.status, run.reason) =
                (ends_ms, ExitStatus::Signal(SIGTERM), Reason::JobStopped);
            ends_ms
        };
        self.launched.ended(*attempt, ends_ms);
        self.tell_at(*attempt, ends_ms);
        Ok(())
    }

    fn renew_lease(&self, _attempt: &AttemptId, _lease: Lease) -> Result<(), StopError> {
        // No job of the simulation asks for one.
        Ok(())
    }

    fn boot_clock_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        Ok(self.state.lock().runs.get(attempt).map(|run| observed(run, clock::now_ms())))
    }

    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError> {
        let now = clock::now_ms();
        Ok(self.state.lock().runs.iter().map(|(attempt, run)| (*attempt, observed(run, now))).collect())
    }

    fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError> {
        let mut state = self.state.lock();
        if state.runs.get(attempt).is_some_and(|run| clock::now_ms() < run.ends_ms) {
            return Err(ObserveError::NotEnded { attempt: *attempt });
        }
        state.runs.remove(attempt);
        Ok(())
    }

    fn read_log(
        &self,
        attempt: &AttemptId,
        _stream: LogStream,
        offset: u64,
        _max_bytes: usize,
    ) -> Result<LogChunk, ObserveError> {
        match self.observe(attempt)? {
            None => Err(ObserveError::Unknown { attempt: *attempt }),
            Some(observed) => {
                Ok(LogChunk { offset, bytes: Vec::new(), complete: matches!(observed, Observed::Exited(_)) })
            }
        }
    }

    fn subscribe(&self, listener: ChangeListener) {
        self.state.lock().listener = Some(listener);
        let now = clock::now_ms();
        let due: Vec<_> =
            self.state.lock().runs.iter().map(|(attempt, run)| (*attempt, run.ends_ms)).collect();
        for (attempt, ends_ms) in due.into_iter().filter(|(_, ends_ms)| *ends_ms > now) {
            self.tell_at(attempt, ends_ms);
        }
    }
}
