//! Opening a log: read everything back, believe nothing unchecked, and refuse with words that say what to do.

use std::ops::ControlFlow;

use bytes::Bytes;
use openraft::entry::RaftEntry;

use super::chain_state::ChainState;
use super::frame::{self, Chain};
use super::mark::{FILE as MARK_FILE, Mark, MarkError, MarkFile};
use super::meta::{self, DiskOwner, Identity, MetaError};
use super::{LogOptions, claim};
use crate::disk::{Disk, DiskError, Folder, Space};
use crate::raft::Vote;

/// What an operator can do about a log that cannot be trusted.
const REMEDY: &str = "do not start this master on this folder again: while the other masters are healthy, replace \
                      it with an empty folder under a new Raft id; otherwise restore a backup";

/// The log cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogOpenError {
    /// The disk failed.
    #[error("the Raft log cannot be read")]
    Disk(#[from] DiskError),
    /// A metadata value is damaged.
    #[error("the metadata in {place} is damaged; {REMEDY}")]
    Meta {
        /// Where.
        place: String,
        /// Which value and how.
        #[source]
        source: MetaError,
    },
    /// The high-water mark is damaged or gone.
    #[error("{file}: {problem}; {REMEDY}")]
    Mark {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry is damaged.
    #[error("entry {index} of the Raft log in {place} is damaged: {problem}; {REMEDY}")]
    DamagedEntry {
        /// Where.
        place: String,
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Entries are missing in the middle.
    #[error(
        "the Raft log in {place} has a hole: entry {expected} should come next and {found} does; {REMEDY}"
    )]
    Hole {
        /// Where.
        place: String,
        /// The index that was due.
        expected: u64,
        /// The index that was found.
        found: u64,
    },
    /// The log went back in time.
    #[error(
        "the Raft log in {place} has gone back in time: it has {found}, and {mark} proves that {expected} was acknowledged; {REMEDY}"
    )]
    Regressed {
        /// Where.
        place: String,
        /// The file that knows better.
        mark: String,
        /// What was acknowledged.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The folder belongs to somebody else.
    #[error(
        "{place} belongs to {found}, not to {expected}; start that master on it, or give this one its own empty folder"
    )]
    OtherOwner {
        /// Where.
        place: String,
        /// Whose it is.
        found: Box<DiskOwner>,
        /// Who came.
        expected: Box<DiskOwner>,
    },
    /// The master of this folder was removed from its cell.
    #[error("{file} says: {words}")]
    Removed {
        /// The note that it left.
        file: String,
        /// What it says.
        words: String,
    },
    /// No random numbers for a disk id.
    #[error("the system gives no random numbers for a disk id")]
    Random,
}

impl LogOpenError {
    /// A mark that cannot be used.
    pub(super) fn mark(error: MarkError) -> Self {
        match error {
            MarkError::Disk(error) => Self::Disk(error),
            MarkError::Damaged { file } => {
                Self::Mark { file, problem: "neither of its two slots has a valid checksum".into() }
            }
        }
    }
}

/// A log that was read back.
pub struct Recovered {
    pub state: ChainState,
    pub mark: (MarkFile, Mark),
    pub identity: Identity,
}

/// Reads and checks everything.
pub fn recover(disk: &dyn Disk, options: &LogOptions) -> Result<Recovered, LogOpenError> {
    let damaged = |source| match source {
        MetaError::Disk(error) => LogOpenError::Disk(error),
        source => LogOpenError::Meta { place: disk.describe_space(Space::Meta), source },
    };
    claim::refuse_removed(disk)?;
    let known = meta::read_identity(disk).map_err(damaged)?;
    if known.is_some() && disk.open(Folder::Root, MARK_FILE)?.is_none() {
        let problem = "the high-water mark of the log is gone".into();
        return Err(LogOpenError::Mark { file: disk.describe(Folder::Root, MARK_FILE), problem });
    }
    let opened = MarkFile::open(disk);
    let (mut mark_file, mark) = opened.map_err(LogOpenError::mark)?;
    let identity = match known {
        Some(identity) => claim::check_owner(disk, identity, &options.identity)?,
        None => claim::claim(disk, &options.identity)?,
    };

    let purged = meta::read_purged(disk).map_err(damaged)?;
    let mut state = ChainState::new(purged, options.memory_tail_bytes);
    let chain = purged.map_or(0, |(_, chain)| chain);
    let first = purged.map_or(0, |(id, _)| id.index() + 1);
    scan(disk, &mut state, first, chain, options.any_first_index)?;

    let vote = meta::read_vote(disk).map_err(damaged)?;
    state.set_vote(vote);
    // The commit index is written without a sync of its own and may name what a crash took away.
    let committed = meta::read_committed(disk).map_err(damaged)?;
    state.set_committed(committed.min(state.last()));
    check_mark(disk, &mark, vote, &state)?;
    let mark = renew_mark(disk, &mut mark_file, mark, Mark { vote, last_log_id: state.last() })?;
    Ok(Recovered { state, mark: (mark_file, mark), identity })
}

