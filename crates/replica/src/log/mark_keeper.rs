//! When the high-water mark is written: off the path of acknowledgements wherever it only rises.
//!
//! A group of the log is synced and acknowledged, and only then its mark is handed to a loop of its own, which writes and
//! syncs the newest one it knows, and rests before the next so that the log has the disk. So after a power cut the mark
//! may lag by what was acknowledged during one such sync and [`REST`], and never by more than [`LAG_BYTES`] of log and
//! one group: behind the group that goes beyond it the writer waits. Nothing queues up: a newer mark replaces the one that
//! waits. Votes, and marks that fall before a truncation, are durable when the call returns.
//!
//! ```text
//!   writer: sync log ► acknowledge ► raise ──(newest mark)──► keeper's loop: write slot ► sync
//!           vote, before a truncation: write slot ► sync, after whatever the loop is about
//! ```

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::mark::{Mark, MarkFile};
use crate::disk::{Disk, DiskError};
use crate::fatal::FatalHandler;
use crate::raft::{LogId, Vote};
use crate::worker::{self, Execution, Owner};
use paceline_types::plant::{Plant, is_planted};

/// The mark lags behind the log by no more than this and the group that goes beyond it. A sync of the mark takes about as
/// long as one of the log, and a disk that takes more than this meanwhile does not notice one wait per mebibyte.
const LAG_BYTES: u64 = 1024 * 1024;
/// Between two syncs of the mark. Both syncs empty the same disk's cache, so marks on the heels of each other take it from
/// a log that is written without a pause. With this rest no difference was shown on a loaded machine: of 26 pairs of runs
/// with the mark and without it about half were faster with it, at medians of the p50 of 503 against 413 µs and 519
/// against 474 µs.
const REST: Duration = Duration::from_millis(2);
/// One note that there is a newer mark stands for any number.
const NOTES: usize = 1;

/// The mark as it should be, and the file; both are shared with the loop.
struct Shared {
    /// What the log has on the disk.
    promised: Mutex<Promised>,
    /// Held while a slot is written and synced, so that no older mark is written after a newer one.
    file: Mutex<MarkFile>,
}

#[derive(Clone, Copy)]
struct Promised {
    mark: Mark,
    /// Bytes of log that are behind what the file promises.
    unsynced_bytes: u64,
}

impl Shared {
    /// Makes durable what is promised now.
    fn write(&self) -> Result<(), DiskError> {
        let mut file = self.file.lock();
        let now = *self.promised.lock();
        file.write_synced(&now.mark)?;
        self.promised.lock().unsynced_bytes -= now.unsynced_bytes;
        Ok(())
    }
}

/// The log writer's end.
#[derive(Clone)]
pub struct MarkKeeper {
    shared: Arc<Shared>,
    notes: mpsc::Sender<()>,
}

impl MarkKeeper {
    /// Starts the loop. It keeps the disk open for as long as a mark may still be written.
    pub fn start(
        disk: Arc<dyn Disk>,
        (file, mark): (MarkFile, Mark),
        execution: Execution,
        fatal: FatalHandler,
    ) -> Self {
        let promised = Mutex::new(Promised { mark, unsynced_bytes: 0 });
        let shared = Arc::new(Shared { promised, file: Mutex::new(file) });
        let (notes, queue) = mpsc::channel(NOTES);
        let owner = Loop { shared: shared.clone(), disk, execution, fatal: fatal.clone() };
        worker::start(execution, "mark-keeper", fatal, owner, queue);
        Self { shared, notes }
    }

    /// Before entries go, the mark stops promising them.
    pub fn lower(&self, last: Option<LogId>) -> Result<(), DiskError> {
        {
            let mut promised = self.shared.promised.lock();
            if last >= promised.mark.last_log_id {
                return Ok(());
            }
            promised.mark.last_log_id = last;
        }
        self.shared.write()
    }

    /// A vote is promised before it is given.
    pub fn vote(&self, vote: Vote) -> Result<(), DiskError> {
        self.shared.promised.lock().mark.vote = Some(vote);
        self.shared.write()
    }

