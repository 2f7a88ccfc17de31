//! A machine whose tasks only pretend to run: what a real one keeps in its folders and its supervisors.
//!
//! Pure: every call says what the clocks show, and things that were due happen first, each at its own time. So it
//! makes no difference in how many steps time goes on.

use std::collections::{BTreeMap, BTreeSet};

use paceline_supervisor::lease::{Decision, decide};
use paceline_supervisor::{Cause, Ended, Lease};
use paceline_types::{AttemptId, ExitStatus, Reason, Script};

use crate::errors::{LaunchError, ObserveError, StopError};
use crate::process::translate;
use crate::runtime::{Exit, Launch, LogChunk, Observed};
use crate::simulated::clock::ClockReading;
use crate::simulated::journal::{Journal, Lived, Lives};
use crate::simulated::life::{Life, Terms, not_started};
use crate::simulated::news::News;
use crate::simulated::output::{Kept, Output};

/// Attempts whose launch failed and that may be tried again. An agent has fewer on their way; at the bound the oldest
/// job's begin anew.
const FAULTY_MAX: usize = 4_096;
/// The signal of an end that nobody saw.
const SIGKILL: i32 = 9;

#[derive(Debug)]
enum Attempt {
    /// For a lease.
    Waits(Terms),
    Lives(Life),
    Ended(Exit, Output),
}

/// The state of the machine. Attempts stay until they are forgotten, as folders do.
#[derive(Debug, Default)]
pub(super) struct Machine {
    boot: u32,
    now: ClockReading,
    last_pid: u32,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// When each life has something to do.
    due: BTreeSet<(u64, AttemptId)>,
    /// How often the launch of an attempt has failed.
    faults: BTreeMap<AttemptId, u32>,
    kept: Kept,
    journal: Journal,
    news: News,
}

impl Machine {
    /// Lets everything happen that is due by now. Clocks that go back within a boot stand still instead.
    pub fn advance(&mut self, now: ClockReading) {
        let now = ClockReading { boot_ms: now.boot_ms.max(self.now.boot_ms), ..now };
        while let Some(&(due_ms, attempt)) = self.due.first().filter(|(due_ms, _)| *due_ms <= now.boot_ms) {
            self.due.remove(&(due_ms, attempt));
            self.now = now.back_to(due_ms.max(self.now.boot_ms));
            self.act(attempt);
        }
        self.now = now;
    }

    /// When to advance again, on the boot clock.
    pub fn next_due_ms(&self) -> Option<u64> {
        let life = self.due.first().map(|(due_ms, _)| *due_ms);
        [life, self.news.due_ms()].into_iter().flatten().min()
    }

    /// What to tell the agent now, if there is one.
    pub fn news(&mut self, heard: bool) -> BTreeSet<AttemptId> {
        self.news.take(self.now.boot_ms, heard)
    }

    /// See [`crate::Runtime::launch`].
    pub fn launch(&mut self, launch: &Launch) -> Result<(), LaunchError> {
        let attempt = launch.attempt;
        if self.attempts.contains_key(&attempt) {
            return Ok(());
        }
        let Some(script) = launch.script else {
            let why = "the job is a real one, and this node only simulates";
            self.end_unstarted(attempt, Cause::LaunchFailed, why);
            return Ok(());
        };
        self.meet_faults(attempt, &script)?;
        let terms = Terms::new(launch, script);
        if terms.at_most_one {
            self.attempts.insert(attempt, Attempt::Waits(terms));
            self.news.changed(attempt);
        } else {
            self.start(attempt, terms, None);
        }
        Ok(())
    }

    fn meet_faults(&mut self, attempt: AttemptId, script: &Script) -> Result<(), LaunchError> {
        let met = self.faults.remove(&attempt).unwrap_or(0);
        let of = script.launch_faults;
        if met >= of {
            return Ok(());
        }
        if self.faults.len() == FAULTY_MAX {
            self.faults.pop_first();
        }
        self.faults.insert(attempt, met + 1);
        Err(LaunchError::Scripted { attempt, fault: met + 1, of })
    }

