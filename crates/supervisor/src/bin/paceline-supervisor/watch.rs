//! While the task runs: output, time limit, stop, lease; and the clearing up when it has ended.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use paceline_supervisor::ending::{Act, Ending};
use paceline_supervisor::lease::Decision;
use paceline_supervisor::logs::LogStream;
use paceline_supervisor::{Cause, Order, Outcome, Stop, read};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgid, kill_process, kill_process_group, waitid,
};

use crate::control::Control;
use crate::groups::Groups;
use crate::lease::Held;
use crate::news::Start;
use crate::output::Output;
use crate::rest::{self, Rest};
use crate::spawn::Task;

/// How often zombies of processes that the task abandoned are reaped while it runs. They cost nothing but
/// their ids. As often the stop record is read without a wake-up, for one can be lost.
const REAP_EVERY: Duration = Duration::from_secs(10);

/// How it went.
pub struct Watched {
    /// How the task ended.
    pub outcome: Outcome,
    /// Why we ended it, when we did.
    pub asked: Option<Cause>,
    /// What else a person should know.
    pub note: Option<String>,
    /// It left no process behind.
    pub clean: bool,
}

/// Returns when the task has ended and nothing of it is left.
///
/// # Errors
/// When the kernel refuses what it must not; the task and what is left of it are killed then too.
pub fn watch(
    folder: &Path,
    order: &Order,
    groups: &Groups,
    control: &Control,
    held: Option<&mut Held>,
    task: &mut Task,
    start: &mut Start<'_>,
) -> io::Result<Watched> {
    let mut buffer = Vec::new();
    let mut ending = Ending::new(order.time_limit_ms, order.grace_ms);
    let mut outputs = Vec::new();
    let followed = open_outputs(folder, order, task).and_then(|opened| {
        outputs = opened;
        follow(folder, &mut ending, groups, control, held, task, &mut outputs, &mut buffer, start)
    });
    kill(task.pid);
    let outcome = reap(task.pid)?;
    let rest = rest::end(groups);
    outputs.iter_mut().for_each(|output| output.finish(&mut buffer));
    let note = note(rest, followed?, &outputs);
    Ok(Watched { outcome, asked: ending.cause(), note, clean: rest == Rest::Nothing })
}

/// Until the task has ended. Gives what was wrong with the records, if anything.
#[expect(clippy::too_many_arguments, reason = "all that a task can be waited for, in one loop")]
fn follow(
    folder: &Path,
    ending: &mut Ending,
    groups: &Groups,
    control: &Control,
    mut held: Option<&mut Held>,
    task: &Task,
    outputs: &mut [Output],
    buffer: &mut Vec<u8>,
    start: &mut Start<'_>,
) -> io::Result<Option<String>> {
    let began = Instant::now();
    let mut damage = None;
    let mut reaped = began;
    loop {
        let woken = wait(task, control, held.as_deref(), outputs, timeout(ending, began, start))?;
        outputs.iter_mut().for_each(|output| output.pump(buffer));
        if woken.ended {
            return Ok(damage);
        }
        start.tell();
        let look = reaped.elapsed() >= REAP_EVERY;
        if woken.control {
            control.clear()?;
        }
        if woken.control || look {
            damage = heed(folder, ending, elapsed_ms(began)).or(damage);
            damage = held.as_mut().and_then(|held| held.look(folder).err()).map(|e| e.to_string()).or(damage);
        }
        if let Some(held) = &mut held {
            heed_lease(held, ending, elapsed_ms(began))?;
        }
        match ending.act(elapsed_ms(began)) {
            Act::Wait => {}
            Act::Terminate => terminate(task.pid),
            // Also what is in other process groups: the task itself may hang in the kernel and not go, and what it
            // left behind is looked for only when it has gone.
            Act::Kill => {
                kill(task.pid);
                groups.kill_all();
            }
        }
        if look {
            rest::reap_strays(task.pid);
            reaped = Instant::now();
        }
    }
}

