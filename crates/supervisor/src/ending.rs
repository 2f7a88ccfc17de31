//! When to end the task: time limit, stop, grace, lease. Pure, and the same in every runtime: times are milliseconds
//! since the task started.

use crate::record::ended::Cause;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// SIGTERM to the process group.
    Terminate,
    /// SIGKILL to it.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Runs,
    /// Asked to end, not told yet.
    Asked {
        kill_at_ms: u64,
    },
    Terminated {
        kill_at_ms: u64,
    },
    Killed,
}

/// The way of a task to an end that it did not choose.
#[derive(Debug)]
pub struct Ending {
    limit_at_ms: Option<u64>,
    limit_grace_ms: u64,
    cause: Option<Cause>,
    stage: Stage,
}

impl Ending {
    /// For a task that has just started.
    #[must_use]
    pub fn new(time_limit_ms: Option<u64>, limit_grace_ms: u64) -> Self {
        Self { limit_at_ms: time_limit_ms, limit_grace_ms, cause: None, stage: Stage::Runs }
    }

    /// Somebody wants it to end. The first cause stands; the grace can only become shorter.
    pub fn ask(&mut self, cause: Cause, grace_ms: u64, now_ms: u64) {
        let wanted = now_ms.saturating_add(grace_ms);
        self.cause.get_or_insert(cause);
        self.stage = match self.stage {
            Stage::Runs => Stage::Asked { kill_at_ms: wanted },
            Stage::Asked { kill_at_ms } => Stage::Asked { kill_at_ms: kill_at_ms.min(wanted) },
            Stage::Terminated { kill_at_ms } => Stage::Terminated { kill_at_ms: kill_at_ms.min(wanted) },
            Stage::Killed => Stage::Killed,
        };
    }

    /// What is due; each act is given once.
    pub fn act(&mut self, now_ms: u64) -> Act {
        if self.stage == Stage::Runs && self.limit_at_ms.is_some_and(|at| now_ms >= at) {
            self.ask(Cause::TimeLimit, self.limit_grace_ms, now_ms);
        }
        match self.stage {
            Stage::Asked { kill_at_ms } if now_ms < kill_at_ms => {
                self.stage = Stage::Terminated { kill_at_ms };
                Act::Terminate
            }
            Stage::Asked { kill_at_ms } | Stage::Terminated { kill_at_ms } if now_ms >= kill_at_ms => {
                self.stage = Stage::Killed;
                Act::Kill
            }
            _ => Act::Wait,
        }
    }

    /// When to look again, if nothing else happens.
    #[must_use]
    pub fn due_at_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Runs => self.limit_at_ms,
            Stage::Asked { .. } => Some(0),
            Stage::Terminated { kill_at_ms } => Some(kill_at_ms),
            Stage::Killed => None,
        }
    }

    /// Why it was ended, when it was told to.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_limits_is_left_alone() {
        let mut ending = Ending::new(None, 5);
        assert_eq!((ending.act(u64::MAX), ending.due_at_ms(), ending.cause()), (Act::Wait, None, None));
    }

    #[test]
    fn the_time_limit_terminates_and_the_grace_kills_once() {
        let mut ending = Ending::new(Some(100), 50);
        let acts: Vec<Act> = [0, 99, 100, 101, 149, 150, 151].map(|now| ending.act(now)).into();
        use Act::{Kill, Terminate, Wait};
        assert_eq!(acts, [Wait, Wait, Terminate, Wait, Wait, Kill, Wait]);
        assert_eq!(ending.cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
        let mut ending = Ending::new(None, 0);
        ending.ask(Cause::Stopped, 1000, 0);
        assert_eq!(ending.act(0), Act::Terminate);
        ending.ask(Cause::Stopped, 10, 5);
        ending.ask(Cause::Stopped, 1000, 6);
        assert_eq!(ending.due_at_ms(), Some(15));
        assert_eq!((ending.act(14), ending.act(15)), (Act::Wait, Act::Kill));
    }

    #[test]
    fn no_grace_kills_without_a_warning() {
        let mut ending = Ending::new(None, 0);
        ending.ask(Cause::Stopped, 0, 7);
        assert_eq!((ending.act(7), ending.due_at_ms()), (Act::Kill, None));
    }

    #[test]
    fn the_first_cause_stands() {
        let mut ending = Ending::new(Some(10), 100);
        ending.act(10);
        ending.ask(Cause::Stopped, 0, 11);
        assert_eq!((ending.cause(), ending.act(11)), (Some(Cause::TimeLimit), Act::Kill));
    }
}
