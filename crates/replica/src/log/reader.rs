//! Reading the log: the recent part from memory, the rest from the disk, always whole and in order.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogReader;

use super::Shared;
use super::frame;
use crate::config::REPLICATION_BUDGET_BYTES;
use crate::disk::Space;
use crate::raft::{Entry, TypeConfig, Vote};

/// The applier reads committed entries in portions of this size, so that a long replay never sits in memory at once.
const APPLY_READ_BYTES: usize = 4 * 1024 * 1024;

/// A reader of one log; any number may exist.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Entries from `start` up to `end` (exclusive) that exist, the first always and then while they fit the budget.
    pub async fn read(&self, start: u64, end: u64, budget_bytes: usize) -> io::Result<Vec<Entry>> {
        let plan = self.shared.state.lock().plan(start..end);
        let mut budget = Budget { left: budget_bytes, entries: Vec::new(), full: false };
        if !plan.from_disk.is_empty() {
            let shared = self.shared.clone();
            let range = plan.from_disk;
            let work = move || read_disk(&shared, range, budget);
            budget = self
                .shared
                .execution
                .blocking(work)
                .await
                .ok_or_else(|| io::Error::other("reading the log panicked"))??;
        }
        for entry in plan.from_memory {
            if budget.full {
                break;
            }
            let bytes = frame::size_bytes(&entry);
            budget.take(entry, bytes);
        }
        Ok(budget.entries)
    }
}

struct Budget {
    left: usize,
    entries: Vec<Entry>,
    full: bool,
}

impl Budget {
    fn take(&mut self, entry: Entry, bytes: usize) {
        if bytes > self.left && !self.entries.is_empty() {
            self.full = true;
            return;
        }
        self.left = self.left.saturating_sub(bytes);
        self.entries.push(entry);
    }
}

/// Only the beginning of the range may be missing, where a purge has just removed it.
fn read_disk(shared: &Shared, range: std::ops::Range<u64>, mut budget: Budget) -> io::Result<Budget> {
    let place = || shared.disk.describe_space(Space::Log);
    let mut failure = None;
    let mut due = None;
    let from = frame::key(range.start);
    let to = frame::key(range.end);
    let visited = shared.disk.range(Space::Log, &from, &to, &mut |key, value| {
        let frame = match frame::decode(Bytes::copy_from_slice(value)) {
            Ok(frame) => frame,
            Err(error) => {
                let index = frame::index_of(key).unwrap_or_default();
                failure = Some(format!("entry {index} in {} is damaged: {error}", place()));
                return ControlFlow::Break(());
            }
        };
        let index = frame.entry.index();
        if due.is_some_and(|due| due != index) {
            failure = Some(format!("entry {} is missing in {}", due.unwrap_or_default(), place()));
            return ControlFlow::Break(());
        }
        due = Some(index + 1);
        budget.take(frame.entry, value.len());
        if budget.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited.map_err(|e| io::Error::other(e.to_string()))?;
    if failure.is_none() && !budget.full && due != Some(range.end) {
        let purged = shared.state.lock().purged().map_or(0, |id| id.index() + 1);
        if due.unwrap_or(range.start).max(purged) < range.end {
            failure = Some(format!("the entries before {} are missing in {}", range.end, place()));
        }
    }
    match failure {
        Some(failure) => Err(io::Error::other(failure)),
        None => Ok(budget),
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end.max(start))
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, REPLICATION_BUDGET_BYTES).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let portions = futures::stream::unfold((self.clone(), start), move |(reader, next)| async move {
            if next >= end {
                return None;
            }
            match reader.read(next, end, APPLY_READ_BYTES).await {
                Ok(entries) => {
                    let after = entries.last()?.index() + 1;
                    let entries: Vec<_> = entries.into_iter().map(Ok).collect();
                    Some((entries, (reader, after)))
                }
                Err(error) => Some((vec![Err(error)], (reader, end))),
            }
        });
        futures::StreamExt::flat_map(portions, futures::stream::iter)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.state.lock().vote())
    }
}