/// A mark that lags, because it was not synced or its newest slot was damaged, promises again what the log has.
fn renew_mark(disk: &dyn Disk, mark_file: &mut MarkFile, mark: Mark, found: Mark) -> Result<Mark, DiskError> {
    if mark != found {
        // What a process that was killed had only written is made durable before it is promised.
        disk.sync()?;
        mark_file.write_synced(&found)?;
    }
    Ok(found)
}

fn scan(
    disk: &dyn Disk,
    state: &mut ChainState,
    first: u64,
    anchor: Chain,
    any_first_index: bool,
) -> Result<(), LogOpenError> {
    let place = disk.describe_space(Space::Log);
    let mut previous = anchor;
    let mut due = first;
    let mut refused = None;
    // Below the purge point only what was not reclaimed yet can lie.
    disk.range(Space::Log, &frame::key(first), &frame::key(u64::MAX), &mut |key, value| match next_frame(
        &place,
        key,
        value,
        due,
        previous,
        any_first_index && previous == 0,
    ) {
        Ok(frame) => {
            previous = frame.chain;
            due = frame.entry.index() + 1;
            state.restore(frame.entry, frame.chain, value.len());
            ControlFlow::Continue(())
        }
        Err(error) => {
            refused = Some(error);
            ControlFlow::Break(())
        }
    })?;
    refused.map_or(Ok(()), Err)
}

fn next_frame(
    place: &str,
    key: &[u8],
    value: &[u8],
    due: u64,
    previous: Chain,
    any_index: bool,
) -> Result<frame::Frame, LogOpenError> {
    let index = frame::index_of(key).unwrap_or(u64::MAX);
    if index != due && !any_index {
        return Err(LogOpenError::Hole { place: place.to_owned(), expected: due, found: index });
    }
    let damaged = |problem: String| LogOpenError::DamagedEntry { place: place.to_owned(), index, problem };
    let frame = frame::decode(Bytes::copy_from_slice(value)).map_err(|e| damaged(e.to_string()))?;
    if frame.entry.index() != index {
        return Err(damaged(format!("it says that it is entry {}", frame.entry.index())));
    }
    if frame.previous != previous {
        let found = frame.previous;
        return Err(damaged(format!(
            "it follows an entry with checksum {found:08x}, the entry before it has {previous:08x}"
        )));
    }
    Ok(frame)
}

fn check_mark(
    disk: &dyn Disk,
    mark: &Mark,
    vote: Option<Vote>,
    state: &ChainState,
) -> Result<(), LogOpenError> {
    let regressed = |expected: String, found: String| LogOpenError::Regressed {
        place: disk.describe_space(Space::Log),
        mark: disk.describe(Folder::Root, MARK_FILE),
        expected,
        found,
    };
    let words = |vote: Option<Vote>| vote.map_or("no vote".into(), |vote| format!("the vote {vote}"));
    if !at_least(vote, mark.vote) {
        return Err(regressed(words(mark.vote), words(vote)));
    }
    if state.last() < mark.last_log_id {
        let words = |id: Option<_>| id.map_or("no entry".into(), |id| format!("the last entry {id}"));
        return Err(regressed(words(mark.last_log_id), words(state.last())));
    }
    Ok(())
}

/// Votes of one term for two candidates cannot be compared; the disk may only hold the marked one or a later.
fn at_least(vote: Option<Vote>, marked: Option<Vote>) -> bool {
    match (vote, marked) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(vote), Some(marked)) => vote >= marked,
    }
}
