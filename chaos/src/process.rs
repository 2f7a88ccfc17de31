//! Processes by pid and start time, so that a pid that was given to somebody else is never taken for the old one.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// One process for ever: the kernel does not give out the same pair twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    started_ticks: u64,
}

impl Process {
    /// The process of this number, where one runs. One that has ended and was not waited for does not run.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started_ticks = started_ticks(&stat)?;
        Some(Self { pid, started_ticks })
    }

    /// Whether it still runs.
    pub fn runs(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// The process that started it, or took it over.
    pub fn parent(self) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Self::find(parent).filter(|_| self.runs())
    }

    /// Ends it now, without asking. One that has ended meanwhile is left alone.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to end.
    pub fn terminate(self) {
        self.signal(Signal::TERM);
    }

    /// Takes the processor away from it: it neither runs nor ends until it is resumed.
    pub fn pause(self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub fn resume(self) {
        self.signal(Signal::CONT);
    }

    /// Whether it is paused, all threads of it.
    pub fn is_paused(self) -> bool {
        self.runs() && state(self.pid) == Some('T')
    }

    fn signal(self, signal: Signal) {
        if self.runs()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended since the look; that is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The state letter in `/proc/PID/stat`.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

/// The start time in `/proc/PID/stat`; nothing for a process that has ended.
fn started_ticks(stat: &str) -> Option<u64> {
    /// Position after the name, which is in parentheses and may hold anything: state is 0, start time 19.
    const START_TIME: usize = 19;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(START_TIME - 1)?.parse().ok()
}

/// Everything that runs for the cell in this folder: roles and supervisors by their command line, tasks and what
/// they started by their environment. Each with a word on what it is.
pub fn of_cell(dir: &Path) -> Vec<(Process, String)> {
    let dir = dir.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((Process::find(pid)?, belongs(pid, &dir)?))).collect()
}

fn belongs(pid: u32, dir: &str) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let is_ours = program.is_some_and(|program| {
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("paceline"))
    });
    let works_here = || {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let prefix = format!("PACELINE_DIR={dir}");
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(prefix.as_bytes()))
    };
    ((is_ours && line.contains(dir)) || works_here()).then_some(line)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_and_gone_once_it_is_killed_even_before_anybody_waits() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().expect("started");
        let process = Process::find(child.id()).expect("runs");
        assert!(process.runs());
        process.kill();
        // Not waited for yet: a zombie at most.
        while process.runs() {
            std::thread::yield_now();
        }
        child.wait().expect("waited for");
    }

    #[test]
    fn a_paused_process_neither_ends_nor_goes_until_it_is_resumed() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().expect("started");
        let process = Process::find(child.id()).expect("runs");
        process.pause();
        while !process.is_paused() {
            std::thread::yield_now();
        }
        process.terminate();
        assert!(process.runs(), "SIGTERM waits until it is resumed");
        process.resume();
        assert!(!child.wait().expect("waited for").success());
        assert!(!process.is_paused());
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse_the_fields() {
        let fields: Vec<String> = (1..=30).map(|field| field.to_string()).collect();
        let stat = |state: &str| format!("77 (a ) b) {state} {}", fields.join(" "));
        assert_eq!(started_ticks(&stat("S")), Some(19));
        assert_eq!(started_ticks(&stat("Z")), None);
    }

    #[test]
    fn a_task_is_known_by_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("/bin/sleep");
        let mut child =
            command.arg("60").env("PACELINE_DIR", dir.path().join("work")).spawn().expect("started");
        let seen = of_cell(dir.path());
        child.kill().expect("killed");
        child.wait().expect("waited for");
        assert_eq!(seen.iter().map(|(process, _)| process.pid).collect::<Vec<_>>(), [child.id()]);
    }
}