fn open_outputs(folder: &Path, order: &Order, task: &mut Task) -> io::Result<Vec<Output>> {
    let pipes = [(LogStream::Stdout, task.stdout.take()), (LogStream::Stderr, task.stderr.take())];
    let open = pipes.into_iter().filter_map(|(stream, pipe)| Some((stream, pipe?)));
    open.map(|(stream, pipe)| Output::new(folder, stream, order.logs, pipe)).collect()
}

struct Woken {
    ended: bool,
    control: bool,
}

fn wait(
    task: &Task,
    control: &Control,
    held: Option<&Held>,
    outputs: &[Output],
    timeout: Duration,
) -> io::Result<Woken> {
    let mut sources = vec![
        PollFd::new(&task.ended, PollFlags::IN),
        PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
    ];
    sources.extend(held.map(|held| PollFd::from_borrowed_fd(held.as_fd(), PollFlags::IN)));
    let pipes = outputs.iter().filter_map(Output::source);
    sources.extend(pipes.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
    // A timeout beyond what the kernel takes is as good as the longest one.
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    match poll(&mut sources, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Woken { ended: !sources[0].revents().is_empty(), control: !sources[1].revents().is_empty() })
}

fn timeout(ending: &Ending, began: Instant, start: &Start<'_>) -> Duration {
    let most = start.due_in().map_or(REAP_EVERY, |due| due.min(REAP_EVERY));
    let due = ending.due_at_ms().map(|at| Duration::from_millis(at.saturating_sub(elapsed_ms(began))));
    due.map_or(most, |due| due.min(most))
}

/// Reads the stop record. A damaged one still says that somebody wants an end.
fn heed(folder: &Path, ending: &mut Ending, now_ms: u64) -> Option<String> {
    match read::<Stop>(folder) {
        Ok(None) => None,
        Ok(Some(stop)) => {
            ending.ask(Cause::Stopped, stop.grace_ms, now_ms);
            None
        }
        Err(error) => {
            ending.ask(Cause::Stopped, 0, now_ms);
            Some(error.to_string())
        }
    }
}

/// Asks for the end that the lease wants. Where the alarm of its end comes late, because the machine slept, the kill that
/// was planned for a later time comes at once.
fn heed_lease(held: &mut Held, ending: &mut Ending, now_ms: u64) -> io::Result<()> {
    match held.decide()? {
        (Decision::RunUntil(_), _) => {}
        (Decision::StopBy(end_ms), boot_ms) => {
            ending.ask(Cause::LeaseEnded, end_ms.saturating_sub(boot_ms), now_ms);
        }
        (Decision::Kill | Decision::Wait, _) => ending.ask(Cause::LeaseEnded, 0, now_ms),
    }
    Ok(())
}

/// SIGCONT behind it, for a group that was stopped could not hear the first.
fn terminate(task: Pid) {
    signal(task, Signal::TERM);
    signal(task, Signal::CONT);
}

fn kill(task: Pid) {
    signal(task, Signal::KILL);
}

/// To the group of the task, and to the task itself where it has left that: a process may join another group of its
/// session. Its id, which is the group's too, is taken until it is reaped, so this cannot reach strangers.
fn signal(task: Pid, signal: Signal) {
    _ = kill_process_group(task, signal);
    if getpgid(Some(task)).is_ok_and(|group| group != task) {
        _ = kill_process(task, signal);
    }
}

fn reap(task: Pid) -> io::Result<Outcome> {
    let status = waitid(WaitId::Pid(task), WaitIdOptions::EXITED)?;
    let status = status.ok_or_else(|| io::Error::other("the task ended without a status"))?;
    let signal = || Outcome::Signal(status.terminating_signal().unwrap_or_default());
    Ok(status.exit_status().map_or_else(signal, Outcome::Code))
}

fn note(rest: Rest, damage: Option<String>, outputs: &[Output]) -> Option<String> {
    let stuck = (rest == Rest::Stuck).then(|| "some of its processes cannot be killed".to_owned());
    let losses = outputs.iter().filter_map(Output::loss);
    let notes: Vec<String> = stuck.into_iter().chain(damage).chain(losses).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
