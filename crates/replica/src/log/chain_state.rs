//! What is known of the log in memory: its bounds, its recent entries with their checksums, its sizes, vote and commit.
//!
//! Pure bookkeeping behind one lock: it never touches the disk. Entries at and below `durable` may be dropped from memory
//! and are then read from the disk; entries above it are always here, which is what makes them readable before the sync.

use std::collections::VecDeque;

use bytes::Bytes;
use openraft::entry::RaftEntry;

use super::frame::{self, Chain};
use crate::raft::{Entry, LogId, Vote};

/// Cumulative sizes are remembered once per this many bytes: enough to place a purge or a snapshot.
const SIZE_STEP_BYTES: u64 = 256 * 1024;

struct Recent {
    entry: Entry,
    chain: Chain,
    bytes: usize,
}

/// The bookkeeping of one log.
pub struct ChainState {
    purged: Option<LogId>,
    /// The checksum of the purged entry, which the first entry repeats.
    anchor: Chain,
    last: Option<LogId>,
    /// Where an empty log starts: zero, except in openraft's suite.
    origin: u64,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    recent_limit_bytes: usize,
    /// Index below which everything is on the disk.
    durable_next: u64,
    /// Raised by every truncation: completions of writes from before it say nothing about what is here now.
    epoch: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// (index, bytes of log up to and including it), ascending, about every [`SIZE_STEP_BYTES`].
    sizes: VecDeque<(u64, u64)>,
    total_bytes: u64,
}

/// An entry that cannot follow the last one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} does not follow the last entry, {expected} was due")]
pub struct Gap {
    /// The index that was due.
    pub expected: u64,
    /// The index that came.
    pub found: u64,
}

/// How a range of entries can be read.
pub struct Plan {
    /// These indexes have to come from the disk, before the ones in memory.
    pub from_disk: std::ops::Range<u64>,
    /// These are the ones in memory.
    pub from_memory: Vec<Entry>,
}

impl ChainState {
    pub fn new(purged: Option<(LogId, Chain)>, recent_limit_bytes: usize) -> Self {
        let (purged, anchor) = purged.map_or((None, 0), |(id, chain)| (Some(id), chain));
        Self {
            purged,
            anchor,
            last: purged,
            origin: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_limit_bytes,
            durable_next: 0,
            epoch: 0,
            vote: None,
            committed: None,
            sizes: VecDeque::new(),
            total_bytes: 0,
        }
    }

    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    pub fn last(&self) -> Option<LogId> {
        self.last
    }

    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub fn set_vote(&mut self, vote: Option<Vote>) {
        self.vote = vote;
    }

    pub fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub fn set_committed(&mut self, committed: Option<LogId>) {
        self.committed = committed;
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(self.origin, |id| id.index() + 1)
    }

    fn next_index(&self) -> u64 {
        self.last.map_or(0, |id| id.index() + 1)
    }

    fn first_recent(&self) -> u64 {
        self.next_index() - self.recent.len() as u64
    }

    fn tail_chain(&self) -> Option<Chain> {
        match self.recent.back() {
            Some(recent) => Some(recent.chain),
            None if self.last == self.purged => Some(self.anchor),
            None => None,
        }
    }

    /// Adds a new entry and returns its encoded form. The last entry always stays in memory, so its checksum is known.
    pub fn push(&mut self, entry: Entry, any_first_index: bool) -> Result<Bytes, Gap> {
        let found = entry.index();
        let expected = self.next_index();
        let free_start = any_first_index && self.last.is_none();
        if found != expected && !free_start {
            return Err(Gap { expected, found });
        }
        if free_start {
            self.origin = found;
        }
        let previous = self.tail_chain().expect("the last entry is never dropped from memory");
        let (encoded, chain) = frame::encode(&entry, previous);
        self.remember(entry, chain, encoded.len());
        Ok(encoded)
    }

    /// Adds an entry that was read back from the disk.
    pub fn restore(&mut self, entry: Entry, chain: Chain, bytes: usize) {
        self.durable_next = entry.index() + 1;
        self.remember(entry, chain, bytes);
    }

    fn remember(&mut self, entry: Entry, chain: Chain, bytes: usize) {
        let id = entry.log_id();
        self.last = Some(id);
        self.total_bytes += bytes as u64;
        let step_from = self.sizes.back().map_or(0, |(_, bytes)| *bytes);
        if self.total_bytes >= step_from + SIZE_STEP_BYTES {
            self.sizes.push_back((id.index(), self.total_bytes));
        }
        self.recent_bytes += bytes;
        self.recent.push_back(Recent { entry, chain, bytes });
        self.evict();
    }

    fn evict(&mut self) {
        while self.recent_bytes > self.recent_limit_bytes && self.recent.len() > 1 {
            let oldest = &self.recent[0];
            if oldest.entry.index() >= self.durable_next {
                break;
            }
            self.recent_bytes -= oldest.bytes;
            self.recent.pop_front();
        }
    }

