//! What the supervisor says of its task: that it runs, and how it ended. A disk that is full delays the news
//! and never ends the task; nothing is lost as long as we live.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use paceline_supervisor::{Ended, Ledger, NUDGE_SOCKET_FROM_ATTEMPT, Order, ProcessIdentity, Running};

use crate::control::nudge;

/// Between two tries to write what could not be written. Someone has to free space first, and then wants to
/// see the effect soon.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// A task that ends sooner than this is only said to have ended: of many short ones the news that they run would
/// cost the node and the cell as much again, and nobody could have done anything with it.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// The news that the task runs, until it was written.
pub struct Start<'a> {
    ledger: &'a mut Ledger,
    order: &'a Order,
    pid: u32,
    started_unix_ms: u64,
    /// When to write it, or to try again.
    due: Option<Instant>,
}

impl<'a> Start<'a> {
    /// Of a task that was just executed.
    pub fn new(ledger: &'a mut Ledger, order: &'a Order, pid: u32, started_unix_ms: u64) -> Self {
        let due = Some(Instant::now() + TELL_AFTER);
        Self { ledger, order, pid, started_unix_ms, due }
    }

    /// Writes it when it is time.
    pub fn tell(&mut self) {
        if self.due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.due = match self.write() {
            Ok(()) => {
                nudge(NUDGE_SOCKET_FROM_ATTEMPT, &self.order.attempt);
                None
            }
            Err(_) => Some(Instant::now() + TRY_EVERY),
        };
    }

    /// How long there is nothing to write; nothing when it was written.
    pub fn due_in(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
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
