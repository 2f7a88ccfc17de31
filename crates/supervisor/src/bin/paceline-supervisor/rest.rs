//! What a task leaves behind: processes in other groups and sessions, and zombies.
//!
//! We are the subreaper, so whatever loses its parent becomes our child. A child that was not reaped keeps
//! its id, so killing our children by id is safe; their children become ours, and so on until there are none.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use paceline_supervisor::ProcessStat;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::groups::Groups;

/// Killed processes go within milliseconds, unless they hang in a driver or a dead file server.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at processes that are being killed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a task left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// No process.
    Nothing,
    /// Processes, which are gone now.
    Killed,
    /// Processes that cannot be killed.
    Stuck,
}

/// Kills and reaps everything that is left.
pub fn end(groups: &Groups) -> Rest {
    let begun = Instant::now();
    let mut rest = Rest::Nothing;
    while !reap_all() {
        if begun.elapsed() > GONE_WITHIN {
            return Rest::Stuck;
        }
        rest = Rest::Killed;
        groups.kill_all();
        children().into_iter().for_each(|child| _ = kill_process(child, Signal::KILL));
        thread::sleep(LOOK_EVERY);
    }
    rest
}

/// Reaps what has ended, except the task itself. Called now and then while the task runs.
pub fn reap_strays(task: Pid) {
    while let Some(pid) = peek() {
        if pid == task {
            return;
        }
        _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// A zombie among our children that is not the task, left as it is.
fn peek() -> Option<Pid> {
    children().into_iter().find(|child| {
        let pid = u32::try_from(child.as_raw_nonzero().get()).unwrap_or_default();
        ProcessStat::of(pid).is_ok_and(|stat| stat.dead)
    })
}

/// True when no child is left.
fn reap_all() -> bool {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Our children: from the kernel's list, or by a look at every process where it keeps none.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(parse_pid).collect(),
        Err(_) => all_processes().unwrap_or_default().into_iter().filter(|pid| is_child(*pid, own)).collect(),
    }
}

fn all_processes() -> io::Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| parse_pid(entry.ok()?.file_name().to_str()?)).collect())
}

fn is_child(pid: Pid, parent: u32) -> bool {
    let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
    ProcessStat::of(pid).is_ok_and(|stat| stat.parent == parent)
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}
