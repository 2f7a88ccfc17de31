//! The nursery: one process per agent that supervisors are forked from, so that none of them pays for the start
//! of a program. It knows nothing of attempts, holds nothing that counts, and ends with its agent.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use paceline_supervisor::Order;
use paceline_supervisor::nursery::{Answer, read_order};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, setsid, waitid};

use crate::attempt::supervise;
use crate::fork::{Forked, fork};

/// How often supervisors that have ended are reaped while no order comes. They cost nothing but their ids.
const REAP_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The first number for an open file that is not standard input, output or error.
const FIRST_FREE: i32 = 3;

/// Until the agent goes. Returns in supervisors, too, when they have done their work.
///
/// # Errors
/// When agent and nursery do not fit each other, or the kernel refuses what it must not.
pub fn run() -> io::Result<()> {
    // Own session, so that no terminal's signal meant for the agent arrives here.
    setsid()?;
    let (mut orders, answers) = pipes()?;
    loop {
        let has_children = reap();
        if !wait(&orders, has_children)? {
            continue;
        }
        let Some(order) = read_order(&mut orders)? else { return Ok(()) };
        match fork() {
            Ok(Forked::Parent) => {}
            Ok(Forked::Child) => {
                drop(orders);
                return supervise(&order, answers);
            }
            Err(error) => refuse(&answers, &order, &error)?,
        }
    }
}

/// Takes the pipes from their standard places, so that neither a supervisor nor a task has them there.
fn pipes() -> io::Result<(File, File)> {
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let taken = |place: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(place, FIRST_FREE).map(File::from);
    let pipes = (taken(rustix::stdio::stdin())?, taken(rustix::stdio::stdout())?);
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(pipes)
}

/// Whether there is something to read.
fn wait(orders: &File, has_children: bool) -> io::Result<bool> {
    let mut sources = [PollFd::new(orders, PollFlags::IN)];
    match poll(&mut sources, has_children.then_some(&REAP_EVERY)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reaps supervisors that have ended; whether there are others. They outlive us, and are then reaped by whoever
/// the kernel gives them to.
fn reap() -> bool {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The machine has no room for a process: the agent will hold its launches back for a while.
fn refuse(mut answers: &File, order: &Order, error: &io::Error) -> io::Result<()> {
    answers.write_all(
        Answer::Failed(format!("cannot fork a supervisor: {error}")).line(&order.attempt).as_bytes(),
    )
}
