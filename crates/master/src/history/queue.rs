//! What waits for the writer: the tail that readers see, and the thread that makes it durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use paceline_cell::RetiredJob;
use paceline_replica::{FatalHandler, History, HistoryRow};
use paceline_types::{JobUid, Revision};
use parking_lot::{Condvar, Mutex};

use super::{Retirement, row};

/// Jobs that wait, at most, besides those of one entry: a few seconds of the fastest retirement.
const WAITING_JOBS_MAX: usize = 4_096;
/// Tasks of the jobs that wait, at most, besides those of one entry: a few dozen megabytes.
const WAITING_TASKS_MAX: u64 = 1_000_000;
/// One put takes the entries that wait up to about this much: one sync for many, in one batch that fits in memory.
const PUT_BYTES: usize = 8 << 20;

#[derive(Default)]
struct Waiting {
    /// In the order of their revisions. They leave when they are durable.
    retirements: VecDeque<Retirement>,
    /// Their jobs.
    tail: BTreeMap<JobUid, Arc<RetiredJob>>,
    tasks: u64,
    closed: bool,
    /// A put failed: nothing becomes durable any more. In production the process has ended by then.
    failed: bool,
}

/// The queue of one history.
pub(super) struct Queue {
    store: Arc<dyn History>,
    fatal: FatalHandler,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Whether whoever pushes writes at once: under simulation there is one thread, and it must not wait for another.
    inline: bool,
}

impl Queue {
    pub(super) fn new(store: Arc<dyn History>, fatal: FatalHandler, inline: bool) -> Self {
        let (waiting, changed) = (Mutex::default(), Condvar::new());
        Self { store, fatal, waiting, changed, inline }
    }

    /// Adds to the tail. Waits while it is full.
    pub(super) fn push(&self, retirement: Retirement) {
        let mut waiting = self.waiting.lock();
        while waiting.is_full() && !waiting.failed {
            self.changed.wait(&mut waiting);
        }
        waiting.tasks += retirement.tasks();
        waiting.tail.extend(retirement.jobs.iter().map(|job| (job.job().uid, job.clone())));
        waiting.retirements.push_back(retirement);
        drop(waiting);
        self.changed.notify_all();
        while self.inline && self.write_next() {}
    }

    /// The tail ends: the writer writes what is there and stops.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }

    /// Blocks until everything up to a revision is durable; false when it will never be.
    pub(super) fn settle(&self, upto: Revision) -> bool {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.retirements.front().is_none_or(|first| first.revision > upto) {
                return true;
            }
            if waiting.failed {
                return false;
            }
            self.changed.wait(&mut waiting);
        }
    }

    /// Reads the tail.
    pub(super) fn tail<T>(&self, read: impl FnOnce(&BTreeMap<JobUid, Arc<RetiredJob>>) -> T) -> T {
        read(&self.waiting.lock().tail)
    }

    /// The writer's thread.
    pub(super) fn write_until_closed(&self) {
        let guard = Stopped(self);
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.retirements.is_empty() && !waiting.closed {
                self.changed.wait(&mut waiting);
            }
            if waiting.retirements.is_empty() {
                break;
            }
            drop(waiting);
            if !self.write_next() {
                break;
            }
        }
        drop(guard);
    }

    /// Makes what waits durable, up to the size of one put; false when nothing waited or the write failed.
    fn write_next(&self) -> bool {
        let waiting: Vec<Retirement> = self.waiting.lock().retirements.iter().cloned().collect();
        let Some((taken, rows)) = put_of(&waiting) else { return false };
        let last = &waiting[taken - 1];
        if let Err(error) = self.store.put(&rows, last.revision.0, &last.keep()) {
            self.fail();
            self.fatal.call(&format!("finished jobs cannot be written: {error}"));
            return false;
        }
        let mut waiting = self.waiting.lock();
        for retirement in waiting.retirements.drain(..taken).collect::<Vec<_>>() {
            waiting.tasks -= retirement.tasks();
            for job in &retirement.jobs {
                waiting.tail.remove(&job.job().uid);
            }
        }
        drop(waiting);
        self.changed.notify_all();
        true
    }

    fn fail(&self) {
        self.waiting.lock().failed = true;
        self.changed.notify_all();
    }
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.tail.len() >= WAITING_JOBS_MAX || self.tasks >= WAITING_TASKS_MAX
    }
}

/// The rows of the first retirements that go into one put, and how many retirements those are. Whole entries only, so
/// that the watermark may rise to the last; and of one policy, because then what the last one trims is what each of
/// them would have trimmed in turn, on every replica the same, however it cuts its puts.
pub(super) fn put_of(waiting: &[Retirement]) -> Option<(usize, Vec<HistoryRow>)> {
    let policy = waiting.first()?.policy;
    let (mut rows, mut bytes, mut taken) = (Vec::new(), 0, 0);
    for retirement in waiting.iter().take_while(|retirement| retirement.policy == policy) {
        if bytes >= PUT_BYTES {
            break;
        }
        for job in &retirement.jobs {
            let row = row(job);
            bytes += row.bytes();
            rows.push(row);
        }
        taken += 1;
    }
    Some((taken, rows))
}

/// However the writer ends, nobody waits for it for ever; a panic is as fatal as a failed write.
struct Stopped<'a>(&'a Queue);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.fail();
        if std::thread::panicking() {
            self.0.fatal.call("the writer of finished jobs panicked");
        }
    }
}
