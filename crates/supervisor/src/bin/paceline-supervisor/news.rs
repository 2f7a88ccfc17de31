//! What the supervisor says of its task: that it runs, and how it ended. A disk that is full delays the news
//! and never ends the task; nothing is lost as long as we live.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use paceline_supervisor::{Ended, Ledger, NUDGE_SOCKET_FROM_ATTEMPT, Order, ProcessIdentity, Running};

use crate::control::nudge;

/// Between two tries to write what could not be written. Someone has to free space first, and then wants to
/// see the effect soon.
pub const TRY_EVERY: Duration = Duration::from_secs(1);

/// The news that the task runs, until it was written.
pub struct Start<'a> {
    ledger: &'a mut Ledger,
    order: &'a Order,
    pid: u32,
    started_unix_ms: u64,
    written: bool,
}

impl<'a> Start<'a> {
    /// Of a task that was just executed.
    pub fn new(ledger: &'a mut Ledger, order: &'a Order, pid: u32, started_unix_ms: u64) -> Self {
        Self { ledger, order, pid, started_unix_ms, written: false }
    }

    /// Writes it, unless that was done.
    pub fn tell(&mut self) {
        if !self.written && self.write().is_ok() {
            self.written = true;
            nudge(NUDGE_SOCKET_FROM_ATTEMPT, &self.order.attempt);
        }
    }

    /// Whether there is anything left to tell.
    pub fn is_open(&self) -> bool {
        !self.written
    }

    fn write(&mut self) -> io::Result<()> {
        let task = ProcessIdentity::of(self.pid, &self.order.boot)?;
        self.ledger.add(&Running { task, started_unix_ms: self.started_unix_ms })
    }
}

/// Writes the end, however long it takes.
///
/// # Errors
/// When the folder is gone: nobody wants to know any more.
pub fn tell_end(ledger: &Ledger, attempt: &str, ended: &Ended) -> io::Result<()> {
    loop {
        match ledger.end(ended) {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(_) => thread::sleep(TRY_EVERY),
        }
    }
    nudge(NUDGE_SOCKET_FROM_ATTEMPT, attempt);
    Ok(())
}
