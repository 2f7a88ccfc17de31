//! Starting the task: user, groups, limits, pipes, and what goes wrong there, in words.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use paceline_supervisor::{Cause, Order, WORK_FOLDER};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::groups::Groups;
use crate::rest;

/// The task's user passes through the attempt's folder to its own and sees nothing on the way.
const ATTEMPT_FOLDER_MODE: u32 = 0o711;

/// The folder that the task runs in is its own.
const WORK_FOLDER_MODE: u32 = 0o700;

/// A task that runs.
pub struct Task {
    /// Its id; it leads a process group of the same number.
    pub pid: Pid,
    /// Readable when it has ended.
    pub ended: OwnedFd,
    /// Taken by the watch.
    pub stdout: Option<OwnedFd>,
    /// Taken by the watch.
    pub stderr: Option<OwnedFd>,
}

impl Task {
    /// The id as records have it.
    pub fn pid_u32(&self) -> u32 {
        u32::try_from(self.pid.as_raw_nonzero().get()).expect("the kernel's process ids are positive")
    }
}

/// Why there is no task. Which of the two it is decides whether the job is to blame.
#[derive(Debug)]
pub enum SpawnError {
    /// The command of the order cannot be executed, here or on any node like this one.
    Command(String),
    /// The machine does not give what it takes: memory, a process, an open file, a group.
    Machine(io::Error),
}

impl SpawnError {
    /// The cause in the exit record.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Command(_) => Cause::LaunchFailed,
            Self::Machine(_) => Cause::NodeFault,
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(message) => f.write_str(message),
            Self::Machine(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

/// Executes the command of the order.
///
/// # Errors
/// With a message that names the command and the kernel's answer.
pub fn spawn(folder: &Path, order: &Order, groups: &mut Groups) -> Result<Task, SpawnError> {
    let Some((program, arguments)) = order.run.split_first() else {
        return Err(SpawnError::Command("the order names no command".to_owned()));
    };
    make_work_folder(folder, order)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder.join(WORK_FOLDER)).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(user) = order.user {
        // Setting the user from root also drops the supplementary groups.
        command.uid(user.uid).gid(user.gid);
    }
    before_exec(&mut command, groups.take_join_files(), order.umask);
    let child = command.spawn().map_err(|error| {
        let message = explain(order, program, &error);
        match is_of_the_command(&error) {
            true => SpawnError::Command(message),
            false => SpawnError::Machine(io::Error::new(error.kind(), message)),
        }
    })?;
    task(child, groups)
}

/// Whether the kernel's answer is about the program and its arguments. What is not in the list is about the
/// machine: a job must not fail for an answer that nobody thought of.
fn is_of_the_command(error: &io::Error) -> bool {
    let of_the_command = [
        Errno::NOENT,
        Errno::ACCESS,
        Errno::NOEXEC,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::TOOBIG,
        Errno::INVAL,
        Errno::TXTBSY,
        Errno::LIBBAD,
    ];
    match Errno::from_io_error(error) {
        Some(answer) => of_the_command.contains(&answer),
        // An argument with a zero byte never reaches the kernel.
        None => error.kind() == io::ErrorKind::InvalidInput,
    }
}

/// A task that cannot be watched must not run.
fn task(mut child: Child, groups: &Groups) -> Result<Task, SpawnError> {
    let pid = Pid::from_child(&child);
    let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
        // Not reaped yet, so the id is the child's.
        _ = rustix::process::kill_process_group(pid, Signal::KILL);
        rest::end(groups);
        io::Error::from(error)
    })?;
    Ok(Task {
        pid,
        ended,
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
    })
}

fn make_work_folder(folder: &Path, order: &Order) -> io::Result<()> {
    let work = folder.join(WORK_FOLDER);
    match DirBuilder::new().mode(WORK_FOLDER_MODE).create(&work) {
        // The folder served an attempt of the same user before, and is as that one got it.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_ready(&work, order) => return Ok(()),
        other => other?,
    }
    let Some(user) = order.user else { return Ok(()) };
    fs::set_permissions(folder, Permissions::from_mode(ATTEMPT_FOLDER_MODE))?;
    chown(&work, Some(user.uid), Some(user.gid))
}

/// Whether it is there and its owner's. Only root gives folders to others.
fn is_ready(work: &Path, order: &Order) -> bool {
    let is_owner = |found: &fs::Metadata| match order.user {
        Some(user) => (found.uid(), found.gid()) == (user.uid, user.gid),
        None => found.uid() == rustix::process::geteuid().as_raw(),
    };
    fs::symlink_metadata(work).is_ok_and(|found| found.is_dir() && is_owner(&found))
}

#[expect(unsafe_code, reason = "std offers no other way to run code between fork and exec")]
fn before_exec(command: &mut Command, groups: Vec<File>, umask: u32) {
    let supervisor = rustix::process::getpid();
    // SAFETY: the closure runs in a forked copy of this single-threaded process and makes system calls only,
    // through rustix and without libc: it allocates nothing, takes no lock and touches no shared state.
    unsafe {
        command.pre_exec(move || enter(&groups, umask, supervisor));
    }
}

/// In the child, as the task's user, just before exec: groups first, so that nothing of the task runs
/// outside its limits.
fn enter(groups: &[File], umask: u32, supervisor: Pid) -> io::Result<()> {
    for group in groups {
        rustix::io::write(group, b"0")?;
    }
    rustix::process::umask(Mode::from_raw_mode(umask));
    // So that no set-user-id program gives a task more rights than its user, nor takes it out of our reach.
    rustix::thread::set_no_new_privs(true)?;
    // After the change of user, which would clear it: the task does not outlive its supervisor.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    match rustix::process::getppid() {
        Some(parent) if parent == supervisor => Ok(()),
        _ => Err(rustix::io::Errno::SRCH.into()),
    }
}

fn explain(order: &Order, program: &str, error: &io::Error) -> String {
    let user = order.user.map(|user| format!(" as user {} group {}", user.uid, user.gid)).unwrap_or_default();
    let script =
        error.kind() == io::ErrorKind::NotFound && program.contains('/') && Path::new(program).exists();
    let hint = if script { ": the file is there, its interpreter is not" } else { "" };
    format!("cannot execute `{program}`{user}: {error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_the_program_is_the_jobs_and_everything_else_the_machines() {
        let nul = Command::new("a\0b").spawn().unwrap_err();
        assert!(is_of_the_command(&nul));
        for answer in [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::TOOBIG] {
            assert!(is_of_the_command(&answer.into()), "{answer}");
        }
        for answer in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::IO] {
            assert!(!is_of_the_command(&answer.into()), "{answer}");
        }
    }
}