    fn start(&mut self, attempt: AttemptId, terms: Terms, lease: Option<Lease>) {
        self.last_pid = self.last_pid.checked_add(1).unwrap_or(1);
        let life = Life::begin(terms, lease, self.last_pid, self.now);
        self.attempts.insert(attempt, Attempt::Lives(life));
        self.news.changed(attempt);
        self.act(attempt);
    }

    /// Lets a life do what is due now, and notes when it must be asked again.
    fn act(&mut self, attempt: AttemptId) {
        let Some(Attempt::Lives(life)) = self.attempts.get_mut(&attempt) else { return };
        match life.act(self.now.boot_ms) {
            None => _ = self.due.insert((life.due_ms(), attempt)),
            Some((outcome, cause)) => {
                let (pid, started) = (life.pid, life.started);
                let ended = Ended {
                    outcome,
                    cause,
                    message: "simulated".to_owned(),
                    pid,
                    started_unix_ms: started.unix_ms,
                    ended_unix_ms: self.now.unix_ms.max(started.unix_ms),
                };
                self.end_life(attempt, translate(&ended));
            }
        }
    }

    fn end_life(&mut self, attempt: AttemptId, exit: Exit) {
        let Some(Attempt::Lives(life)) = self.attempts.get(&attempt) else { return };
        let (started_ms, ended_ms) = (life.started.boot_ms, Some(self.now.boot_ms));
        let output = Output { bytes_per_second: life.script().output_bytes_per_second, started_ms, ended_ms };
        self.due.remove(&(life.due_ms(), attempt));
        self.journal.note(Lived {
            attempt,
            boot: self.boot,
            started_boot_ms: started_ms,
            ended_boot_ms: ended_ms,
            reason: Some(exit.reason),
        });
        self.attempts.insert(attempt, Attempt::Ended(exit, output));
        self.news.changed(attempt);
    }

    fn end_unstarted(&mut self, attempt: AttemptId, cause: Cause, message: &str) {
        let exit = translate(&not_started(cause, message, self.now));
        self.attempts.insert(attempt, Attempt::Ended(exit, Output::NONE));
        self.news.changed(attempt);
    }

    /// See [`crate::Runtime::stop`].
    pub fn stop(&mut self, attempt: AttemptId, grace_ms: u64) -> Result<(), StopError> {
        match self.attempts.get(&attempt) {
            None => return Err(StopError::Unknown { attempt }),
            Some(Attempt::Ended(..)) => {}
            Some(Attempt::Waits(_)) => {
                self.end_unstarted(attempt, Cause::Stopped, "stopped before it was started");
            }
            Some(Attempt::Lives(_)) => self.change(attempt, |life, now_ms| life.stop(grace_ms, now_ms)),
        }
        Ok(())
    }

    /// Takes a lease on. One that leaves no time to run does not start what waits.
    pub fn renew(&mut self, attempt: AttemptId, lease: Lease) -> Result<(), StopError> {
        match self.attempts.get(&attempt) {
            None => return Err(StopError::Unknown { attempt }),
            Some(Attempt::Ended(..)) => {}
            Some(Attempt::Waits(terms)) => {
                let terms = *terms;
                let decision = decide(Some(&lease), terms.grace_ms, self.now.boot_ms);
                if matches!(decision, Decision::RunUntil(_)) {
                    self.start(attempt, terms, Some(lease));
                }
            }
            Some(Attempt::Lives(_)) => self.change(attempt, |life, _| life.renew(lease)),
        }
        Ok(())
    }

    /// Changes a life and lets it act on it.
    fn change(&mut self, attempt: AttemptId, change: impl FnOnce(&mut Life, u64)) {
        let Some(Attempt::Lives(life)) = self.attempts.get_mut(&attempt) else { return };
        self.due.remove(&(life.due_ms(), attempt));
        change(life, self.now.boot_ms);
        self.act(attempt);
    }

    /// See [`crate::Runtime::observe`].
    pub fn observe(&mut self, attempt: &AttemptId) -> Option<Observed> {
        self.news.seen(attempt);
        self.attempts.get(attempt).map(observed)
    }

