//! One attempt from its order to its exit record.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use paceline_supervisor::{
    Cause, Ended, Intent, Order, Outcome, ProcessIdentity, RecordError, Stop, publish, read,
};
use rustix::fs::Mode;
use rustix::process::Signal;

use crate::control::Control;
use crate::groups::Groups;
use crate::news::{Start, tell_end};
use crate::spawn::{Task, spawn};
use crate::watch::{Watched, watch};

/// The supervisor's own files are nobody else's business.
const OWN_UMASK: u32 = 0o077;

/// The exit code that shells give for a command that was not found or could not be executed.
const CODE_NOT_EXECUTED: i32 = 127;

/// The attempt's folder; the agent started us in it.
const HERE: &str = ".";

/// Takes the order in this folder and sees it through. An attempt that somebody else took is theirs.
///
/// # Errors
/// When the order cannot be taken. From the intent on, failures are in the exit record.
pub fn supervise(name: &str) -> io::Result<()> {
    let here = Path::new(HERE);
    let order = read::<Order>(here).map_err(described)?;
    let order = order.ok_or_else(|| io::Error::other("there is no order in this folder"))?;
    if order.attempt != name {
        return Err(io::Error::other(format!("the order in this folder is for {}", order.attempt)));
    }
    detach()?;
    let control = Control::open()?;
    let holder = Some(ProcessIdentity::own(&order.boot)?);
    let intent = Intent { attempt: order.attempt.clone(), holder, control: Some(control.number()) };
    if !publish(here, &intent)? {
        return Ok(());
    }
    let ended = run(here, &order, &control);
    let ended = ended.unwrap_or_else(|error| not_started(Cause::NodeFault, &error.to_string()));
    tell_end(here, &order.attempt, &ended)
}

/// Own session, so that no terminal's signal meant for the agent arrives here; and what the task leaves
/// behind becomes our child, so that nothing of it escapes.
fn detach() -> io::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(OWN_UMASK));
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// An error is the machine's: nothing was executed.
fn run(here: &Path, order: &Order, control: &Control) -> io::Result<Ended> {
    // The intent says where our pipe is: a stop that was asked for earlier is on disk, a later one will wake us.
    if read::<Stop>(here).map_err(described)?.is_some() {
        return Ok(not_started(Cause::Stopped, "stopped before it was started"));
    }
    let groups = Groups::create(order)?;
    let ended = execute(here, order, &groups, control);
    let left = groups.remove();
    Ok(Ended { message: joined(&ended.message, left.as_deref()), ..ended })
}

fn execute(here: &Path, order: &Order, groups: &Groups, control: &Control) -> Ended {
    let mut task = match spawn(here, order, groups) {
        Ok(task) => task,
        Err(error) => return not_started(error.cause(), &error.to_string()),
    };
    let started_unix_ms = now_unix_ms();
    let mut start = Start::new(here, order, task.pid_u32(), started_unix_ms);
    match watch(here, order, groups, control, &mut task, &mut start) {
        Ok(watched) => ended(&task, &watched, groups, started_unix_ms),
        Err(error) => unwatched(&task, &error, started_unix_ms),
    }
}

/// We failed and killed the task for it: the same to the cell as if we had died.
fn unwatched(task: &Task, error: &io::Error, started_unix_ms: u64) -> Ended {
    Ended {
        outcome: Outcome::Signal(Signal::KILL.as_raw()),
        pid: task.pid_u32(),
        started_unix_ms,
        ..not_started(Cause::SupervisorDied, &format!("the supervisor could not go on: {error}"))
    }
}

/// A stop or a time limit explains whatever came after it; a success needs no explanation.
fn ended(task: &Task, watched: &Watched, groups: &Groups, started_unix_ms: u64) -> Ended {
    let kills = if watched.outcome == Outcome::Code(0) { 0 } else { groups.oom_kills() };
    let cause = match watched.asked {
        Some(cause) => cause,
        None if kills > 0 => Cause::OutOfMemory,
        None => Cause::Exited,
    };
    let memory = (kills > 0).then(|| groups.describe_oom(kills));
    let message = joined(memory.as_deref().unwrap_or_default(), watched.note.as_deref());
    let outcome = watched.outcome;
    let ended_unix_ms = now_unix_ms().max(started_unix_ms);
    Ended { outcome, cause, message, pid: task.pid_u32(), started_unix_ms, ended_unix_ms }
}

fn not_started(cause: Cause, message: &str) -> Ended {
    let now = now_unix_ms();
    Ended {
        outcome: Outcome::Code(CODE_NOT_EXECUTED),
        cause,
        message: message.to_owned(),
        pid: 0,
        started_unix_ms: now,
        ended_unix_ms: now,
    }
}

/// With what is wrong in the file, not only which one it is.
fn described(error: RecordError) -> io::Error {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    io::Error::other(format!("{error}{source}"))
}

/// Two remarks as one text.
fn joined(first: &str, second: Option<&str>) -> String {
    let parts = [first, second.unwrap_or_default()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
