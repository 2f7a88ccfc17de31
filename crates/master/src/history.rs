//! Finished jobs once they have left the cell: written by one thread, read by everyone.
//!
//! ```text
//! apply ─► queue (= the tail: not durable yet) ─► writer thread ─► one synced put ─► out of the tail
//!                │                                                     │
//! reads ◄── first the tail ◄───────────────────── then the store ◄─────┘
//! ```
//! A job is in the tail before the view that no longer has it is published, and leaves it after it is durable: a reader
//! that looks in view, tail and store, in this order, always finds it. What is above a reader's view is not shown.
//!
//! After a restart the log is replayed and jobs retire again; those at or below the store's watermark are there, or were
//! trimmed since, and are passed over. A crash between apply and the synced put loses nothing: the watermark did not rise,
//! so no snapshot became current and the entry is still in the log. Any failed write ends the process.

mod queue;
mod read;

use std::sync::Arc;

use bytes::Bytes;
use paceline_cell::{Cell, RetiredJob};
use paceline_replica::{Execution, FatalHandler, History, HistoryRow, Keep};
use paceline_types::plant::{Plant, is_planted};
use paceline_types::{JobUid, Revision};

use queue::Queue;
use read::Reads;
pub(crate) use read::{Found, RetiredPage, Scan};

/// Jobs of one entry on their way to the store.
#[derive(Clone, Debug)]
struct Retirement {
    revision: Revision,
    jobs: Vec<Arc<RetiredJob>>,
    policy: Policy,
    clock_ms: u64,
}

/// What the cell's configuration keeps, as of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    jobs: u64,
    age_ms: u64,
}

impl Retirement {
    fn of(cell: &Cell, jobs: Vec<RetiredJob>) -> Self {
        let config = cell.config();
        let policy = Policy { jobs: u64::from(config.history_jobs), age_ms: config.history_age_ms };
        let jobs = jobs.into_iter().map(Arc::new).collect();
        Self { revision: cell.revision(), jobs, policy, clock_ms: cell.clock_ms() }
    }

    fn keep(&self) -> Keep {
        let age_ms = if is_planted(Plant::HistoryTrimmedEarly) { 0 } else { self.policy.age_ms };
        let clock_from_ms = self.clock_ms.saturating_sub(age_ms);
        Keep { rows: self.policy.jobs, clock_from_ms, ..Keep::ALL }
    }

    fn tasks(&self) -> u64 {
        self.jobs.iter().map(|job| u64::from(job.job().spec.tasks)).sum()
    }
}

/// The handle of readers. Clones are the same history.
#[derive(Clone)]
pub(crate) struct JobHistory {
    queue: Arc<Queue>,
    reads: Reads,
}

/// The handle of the one who retires jobs. The writer ends with it.
pub(crate) struct Retiring {
    queue: Arc<Queue>,
    /// What was durable when this process began.
    durable: Revision,
}

/// A place in time that a snapshot waits for.
pub(crate) struct Settling {
    queue: Arc<Queue>,
    upto: Revision,
}

/// Opens the history over its store and starts the writer.
pub(crate) fn start(
    store: Arc<dyn History>,
    execution: Execution,
    fatal: FatalHandler,
) -> Result<(Retiring, JobHistory), paceline_replica::DiskError> {
    let durable = Revision(store.watermark()?);
    let inline = execution == Execution::Tasks;
    let queue = Arc::new(Queue::new(store.clone(), fatal, inline));
    if !inline {
        let writer = queue.clone();
        std::thread::Builder::new()
            .name("paceline-history".to_owned())
            .spawn(move || writer.write_until_closed())
            .expect("a master that cannot start one thread cannot run at all");
    }
    let reads = Reads::new(store, inline);
    Ok((Retiring { queue: queue.clone(), durable }, JobHistory { queue, reads }))
}

impl Retiring {
    /// Hands over what an entry retired, before the view without it is published. Waits while too much waits already:
    /// jobs retire seldom and by the leader's choice, one entry at a time, so only a disk that is far too slow gets here,
    /// and then this replica must not run ahead of it in memory, just as it does not run ahead of its log.
    pub(crate) fn retire(&self, cell: &Cell, jobs: Vec<RetiredJob>) {
        if cell.revision() > self.durable {
            self.queue.push(Retirement::of(cell, jobs));
        }
    }

    /// What must be durable before a snapshot of this state may become current.
    pub(crate) fn settling(&self, upto: Revision) -> Settling {
        Settling { queue: self.queue.clone(), upto }
    }
}

impl Drop for Retiring {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Settling {
    /// Blocks until everything that retired up to here is durable; false when it will never be.
    pub(crate) fn settle(&self) -> bool {
        self.queue.settle(self.upto)
    }
}

/// A row's key: it sorts like submissions.
fn key(uid: JobUid) -> Bytes {
    let mut key = uid.revision.0.to_be_bytes().to_vec();
    key.extend_from_slice(&uid.ordinal.to_be_bytes());
    key.into()
}

/// The job of a row's key.
fn uid_of(key: &[u8]) -> Option<JobUid> {
    let (revision, ordinal) = key.split_first_chunk::<8>()?;
    let ordinal = u32::from_be_bytes(ordinal.try_into().ok()?);
    Some(JobUid { revision: Revision(u64::from_be_bytes(*revision)), ordinal })
}

fn row(job: &RetiredJob) -> HistoryRow {
    HistoryRow {
        key: key(job.job().uid),
        name: Bytes::copy_from_slice(job.job().name.as_bytes()),
        revision: job.retired().0,
        clock_ms: job.retired_clock_ms(),
        value: job.encode(),
    }
}

#[cfg(test)]
mod tests;
