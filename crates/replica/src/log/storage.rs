//! The log as openraft writes it: state changes in memory at once, durability through the writer's queue.

use std::io;
use std::sync::atomic::Ordering;

use futures::channel::oneshot;
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};

use super::frame::{self, Chain};
use super::reader::LogReader;
use super::writer::Request;
use super::{LogStore, Shared};
use crate::disk::Space;
use crate::raft::{Entry, LogId, TypeConfig, Vote};

/// A key beside the value, as the writer hands it to the disk.
const KEY_BYTES: usize = 8;

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.shared.state.lock();
        Ok(LogState { last_purged_log_id: state.purged(), last_log_id: state.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(self.shared.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.shared.state.lock().set_vote(Some(*vote));
        let (done, durable) = oneshot::channel();
        self.writer.send(Request::Vote { vote: *vote, done }).await?;
        durable.await.map_err(|_| io::Error::other("the vote could not be made durable"))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.state.lock().set_committed(committed);
        match committed {
            Some(id) => self.writer.send(Request::Committed { id }).await,
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.state.lock().committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (epoch, frames) = push_all(&self.shared, entries.into_iter().collect())?;
        let Some((last, _)) = frames.last() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let last = *last;
        let frames: Vec<_> = frames.into_iter().map(|(id, frame)| (id.index(), frame)).collect();
        let bytes = frames.iter().map(|(_, frame)| frame.len() + KEY_BYTES).sum();
        // ORDERING: Relaxed, a statistic; paired with `LogView::bytes_written`.
        self.shared.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.writer.send(Request::Append { epoch, last, frames, bytes, callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        if last >= self.shared.state.lock().last() {
            return Ok(());
        }
        let restored = match last {
            Some(id) if !self.shared.state.lock().knows_chain(id.index()) => {
                Some(read_frame(&self.shared, id.index())?)
            }
            _ => None,
        };
        let last = {
            let mut state = self.shared.state.lock();
            state.truncate(last, restored);
            state.last()
        };
        let from_index = last.map_or(0, |id| id.index() + 1);
        self.writer.send(Request::Truncate { from_index, last }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (known, from_index, stored) = {
            let state = self.shared.state.lock();
            if state.purged() >= Some(upto) {
                return Ok(());
            }
            let from_index = state.purged().map_or(0, |id| id.index() + 1);
            (state.knows_chain(upto.index()), from_index, state.last() >= Some(upto))
        };
        let chain = if stored && !known { Some(read_frame(&self.shared, upto.index())?.1) } else { None };
        let chain = self.shared.state.lock().purge(upto, chain);
        self.writer.send(Request::Purge { from_index, upto, chain, resets_log: !stored }).await
    }
}

type Pushed = Vec<(LogId, bytes::Bytes)>;

fn push_all(shared: &Shared, entries: Vec<Entry>) -> io::Result<(u64, Pushed)> {
    let mut state = shared.state.lock();
    let mut frames = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = entry.log_id();
        let frame = state.push(entry, shared.any_first_index);
        frames.push((id, frame.map_err(|gap| io::Error::other(gap.to_string()))?));
    }
    Ok((state.epoch(), frames))
}

fn read_frame(shared: &Shared, index: u64) -> io::Result<(Entry, Chain)> {
    let place = shared.disk.describe_space(Space::Log);
    let stored = shared.disk.read(Space::Log, &frame::key(index));
    let stored = stored.map_err(|e| io::Error::other(e.to_string()))?;
    let stored = stored.ok_or_else(|| io::Error::other(format!("entry {index} is missing in {place}")))?;
    let frame = frame::decode(stored);
    let frame = frame.map_err(|e| io::Error::other(format!("entry {index} in {place} is damaged: {e}")))?;
    Ok((frame.entry, frame.chain))
}