    /// See [`crate::Runtime::attempts`].
    pub fn all(&mut self) -> Vec<(AttemptId, Observed)> {
        let all: Vec<_> = self.attempts.iter().map(|(id, attempt)| (*id, observed(attempt))).collect();
        all.iter().for_each(|(attempt, _)| self.news.seen(attempt));
        all
    }

    /// See [`crate::Runtime::forget`].
    pub fn forget(&mut self, attempt: AttemptId) -> Result<(), ObserveError> {
        self.faults.remove(&attempt);
        match self.attempts.get(&attempt) {
            None => {}
            Some(Attempt::Ended(_, output)) => {
                self.kept.keep(attempt, *output);
                self.attempts.remove(&attempt);
                self.news.seen(&attempt);
            }
            Some(_) => return Err(ObserveError::NotEnded { attempt }),
        }
        Ok(())
    }

    /// What is written on standard output from `offset`; nobody writes on standard error.
    pub fn read_output(
        &self,
        attempt: AttemptId,
        stdout: bool,
        offset: u64,
        bytes_max: usize,
    ) -> Result<LogChunk, ObserveError> {
        let output = match self.attempts.get(&attempt) {
            Some(Attempt::Ended(_, output)) => *output,
            Some(Attempt::Waits(_)) => Output { ended_ms: None, ..Output::NONE },
            Some(Attempt::Lives(life)) => Output {
                bytes_per_second: life.script().output_bytes_per_second,
                started_ms: life.started.boot_ms,
                ended_ms: None,
            },
            None => self.kept.find(&attempt).ok_or(ObserveError::Unknown { attempt })?,
        };
        let bytes_max_here = if stdout { bytes_max } else { 0 };
        let bytes = output.read(&attempt, offset, bytes_max_here, self.now.boot_ms);
        let complete = output.ended_ms.is_some() && bytes.len() < bytes_max;
        Ok(LogChunk { offset, bytes, complete })
    }

    /// The machine dies at this moment and is booted anew: what lived has ended without a word, what was written down
    /// stays, and the boot clock begins at zero.
    pub fn reboot(&mut self, now: ClockReading) {
        self.advance(now);
        let open: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for attempt in open {
            match self.attempts.get(&attempt) {
                Some(Attempt::Lives(life)) => {
                    let exit = rebooted(life.pid, life.started.unix_ms);
                    self.end_life(attempt, exit);
                }
                Some(Attempt::Waits(_)) => {
                    self.attempts.insert(attempt, Attempt::Ended(rebooted(0, 0), Output::NONE));
                }
                Some(Attempt::Ended(..)) | None => {}
            }
        }
        self.boot += 1;
        self.now = ClockReading { boot_ms: 0, unix_ms: now.unix_ms };
        self.last_pid = 0;
        self.faults.clear();
        self.news = News::default();
    }

    /// What has lived since the last call, and what lives.
    pub fn take_lives(&mut self) -> Lives {
        let alive = self.attempts.iter().filter_map(|(&attempt, state)| match state {
            Attempt::Lives(life) => Some(Lived {
                attempt,
                boot: self.boot,
                started_boot_ms: life.started.boot_ms,
                ended_boot_ms: None,
                reason: None,
            }),
            Attempt::Waits(_) | Attempt::Ended(..) => None,
        });
        let alive = alive.collect();
        self.journal.take(alive)
    }
}

fn observed(attempt: &Attempt) -> Observed {
    match attempt {
        Attempt::Waits(_) => Observed::Starting,
        Attempt::Lives(life) => Observed::Running { pid: life.pid, started_unix_ms: life.started.unix_ms },
        Attempt::Ended(exit, _) => Observed::Exited(exit.clone()),
    }
}

/// As a real node says it of attempts of an earlier boot: nobody saw the end.
fn rebooted(pid: u32, started_unix_ms: u64) -> Exit {
    Exit {
        status: ExitStatus::Signal(SIGKILL),
        reason: Reason::NodeRebooted,
        message: "the machine was booted anew, how the task ended is not known".to_owned(),
        started_unix_ms,
        ended_unix_ms: started_unix_ms,
        pid,
    }
}
