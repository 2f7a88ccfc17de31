//! The one writer of the log: it drains what is queued, writes it as one batch, syncs once and calls back in order.
//!
//! Votes, entries, truncations and purges share the queue, so no write overtakes another. Whatever is written is synced
//! before the next write, so a power cut can tear the last one only. Any failure is fatal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use openraft::storage::IOFlushed;
use paceline_types::plant::{Plant, is_planted};
use tokio::sync::mpsc;

use super::frame::{self, Chain};
use super::mark_keeper::MarkKeeper;
use super::{Shared, meta};
use crate::disk::{Batch, Disk, DiskError, Space};
use crate::fatal::FatalHandler;
use crate::raft::{LogId, TypeConfig, Vote};
use crate::worker::Owner;

/// One batch takes no more than this, so that a callback never waits behind an unbounded write.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// And no more than this many requests.
const BATCH_REQUESTS: usize = 4096;

/// What the writer is asked to make durable.
pub enum Request {
    Append {
        epoch: u64,
        last: LogId,
        frames: Vec<(u64, Bytes)>,
        bytes: usize,
        callback: IOFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: oneshot::Sender<()>,
    },
    Committed {
        id: LogId,
    },
    Truncate {
        from_index: u64,
        last: Option<LogId>,
    },
    Purge {
        from_index: u64,
        upto: LogId,
        chain: Chain,
        resets_log: bool,
    },
    Barrier {
        done: oneshot::Sender<()>,
    },
}

/// The queue to the writer.
#[derive(Clone)]
pub struct WriterHandle {
    requests: mpsc::Sender<Request>,
}

fn gone<E>(_: E) -> io::Error {
    io::Error::other("the log writer has stopped after a disk error")
}

impl WriterHandle {
    pub fn new(requests: mpsc::Sender<Request>) -> Self {
        Self { requests }
    }

    pub async fn send(&self, request: Request) -> io::Result<()> {
        self.requests.send(request).await.map_err(gone)
    }

    pub async fn barrier(&self) -> io::Result<()> {
        let (done, passed) = oneshot::channel();
        self.send(Request::Barrier { done }).await?;
        passed.await.map_err(gone)
    }
}

/// The owner of the disk's log and of the high-water mark.
pub struct LogWriter {
    disk: Arc<dyn Disk>,
    marks: MarkKeeper,
    /// A commit index that waits for company: it is a hint that saves a wait after a restart and needs no sync of its own,
    /// and a write that nobody syncs could be torn under the synced one behind it.
    hint: Option<LogId>,
    shared: Arc<Shared>,
    fatal: FatalHandler,
}

impl Owner for LogWriter {
    type Event = Request;

    fn handle(&mut self, first: Request, queue: &mut mpsc::Receiver<Request>) -> bool {
        let group = drain(first, queue);
        if let Err(error) = self.commit(group) {
            if is_planted(Plant::ErrorIgnored) {
                return true;
            }
            self.fatal.call(&format!("the Raft log cannot be written: {error}"));
            return false;
        }
        true
    }

    fn delay(&self) -> Duration {
        self.disk.stall()
    }
}

fn drain(first: Request, queue: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while bytes < BATCH_BYTES && group.len() < BATCH_REQUESTS {
        let Ok(request) = queue.try_recv() else { break };
        bytes += request.bytes();
        group.push(request);
    }
    group
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Request::Append { bytes, .. } => *bytes,
            _ => 0,
        }
    }

    fn needs_sync(&self) -> bool {
        match self {
            Request::Committed { .. } => false,
            Request::Append { .. } => !is_planted(Plant::AcknowledgeBeforeSync),
            Request::Vote { .. } => !is_planted(Plant::VoteNotSynced),
            Request::Truncate { .. } | Request::Purge { .. } | Request::Barrier { .. } => true,
        }
    }
}

impl LogWriter {
    pub fn new(disk: Arc<dyn Disk>, marks: MarkKeeper, shared: Arc<Shared>, fatal: FatalHandler) -> Self {
        Self { disk, marks, hint: None, shared, fatal }
    }

