//! After a supervisor that was killed: what is left of its task goes too, and the end is written.
//!
//! The kernel has killed the task itself as its supervisor died. Its children may live. They are found by
//! the attempt's cgroups, by their session and by their environment, and killed through a pidfd that was
//! opened before they were checked: never by a bare id.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use paceline_supervisor::{
    Cause, Ended, FAILURE_NOTE, Intent, Ledger, Outcome, ProcessIdentity, ProcessStat, cgroup, is_gone,
    publish, read,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::process::sight::Orphan;

/// The signal that killed the task, as far as anybody knows.
const SIGKILL: i32 = 9;

/// The code for what was not executed.
const CODE_NOT_EXECUTED: i32 = 127;

/// Killed processes go within milliseconds, unless they hang in a driver; then the group stays until the
/// agent is opened again.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at processes that are being killed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Kills every process of an attempt whose supervisor is dead, removes its groups.
pub fn clear(folder: &Path, orphan: &Orphan, groups: &[std::path::PathBuf]) {
    groups.iter().for_each(|group| clear_group(group));
    if let Some(holder) = &orphan.holder {
        clear_strays(holder, folder);
    }
}

/// Kills what is in a group and removes it. A freezer is frozen meanwhile, so that nothing forks, and thawed
/// in any case: the supervisor may have died between the two.
pub fn clear_group(group: &Path) {
    let begun = Instant::now();
    while let Ok(members) = cgroup::members(group)
        && !members.is_empty()
        && begun.elapsed() < GONE_WITHIN
    {
        _ = cgroup::freeze(group);
        let members = cgroup::members(group).unwrap_or(members);
        let is_member = |pid| cgroup::members(group).is_ok_and(|now| now.contains(&pid));
        members.into_iter().for_each(|pid| kill_if(pid, is_member));
        _ = cgroup::thaw(group);
        thread::sleep(LOOK_EVERY);
    }
    if let Err(error) = cgroup::remove(group) {
        tracing::warn!(group = %group.display(), %error, "a cgroup of a dead attempt cannot be removed");
    }
}

/// Kills what has the dead supervisor's session or the attempt's environment, until nothing has.
fn clear_strays(holder: &ProcessIdentity, folder: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < GONE_WITHIN {
        let strays: Vec<u32> = all_processes().filter(|pid| is_stray(*pid, holder, folder)).collect();
        if strays.is_empty() {
            return;
        }
        strays.into_iter().for_each(|pid| kill_if(pid, |pid| is_stray(pid, holder, folder)));
        thread::sleep(LOOK_EVERY);
    }
    tracing::warn!(folder = %folder.display(), "processes of a dead attempt cannot be killed");
}

fn is_stray(pid: u32, holder: &ProcessIdentity, folder: &Path) -> bool {
    let Ok(stat) = ProcessStat::of(pid) else { return false };
    if stat.dead || stat.start_ticks < holder.start_ticks {
        return false;
    }
    // A session is named after its leader. While anything is in it the kernel gives its id to nobody else;
    // so if another process has that id, the session is a stranger's.
    let leader = ProcessStat::of(holder.pid);
    let ours = match leader {
        Ok(leader) => leader.start_ticks == holder.start_ticks,
        Err(error) => is_gone(&error),
    };
    let in_session = stat.session == holder.pid && ours;
    in_session || has_environment_of(pid, folder)
}

fn has_environment_of(pid: u32, folder: &Path) -> bool {
    let variable = format!("PACELINE_DIR={}", folder.join(paceline_supervisor::WORK_FOLDER).display());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

/// The pidfd first, the check second: if the check holds, the pidfd is of the process that was checked.
fn kill_if(pid: u32, check: impl Fn(u32) -> bool) {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(Ok(handle)) = raw.map(|raw| pidfd_open(raw, PidfdFlags::empty())) else { return };
    if check(pid) {
        _ = pidfd_send_signal(handle, Signal::KILL);
    }
}

fn all_processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Writes the end that the supervisor did not write. If it did after all, that one stands.
pub fn write_end(folder: &Path, orphan: &Orphan) -> std::io::Result<()> {
    let mut how = String::new();
    if let Ok(note) = fs::read_to_string(folder.join(FAILURE_NOTE)) {
        how += &format!(", saying: {note};");
    }
    publish(folder, &end(&how, orphan)).map(drop)
}

fn end(how: &str, orphan: &Orphan) -> Ended {
    let now = now_unix_ms();
    let (cause, when) = match orphan {
        Orphan { holder: None, .. } => (Cause::NodeFault, "before it took the order"),
        Orphan { running: None, .. } => (Cause::SupervisorDied, "before it said that the task runs"),
        Orphan { .. } => (Cause::SupervisorDied, "and the task was killed"),
    };
    let message = format!("the supervisor died{how} {when}");
    let Some(running) = &orphan.running else {
        let outcome = Outcome::Code(CODE_NOT_EXECUTED);
        return Ended { outcome, cause, message, pid: 0, started_unix_ms: now, ended_unix_ms: now };
    };
    let started_unix_ms = running.started_unix_ms;
    Ended {
        outcome: Outcome::Signal(SIGKILL),
        cause,
        message,
        pid: running.task.pid,
        started_unix_ms,
        ended_unix_ms: now.max(started_unix_ms),
    }
}

/// The end of an attempt that this node cannot carry out, in its records as if a supervisor had said it.
pub fn refuse(folder: &Path, attempt: &str, message: &str) -> std::io::Result<Ended> {
    take(folder, attempt)?;
    let (now, outcome) = (now_unix_ms(), Outcome::Code(CODE_NOT_EXECUTED));
    let message = message.to_owned();
    let cause = Cause::LaunchFailed;
    let ended = Ended { outcome, cause, message, pid: 0, started_unix_ms: now, ended_unix_ms: now };
    publish(folder, &ended)?;
    Ok(ended)
}

/// Publishes an intent that nobody holds, so that no supervisor on its way can start the attempt.
/// False: one has.
pub fn take(folder: &Path, attempt: &str) -> std::io::Result<bool> {
    let intent = Intent { attempt: attempt.to_owned(), holder: None, control: None, uid: None, groups: None };
    Ledger::take(folder, &intent).map(|ledger| ledger.is_some())
}

/// Takes an attempt of which no supervisor was seen. False: one has come since and taken it, which is to be seen.
pub fn take_unheld(folder: &Path, attempt: &str) -> std::io::Result<bool> {
    if take(folder, attempt)? {
        return Ok(true);
    }
    let intent = read::<Intent>(folder).map_err(std::io::Error::other)?;
    Ok(intent.is_some_and(|intent| intent.holder.is_none()))
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_a_supervisor_took_after_the_look_is_not_ours_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let holder = ProcessIdentity::own("this boot").unwrap();
        let (attempt, holder) = ("42-0.7.1".into(), Some(holder));
        let intent = Intent { attempt, holder, control: Some(3), uid: None, groups: None };
        assert!(Ledger::take(folder.path(), &intent).unwrap().is_some());
        assert!(!take_unheld(folder.path(), "42-0.7.1").unwrap());
    }

    #[test]
    fn an_attempt_that_nobody_holds_is_taken_and_stays_ours() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert!(take_unheld(folder.path(), "42-0.7.1").unwrap());
        }
    }
}