    /// Everything up to `index`, as it was written in `epoch`, is on the disk.
    pub fn durable(&mut self, epoch: u64, index: u64) {
        if epoch == self.epoch {
            self.durable_next = self.durable_next.max(index + 1);
            self.evict();
        }
    }

    /// Removes everything after `last`. `chain` is the checksum of `last`, needed only where memory does not know it.
    pub fn truncate(&mut self, last: Option<LogId>, restored: Option<(Entry, Chain)>) {
        self.epoch += 1;
        let keep_until = last.map_or(0, |id| id.index() + 1);
        while self.recent.back().is_some_and(|recent| recent.entry.index() >= keep_until) {
            let dropped = self.recent.pop_back().expect("there is a last one");
            self.recent_bytes -= dropped.bytes;
        }
        self.last = last.max(self.purged);
        self.durable_next = self.durable_next.min(keep_until);
        if let Some((entry, chain)) = restored {
            let bytes = frame::size_bytes(&entry);
            self.recent_bytes += bytes;
            self.recent.push_back(Recent { entry, chain, bytes });
        }
        while self.sizes.back().is_some_and(|(index, _)| *index >= keep_until) {
            self.sizes.pop_back();
        }
        // Sizes are kept in steps, so this forgets less than a step of what stays.
        self.total_bytes = self.sizes.back().map_or(0, |(_, bytes)| *bytes);
    }

    /// Whether memory knows the checksum of the entry at `index`.
    pub fn knows_chain(&self, index: u64) -> bool {
        self.chain_of(index).is_some()
    }

    fn chain_of(&self, index: u64) -> Option<Chain> {
        if index < self.first_index() {
            // The purge point, or before an empty beginning: what the first entry repeats.
            return Some(self.anchor);
        }
        let position = index.checked_sub(self.recent.front()?.entry.index())?;
        self.recent.get(usize::try_from(position).ok()?).map(|recent| recent.chain)
    }

    /// Forgets everything up to `upto`; `chain` is its checksum if it was read from the disk. Returns the new anchor.
    pub fn purge(&mut self, upto: LogId, chain: Option<Chain>) -> Chain {
        // An id beyond the log comes with a snapshot: the chain starts anew there.
        let anchor = chain.or_else(|| self.chain_of(upto.index())).unwrap_or(0);
        let resets = self.last < Some(upto);
        while self.recent.front().is_some_and(|recent| resets || recent.entry.index() <= upto.index()) {
            let dropped = self.recent.pop_front().expect("there is a first one");
            self.recent_bytes -= dropped.bytes;
        }
        self.anchor = anchor;
        self.purged = Some(upto);
        if resets {
            self.last = self.purged;
            self.epoch += 1;
        }
        self.durable_next = self.durable_next.max(upto.index() + 1);
        while self.sizes.len() > 1 && self.sizes[0].0 <= upto.index() {
            self.sizes.pop_front();
        }
        anchor
    }

    /// Splits `range` into what memory holds and what the disk must give.
    pub fn plan(&self, range: std::ops::Range<u64>) -> Plan {
        let start = range.start.max(self.first_index());
        let end = range.end.min(self.next_index()).max(start);
        let first_recent = self.first_recent();
        let split = first_recent.clamp(start, end);
        let from_memory = self
            .recent
            .iter()
            .skip(usize::try_from(split - first_recent.min(split)).unwrap_or(usize::MAX))
            .take(usize::try_from(end - split).unwrap_or(usize::MAX))
            .map(|recent| recent.entry.clone())
            .collect();
        Plan { from_disk: start..split, from_memory }
    }

    /// Bytes of log after `index`, to the nearest step.
    pub fn bytes_after(&self, index: Option<u64>) -> u64 {
        let Some(index) = index else { return self.total_bytes };
        if self.last.is_none_or(|last| last.index() <= index) {
            return 0;
        }
        let until = self.sizes.partition_point(|(at, _)| *at <= index);
        let covered = until.checked_sub(1).map_or(0, |position| self.sizes[position].1);
        self.total_bytes.saturating_sub(covered)
    }

    /// The highest index at or below `snapshot_index` with about `keep_bytes` of log behind it up to the snapshot.
    pub fn purge_index(&self, snapshot_index: u64, keep_bytes: u64) -> Option<u64> {
        let until = self.sizes.partition_point(|(at, _)| *at <= snapshot_index);
        let covered = self.sizes.get(until.checked_sub(1)?)?.1;
        let target = covered.checked_sub(keep_bytes)?;
        let keep_from = self.sizes.partition_point(|(_, bytes)| *bytes <= target);
        let index = self.sizes.get(keep_from.checked_sub(1)?)?.0;
        (index >= self.first_index()).then_some(index)
    }
}
