//! Processes of the demo's cell: which run, which does a task's pid belong to, and ending one for good.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::wait::until;

/// From SIGKILL until a process is gone: the kernel may have to write out its pages first.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Looks for what is left in the end, with a pause after each: two seconds are plenty for SIGKILL.
const LOOKS: usize = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Kills a part of the cell in this folder with SIGKILL.
pub fn kill(pid: u32, dir: &Path, name: &str) -> Result<()> {
    // A pid is given out again; the folder on the command line tells whose it is.
    ensure!(
        belongs(pid, &dir.to_string_lossy()).is_some(),
        "process {pid} is not {name} of {}",
        dir.display()
    );
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid is a positive number")?;
    kill_process(raw, Signal::KILL).with_context(|| format!("could not kill {name}, process {pid}"))
}

/// Returns once a process that was killed is gone.
pub fn wait_gone(pid: u32, interrupted: &AtomicBool) -> Result<()> {
    until(&format!("process {pid} is gone after SIGKILL"), GONE_LIMIT, interrupted, || Ok(!runs(pid)))
}

/// Whether a process of this number runs. One that has ended and was not waited for does not.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

/// Kills everything that is left of the cell in this folder; an error names it.
pub fn end_all(dir: &Path) -> Result<()> {
    let mut named: Vec<String> = Vec::new();
    let mut left = of_cell(dir);
    // Killing a supervisor ends its task; what that leaves is seen on the next look.
    for _ in 0..LOOKS {
        if left.is_empty() {
            break;
        }
        for (pid, line) in &left {
            named.push(format!("  {} {line}", pid.as_raw_nonzero()));
            // One that ends by itself in this moment is as good as killed.
            let _ = kill_process(*pid, Signal::KILL);
        }
        std::thread::sleep(LOOK_PAUSE);
        left = of_cell(dir);
    }
    if named.is_empty() {
        return Ok(());
    }
    named.sort();
    named.dedup();
    bail!("no process of the cell is left: expected none, found and killed:\n{}", named.join("\n"))
}

/// Everything that runs for the cell in this folder, with a word on what it is.
fn of_cell(dir: &Path) -> Vec<(Pid, String)> {
    let dir = dir.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = |pid: u32| Some((Pid::from_raw(i32::try_from(pid).ok()?)?, belongs(pid, &dir)?));
    pids.filter_map(|pid| ours(pid).filter(|_| runs(pid))).collect()
}

/// The command line of a process of the cell: roles and supervisors have the cell's folder on it, tasks and what
/// they started have it in their environment. Somebody who reads the cell's logs is none of ours.
fn belongs(pid: u32, dir: &str) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let is_paceline = program.is_some_and(|program| {
        program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("paceline"))
    });
    let works_here = || {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let prefix = format!("PACELINE_DIR={dir}");
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(prefix.as_bytes()))
    };
    ((is_paceline && line.contains(dir)) || works_here()).then_some(line)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_task_of_the_cell_is_found_killed_and_named() {
        let dir = std::env::temp_dir().join(format!("xtask-processes-{}", std::process::id()));
        let mut command = Command::new("/bin/sleep");
        let mut child = command.arg("60").env("PACELINE_DIR", dir.join("n1/work")).spawn().unwrap();
        // Until it has executed, its environment is ours.
        while of_cell(&dir).is_empty() {
            std::thread::yield_now();
        }
        assert!(runs(child.id()));
        assert!(kill(std::process::id(), &dir, "m1").is_err());
        kill(child.id(), &dir, "n1").unwrap();
        wait_gone(child.id(), &AtomicBool::new(false)).unwrap();
        child.wait().unwrap();
        let mut child = command.spawn().unwrap();
        while of_cell(&dir).is_empty() {
            std::thread::yield_now();
        }
        let error = end_all(&dir).unwrap_err().to_string();
        assert!(error.contains("sleep 60"), "{error}");
        assert!(!runs(child.id()));
        child.wait().unwrap();
        end_all(&dir).unwrap();
    }
}