    fn commit(&mut self, group: Vec<Request>) -> Result<(), DiskError> {
        self.lower_mark(&group)?;
        let batch = self.encode_group(&group);
        if !batch.is_empty() {
            self.disk.write(batch)?;
        }
        let (last, bytes) = self.left_by(&group);
        let syncs = group.iter().any(Request::needs_sync);
        if is_planted(Plant::AcknowledgeThenSync) {
            self.acknowledge_all(group)?;
            self.disk.sync()?;
            return self.marks.raise(last, bytes);
        }
        if syncs {
            self.disk.sync()?;
        }
        self.mark_vote(&group)?;
        self.acknowledge_all(group)?;
        self.marks.raise(last, bytes)
    }

    /// Before entries go, the mark stops promising them.
    fn lower_mark(&mut self, group: &[Request]) -> Result<(), DiskError> {
        let lowest = group.iter().filter_map(|request| match request {
            Request::Truncate { last, .. } => Some(*last),
            _ => None,
        });
        match lowest.min().filter(|_| !is_planted(Plant::MarkNotLowered)) {
            Some(lowest) => self.marks.lower(lowest),
            None => Ok(()),
        }
    }

    /// The last entry after a group, and how many bytes of entries it brings.
    fn left_by(&self, group: &[Request]) -> (Option<LogId>, u64) {
        let (mut last_of_log, mut added) = (self.marks.last(), 0);
        for request in group {
            match request {
                Request::Append { last, bytes, .. } => {
                    last_of_log = Some(*last);
                    added += *bytes as u64;
                }
                Request::Truncate { last, .. } => last_of_log = *last,
                Request::Purge { upto, .. } => last_of_log = last_of_log.max(Some(*upto)),
                Request::Vote { .. } | Request::Committed { .. } | Request::Barrier { .. } => {}
            }
        }
        (last_of_log, added)
    }

    fn mark_vote(&self, group: &[Request]) -> Result<(), DiskError> {
        let votes = group.iter().rev().find_map(|request| match request {
            Request::Vote { vote, .. } => Some(*vote),
            _ => None,
        });
        votes.map_or(Ok(()), |vote| self.marks.vote(vote))
    }

    fn acknowledge_all(&mut self, group: Vec<Request>) -> Result<(), DiskError> {
        group.into_iter().try_for_each(|request| self.acknowledge(request))
    }

    fn acknowledge(&mut self, request: Request) -> Result<(), DiskError> {
        match request {
            Request::Append { epoch, last, callback, .. } => {
                self.shared.state.lock().durable(epoch, last.index());
                callback.io_completed(Ok(()));
            }
            // A caller that no longer waits does not need to know.
            Request::Vote { done, .. } | Request::Barrier { done } => {
                done.send(()).ok();
            }
            Request::Purge { from_index, upto, .. } => {
                self.disk.reclaim(Space::Log, &frame::key(from_index), &frame::key(upto.index() + 1))?;
            }
            Request::Committed { .. } | Request::Truncate { .. } => {}
        }
        Ok(())
    }

    fn encode_group(&mut self, group: &[Request]) -> Batch {
        let mut batch = Batch::default();
        for request in group {
            request.encode(&mut batch);
            if let Request::Committed { id } = request {
                self.hint = Some(*id);
            }
        }
        let rides = group.iter().any(|request| !matches!(request, Request::Committed { .. }));
        if let Some(id) = self.hint.take_if(|_| rides || is_planted(Plant::HintAlone)) {
            batch.put(Space::Meta, meta::COMMITTED, meta::seal_committed(&id));
        }
        batch
    }
}

impl Request {
    fn encode(&self, batch: &mut Batch) {
        match self {
            Request::Append { frames, .. } => {
                for (index, frame) in frames {
                    batch.put(Space::Log, frame::key(*index), frame.clone());
                }
            }
            Request::Vote { vote, .. } => batch.put(Space::Meta, meta::VOTE, meta::seal_vote(vote)),
            Request::Truncate { .. } if is_planted(Plant::TailNotTruncated) => {}
            Request::Truncate { from_index, .. } => {
                batch.delete_range(Space::Log, frame::key(*from_index), frame::key(u64::MAX));
            }
            Request::Purge { from_index, upto, chain, resets_log } => {
                let until = if *resets_log { u64::MAX } else { upto.index() + 1 };
                batch.delete_range(Space::Log, frame::key(*from_index), frame::key(until));
                batch.put(Space::Meta, meta::PURGED, meta::seal_purged(upto, *chain));
            }
            Request::Committed { .. } | Request::Barrier { .. } => {}
        }
    }
}
