//! What an attempt does, read from its records and from whether its supervisor lives.
//!
//! The order of looking matters: a supervisor publishes the end before it goes, so an end that is missing
//! while it is seen dead has to be looked for once more before it counts as missing.

use std::path::Path;

use paceline_supervisor::{Cause, Ended, Intent, Outcome, ProcessIdentity, RecordError, Running, read};
use paceline_types::{ExitStatus, Reason};

use crate::process::table::Supervisor;
use crate::runtime::{Exit, Observed};

/// The signal that stands for an end nobody saw.
const SIGKILL: i32 = 9;

/// What was found.
pub enum Sight {
    /// This.
    Observed(Observed),
    /// The supervisor is dead and left no end: the rest of the task must go, and the end be written.
    Orphaned(Orphan),
}

/// What a dead supervisor left.
pub struct Orphan {
    /// The supervisor; nothing when it died before it took the order.
    pub holder: Option<ProcessIdentity>,
    /// The task, if it was executed.
    pub running: Option<Running>,
    /// What its groups are called, where they are not called after the attempt.
    pub groups: Option<String>,
}

/// Looks.
pub fn look(folder: &Path, supervisor: Supervisor, boot: &str) -> Result<Sight, RecordError> {
    if supervisor == Supervisor::OfAnotherBoot {
        return Ok(Sight::Observed(Observed::Exited(after_reboot(folder))));
    }
    if let Some(exit) = exit(folder)? {
        return Ok(Sight::Observed(Observed::Exited(exit)));
    }
    if alive(folder, supervisor, boot)? {
        return Ok(Sight::Observed(present(read(folder)?)));
    }
    if let Some(exit) = exit(folder)? {
        return Ok(Sight::Observed(Observed::Exited(exit)));
    }
    let (holder, groups) =
        read::<Intent>(folder)?.map(|intent| (intent.holder, intent.groups)).unwrap_or_default();
    Ok(Sight::Orphaned(Orphan { holder, running: read(folder)?, groups }))
}

fn exit(folder: &Path) -> Result<Option<Exit>, RecordError> {
    Ok(read::<Ended>(folder)?.map(|ended| translate(&ended)))
}

fn alive(folder: &Path, supervisor: Supervisor, boot: &str) -> Result<bool, RecordError> {
    Ok(match supervisor {
        Supervisor::Coming => true,
        Supervisor::Held(holder) => holder.is_alive(),
        Supervisor::OfAnotherBoot => false,
        Supervisor::Unheard => read::<Intent>(folder)?.is_some_and(|intent| intent.is_held(boot)),
    })
}

fn present(running: Option<Running>) -> Observed {
    running.map_or(Observed::Starting, |running| Observed::Running {
        pid: running.task.pid,
        started_unix_ms: running.started_unix_ms,
    })
}

/// Records in the agent's words.
pub fn translate(ended: &Ended) -> Exit {
    let (status, own_reason) = match ended.outcome {
        Outcome::Code(0) => (ExitStatus::Code(0), Reason::ExitedZero),
        Outcome::Code(code) => (ExitStatus::Code(code), Reason::ExitedNonZero),
        Outcome::Signal(signal) => (ExitStatus::Signal(signal), Reason::Signaled),
    };
    let reason = match ended.cause {
        Cause::Exited => own_reason,
        Cause::LaunchFailed => Reason::LaunchFailed,
        Cause::NodeFault => Reason::NodeFault,
        Cause::Stopped => Reason::JobStopped,
        Cause::TimeLimit => Reason::TimeLimit,
        Cause::OutOfMemory => Reason::OutOfMemory,
        Cause::SupervisorDied => Reason::SupervisorDied,
        Cause::LeaseEnded => Reason::LeaseEnded,
    };
    Exit {
        status,
        reason,
        message: ended.message.clone(),
        started_unix_ms: ended.started_unix_ms,
        ended_unix_ms: ended.ended_unix_ms,
        pid: ended.pid,
    }
}

/// An end that was written before the reboot counts. Records are not synced, so a torn one is what a power
/// loss leaves and no reason to refuse.
fn after_reboot(folder: &Path) -> Exit {
    let torn = match exit(folder) {
        Ok(Some(exit)) => return exit,
        Ok(None) => String::new(),
        Err(error) => format!("; {error}"),
    };
    let running = read::<Running>(folder).ok().flatten();
    let started_unix_ms = running.as_ref().map_or(0, |running| running.started_unix_ms);
    Exit {
        status: ExitStatus::Signal(SIGKILL),
        reason: Reason::NodeRebooted,
        message: format!("the machine was booted anew, how the task ended is not known{torn}"),
        started_unix_ms,
        ended_unix_ms: started_unix_ms,
        pid: running.map_or(0, |running| running.task.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_supervisor::publish;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("paceline-sight-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn ended() -> Ended {
        let (outcome, cause) = (Outcome::Code(3), Cause::Exited);
        Ended { outcome, cause, message: String::new(), pid: 5, started_unix_ms: 1, ended_unix_ms: 2 }
    }

    fn seen(folder: &Path, supervisor: Supervisor) -> Observed {
        match look(folder, supervisor, "now").unwrap() {
            Sight::Observed(observed) => observed,
            Sight::Orphaned(_) => panic!("orphaned"),
        }
    }

    #[test]
    fn an_attempt_of_another_boot_is_lost_by_reboot_unless_its_end_was_written() {
        let folder = folder("reboot");
        let Observed::Exited(exit) = seen(&folder, Supervisor::OfAnotherBoot) else { panic!("runs") };
        assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(9), Reason::NodeRebooted));
        publish(&folder, &ended()).unwrap();
        let Observed::Exited(exit) = seen(&folder, Supervisor::OfAnotherBoot) else { panic!("runs") };
        assert_eq!((exit.status, exit.reason), (ExitStatus::Code(3), Reason::ExitedNonZero));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_record_torn_by_a_power_loss_is_named_and_refused_only_within_its_boot() {
        let folder = folder("torn");
        std::fs::write(folder.join("exit"), "").unwrap();
        let Observed::Exited(exit) = seen(&folder, Supervisor::OfAnotherBoot) else { panic!("runs") };
        assert!(exit.message.contains(folder.join("exit").to_str().unwrap()), "{}", exit.message);
        assert!(look(&folder, Supervisor::Coming, "now").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_supervisor_that_left_no_record_leaves_an_orphan() {
        let folder = folder("orphan");
        assert_eq!(seen(&folder, Supervisor::Coming), Observed::Starting);
        assert!(matches!(look(&folder, Supervisor::Unheard, "now"), Ok(Sight::Orphaned(_))));
        publish(&folder, &ended()).unwrap();
        assert!(matches!(seen(&folder, Supervisor::Unheard), Observed::Exited(_)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
