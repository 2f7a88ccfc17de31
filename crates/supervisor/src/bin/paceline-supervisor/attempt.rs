//! One attempt from its order to its exit record.

use std::error::Error;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use paceline_supervisor::nursery::Answer;
use paceline_supervisor::{
    Cause, Ended, FAILURE_NOTE, Intent, Ledger, Order, Outcome, ProcessIdentity, RecordError, Stop, read,
};
use rustix::fs::Mode;
use rustix::process::Signal;

use crate::control::Control;
use crate::groups::Groups;
use crate::lease::Held;
use crate::news::{Start, tell_end};
use crate::spawn::{Task, spawn};
use crate::watch::{Watched, watch};

/// The supervisor's own files are nobody else's business.
const OWN_UMASK: u32 = 0o077;

/// The exit code that shells give for a command that was not found or could not be executed.
const CODE_NOT_EXECUTED: i32 = 127;

/// The attempt's folder, once we have gone there.
const HERE: &str = ".";

/// Takes the attempt of an order, answers, and sees it through. An attempt that somebody else took is theirs.
///
/// # Errors
/// When the attempt cannot be taken, or its end cannot be told. From the intent on, failures are in the exit record.
pub fn supervise(order: &Order, answers: File) -> io::Result<()> {
    let taken = take(order);
    answer(answers, order, &taken);
    let Some((mut ledger, control, _)) = taken? else { return Ok(()) };
    panic::set_hook(Box::new(|panic| note(&panic.to_string())));
    let ended = run(order, &mut ledger, &control);
    let ended = ended.unwrap_or_else(|error| not_started(Cause::NodeFault, &error.to_string()));
    tell_end(&ledger, &order.attempt, &ended).inspect_err(|error| note(&error.to_string()))
}

type Taken = (Ledger, Control, ProcessIdentity);

/// Moves into the attempt's folder and publishes the intent. Nothing: somebody else has.
fn take(order: &Order) -> io::Result<Option<Taken>> {
    // For people who look at processes: the command line of all supervisors is their nursery's.
    rustix::thread::set_name(&CString::new(order.attempt.as_str())?)?;
    std::env::set_current_dir(&order.folder)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot use {}: {e}", order.folder)))?;
    detach()?;
    let control = Control::open()?;
    let holder = ProcessIdentity::own(&order.boot)?;
    let intent = Intent {
        attempt: order.attempt.clone(),
        holder: Some(holder.clone()),
        control: Some(control.number()),
        uid: order.user.map(|user| user.uid),
        groups: order
            .kept_groups
            .as_ref()
            .map(|kept| kept.name.clone())
            .filter(|name| *name != order.attempt),
    };
    let Some(ledger) = Ledger::take(Path::new(HERE), &intent)? else { return Ok(None) };
    // The agent may have given up on us and moved the folder away after we had gone there.
    let ours = ledger.is_found_in(Path::new(&order.folder))?;
    Ok(ours.then_some((ledger, control, holder)))
}

/// An agent that has gone does not hear it, and finds the intent when it comes back.
fn answer(mut answers: File, order: &Order, taken: &io::Result<Option<Taken>>) {
    let answer = match taken {
        Ok(Some((_, _, holder))) => Answer::Taken { pid: holder.pid, start_ticks: holder.start_ticks },
        Ok(None) => Answer::Theirs,
        Err(error) => Answer::Failed(error.to_string()),
    };
    _ = answers.write_all(answer.line(&order.attempt).as_bytes());
}

/// Own session, so that the end of the nursery's is none of ours; and what the task leaves behind becomes our
/// child, so that nothing of it escapes.
fn detach() -> io::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(OWN_UMASK));
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The agent reads it when it finds no exit record. There is nobody to tell if that fails too.
fn note(failure: &str) {
    _ = fs::write(FAILURE_NOTE, failure);
}

/// An error is the machine's: nothing was executed.
fn run(order: &Order, ledger: &mut Ledger, control: &Control) -> io::Result<Ended> {
    let here = Path::new(HERE);
    // The intent says where our pipe is: a stop that was asked for earlier is on disk, a later one will wake us.
    if read::<Stop>(here).map_err(described)?.is_some() {
        return Ok(not_started(Cause::Stopped, "stopped before it was started"));
    }
    let mut held = Held::of(order)?;
    if let Some(held) = &mut held
        && !held.wait(here, control)?
    {
        return Ok(not_started(Cause::Stopped, "stopped before it held a lease"));
    }
    let mut groups = Groups::create(order)?;
    let (ended, clean) = execute(here, order, ledger, &mut groups, control, held.as_mut());
    let left = groups.finish(clean);
    Ok(Ended { message: joined(&ended.message, left.as_deref()), ..ended })
}

/// The end, and whether the task went without leaving a process behind.
fn execute(
    here: &Path,
    order: &Order,
    ledger: &mut Ledger,
    groups: &mut Groups,
    control: &Control,
    held: Option<&mut Held>,
) -> (Ended, bool) {
    let mut task = match spawn(here, order, groups) {
        Ok(task) => task,
        Err(error) => return (not_started(error.cause(), &error.to_string()), false),
    };
    let started_unix_ms = now_unix_ms();
    let mut start = Start::new(ledger, order, task.pid_u32(), started_unix_ms);
    match watch(here, order, groups, control, held, &mut task, &mut start) {
        Ok(watched) => (ended(&task, &watched, groups, started_unix_ms), watched.clean),
        Err(error) => (unwatched(&task, &error, started_unix_ms), false),
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

/// A stop, a time limit or a lease explains whatever came after it; a success needs no explanation.
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