    /// What is on the disk now, `bytes` more than before; it is promised soon.
    pub fn raise(&self, last: Option<LogId>, bytes: u64) -> Result<(), DiskError> {
        let lags = {
            let mut promised = self.shared.promised.lock();
            if promised.mark.last_log_id == last {
                return Ok(());
            }
            promised.mark.last_log_id = last;
            promised.unsynced_bytes += bytes;
            promised.unsynced_bytes > LAG_BYTES
        };
        if is_planted(Plant::MarkNotSynced) {
            return Ok(());
        }
        if lags {
            return self.shared.write();
        }
        // A note that waits already stands for this one too; a loop that is gone has called the end of the process.
        self.notes.try_send(()).ok();
        Ok(())
    }

    /// What the log has on the disk.
    pub fn last(&self) -> Option<LogId> {
        self.shared.promised.lock().mark.last_log_id
    }

    /// Whether the file promises this durably, or is kept from it on purpose.
    #[cfg(feature = "testing")]
    pub fn promises(&self, last: Option<LogId>) -> bool {
        is_planted(Plant::MarkNotSynced) || self.shared.file.lock().written().last_log_id == last
    }
}

struct Loop {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    execution: Execution,
    fatal: FatalHandler,
}

impl Owner for Loop {
    type Event = ();

    fn handle(&mut self, (): (), _queue: &mut mpsc::Receiver<()>) -> bool {
        if let Err(error) = self.shared.write() {
            if is_planted(Plant::ErrorIgnored) {
                return true;
            }
            self.fatal.call(&format!("the high-water mark cannot be written: {error}"));
            return false;
        }
        if self.execution == Execution::Threads {
            std::thread::sleep(REST);
        }
        true
    }

    fn delay(&self) -> Duration {
        self.disk.stall()
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::super::mark;
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::raft::log_id;

    fn keeper() -> (MemoryDisk, MarkKeeper) {
        let disk = MemoryDisk::new();
        let opened = MarkFile::open(&disk).unwrap();
        let fatal = FatalHandler::replaced_by(|reason| panic!("{reason}"));
        (disk.clone(), MarkKeeper::start(Arc::new(disk), opened, Execution::Tasks, fatal))
    }

    fn durable(disk: &MemoryDisk) -> Mark {
        mark::read(&disk.after_crash(0)).unwrap()
    }

    async fn let_the_loop_run() {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn newest_mark_is_durable_soon_and_nobody_waits_for_it() {
        let (disk, keeper) = keeper();
        for index in 1..=100 {
            keeper.raise(Some(log_id(1, index)), 10).unwrap();
        }
        assert_eq!(durable(&disk), Mark::default(), "nothing was written on the way");
        let_the_loop_run().await;
        assert_eq!(durable(&disk).last_log_id, Some(log_id(1, 100)));
    }

    #[tokio::test]
    async fn mark_never_lags_by_more_than_its_bound() {
        let (disk, keeper) = keeper();
        keeper.raise(Some(log_id(1, 1)), LAG_BYTES).unwrap();
        assert_eq!(durable(&disk), Mark::default());
        keeper.raise(Some(log_id(1, 2)), 1).unwrap();
        assert_eq!(durable(&disk).last_log_id, Some(log_id(1, 2)));
    }

    #[tokio::test]
    async fn mark_that_waits_is_not_written_after_it_was_lowered() {
        let (disk, keeper) = keeper();
        keeper.raise(Some(log_id(1, 9)), 10).unwrap();
        keeper.lower(Some(log_id(1, 3))).unwrap();
        assert_eq!(durable(&disk).last_log_id, Some(log_id(1, 3)));
        let_the_loop_run().await;
        assert_eq!(durable(&disk).last_log_id, Some(log_id(1, 3)));
    }

    #[tokio::test]
    async fn vote_is_durable_when_the_call_returns() {
        let (disk, keeper) = keeper();
        keeper.vote(Vote::new_committed(4, 2)).unwrap();
        assert_eq!(durable(&disk).vote, Some(Vote::new_committed(4, 2)));
    }
}
