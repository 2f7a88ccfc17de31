//! Starting and ending the processes of a development cell.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, setpriority_process};
use tokio::process::{Child, Command};

use super::plan::{Part, Plan, loopback};

/// Looks at a process that has no words yet, a millisecond apart: executing a program takes far less.
const EXEC_LOOKS: u32 = 100;
const EXEC_PAUSE: Duration = Duration::from_millis(1);

/// Of agents and their tasks: a tenth of a master's share where both want the core, all of it where masters rest.
const AGENT_NICENESS: i32 = 10;

/// How a part is started.
#[derive(Debug)]
pub enum Tie {
    /// It ends when this process ends, however this process ends.
    ToThisProcess,
    /// It ends when another process ends, which holds the other end of this pipe.
    ToPipe(File),
    /// It goes on by itself.
    None,
}

/// Starts one part; its output goes to its log file.
pub fn start(dir: &Path, plan: &Plan, part: Part, tie: Tie) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(&program);
    arguments(&mut command, dir, plan, part)?;
    let log = open_log(dir, part)?;
    command.stdout(log.try_clone().context("cannot use the log file twice")?).stderr(log);
    match tie {
        // The part ends when its standard input does: a pipe that this process holds does so even after SIGKILL.
        Tie::ToThisProcess => command.arg("--exit-with-stdin").stdin(Stdio::piped()),
        Tie::ToPipe(pipe) => command.arg("--exit-with-stdin").stdin(pipe),
        Tie::None => command.stdin(Stdio::null()),
    };
    // A group of its own: Ctrl-C reaches this process only, which then ends the parts in order.
    command.process_group(0).kill_on_drop(false);
    let child = command.spawn();
    let child = child.with_context(|| format!("cannot start {} ({})", part.name(), program.display()))?;
    if let Part::Agent(_) = part {
        step_back(&child);
    }
    Ok(child)
}

/// A storm of short tasks on the same few cores must not take the masters' heartbeats from them: each one that comes
/// late costs an election. Supervisors and tasks inherit it.
fn step_back(agent: &Child) {
    let pid = agent.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = setpriority_process(Some(pid), AGENT_NICENESS)
    {
        tracing::debug!(%error, ?pid, "the agent keeps its priority");
    }
}

fn open_log(dir: &Path, part: Part) -> Result<File> {
    let path = part.log_file(dir);
    fs::create_dir_all(path.parent().context("a log file has a folder")?)?;
    let open = OpenOptions::new().create(true).append(true).open(&path);
    open.with_context(|| format!("cannot open {}", path.display()))
}

fn arguments(command: &mut Command, dir: &Path, plan: &Plan, part: Part) -> Result<()> {
    let credentials = part.credentials_folder(dir);
    let data = part.data_folder(dir);
    let masters = |command: &mut Command| {
        for address in plan.api_addresses() {
            command.arg("--master").arg(address);
        }
    };
    let missing = || format!("the plan has no {}", part.name());
    match part {
        Part::Master(id) => {
            let master = plan.masters.iter().find(|master| master.id == id).with_context(missing)?;
            command.arg("master").arg("--credentials").arg(credentials).arg("--data").arg(data);
            if master.joins {
                command.arg("--join");
            } else {
                command.arg("--raft-id").arg(id.to_string());
            }
            command.arg("--api").arg(loopback(master.api_port).to_string());
            command.arg("--peer").arg(loopback(master.peer_port).to_string());
            for (option, bytes) in
                [("--snapshot-after-log", plan.log.snapshot_after_bytes), ("--log-tail", plan.log.tail_bytes)]
            {
                if let Some(bytes) = bytes {
                    command.arg(option).arg(bytes.to_string());
                }
            }
            if id == 1 && !master.joins {
                command.arg("--bootstrap");
                for other in plan.masters.iter().filter(|other| other.id != id && !other.joins) {
                    let (peer, api) = (loopback(other.peer_port), loopback(other.api_port));
                    command.arg("--founder").arg(format!("{},{peer},{api}", Part::Master(other.id).name()));
                }
            }
        }
        Part::Shard(id) => {
            let shard = plan.shards.iter().find(|shard| shard.id == id).with_context(missing)?;
            command.arg("shard").arg("--credentials").arg(credentials);
            command.arg("--listen").arg(loopback(shard.port).to_string());
            masters(command);
        }
        Part::Agent(id) => {
            let agent = plan.agents.iter().find(|agent| agent.id == id).with_context(missing)?;
            command.arg("agent").arg("--credentials").arg(credentials).arg("--data").arg(data);
            command.arg("--listen").arg(loopback(agent.port).to_string());
            command.arg("--cpu").arg(format!("{}m", agent.cpu_milli));
            command.arg("--memory").arg(agent.memory_bytes.to_string());
            for shard in &plan.shards {
                command.arg("--shard").arg(loopback(shard.port).to_string());
            }
            masters(command);
        }
    }
    Ok(())
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Ends a process that did not end when it was asked to.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, ?pid, "the process is gone");
    }
}

/// Whether a pid is a part of the cell in this folder: pids are used again, names on the command line tell.
pub fn is_part(pid: u32, dir: &Path, part: Part) -> bool {
    let folder = part.folder(dir).display().to_string();
    for _ in 0..EXEC_LOOKS {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        if !line.is_empty() {
            return line.split(|byte| *byte == 0).any(|word| word.starts_with(folder.as_bytes()));
        }
        // Between the kernel's letting go of the old program and its having the new one's words there are none.
        if has_ended(pid) {
            return false;
        }
        std::thread::sleep(EXEC_PAUSE);
    }
    false
}

/// Whether a process has ended; one that was not waited for yet has.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, None | Some(None | Some('Z' | 'X')))
}
