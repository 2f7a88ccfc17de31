//! The commit path of one replica without Raft on top, for tests that cut the power under it or damage its disk.
//!
//! Opening, log, snapshots and replay are the production code; what Raft would ask of them, the test asks, in terms that
//! do not name openraft. Keeping Raft's own rules (nothing committed is truncated, terms rise) is the test's business.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader};
use tokio::sync::oneshot;

use crate::config::ReplicaConfig;
use crate::disk::Disk;
use crate::history::History;
use crate::log::{LogStore, LogView, MarkError, marked};
use crate::machine::{MachineHandle, MachineStore, StateMachine};
use crate::raft::{self, Entry, LogId, Payload, TypeConfig, Vote};
use crate::replica::{OpenError, open};
use crate::snapshot::{Incoming, SnapshotFolder};
use crate::wire::{self, proto};

/// Small enough that a snapshot of a test travels in several pieces.
const PIECE_BYTES: usize = 4096;

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self { term: raft::term(&id), index: id.index() }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        raft::log_id(position.term, position.index)
    }
}

/// Whom a replica voted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// The candidate.
    pub candidate: u64,
    /// Whether it is known to lead.
    pub committed: bool,
}

impl From<Vote> for Ballot {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, candidate: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(ballot: Ballot) -> Self {
        match ballot.committed {
            true => Vote::new_committed(ballot.term, ballot.candidate),
            false => Vote::new(ballot.term, ballot.candidate),
        }
    }
}

/// What the high-water mark on a disk promises.
pub fn read_mark(disk: &dyn Disk) -> Result<(Option<Ballot>, Option<Position>), MarkError> {
    let mark = marked(disk)?;
    Ok((mark.vote.map(Ballot::from), mark.last_log_id.map(Position::from)))
}

/// An append on its way to the disk.
pub struct Pending(oneshot::Receiver<Result<(), io::Error>>);

impl Pending {
    /// Returns once the entries are durable.
    pub async fn durable(self) -> io::Result<()> {
        self.0.await.map_err(io::Error::other)?
    }
}

/// The open commit path.
pub struct CommitPath {
    log: LogStore,
    view: LogView,
    snapshots: Arc<SnapshotFolder>,
    machine: MachineHandle,
    store: MachineStore,
}

impl CommitPath {
    /// Opens it as a replica opens: log, snapshot, replay up to the last commit that the disk knows of.
    pub async fn open(
        config: &ReplicaConfig,
        disk: Arc<dyn Disk>,
        history: Arc<dyn History>,
        machine: impl StateMachine,
    ) -> Result<Self, OpenError> {
        let (snapshots, log) = open::open_disk(config, disk, history).await?;
        let (view, execution, fatal) = (log.view(), config.execution, config.fatal.clone());
        let machine = MachineHandle::start(Box::new(machine), execution, fatal.clone());
        open::recover(&machine, &snapshots, &view).await?;
        let store = MachineStore::new(machine.clone(), snapshots.clone(), view.clone(), execution, fatal);
        Ok(Self { log, view, snapshots, machine, store })
    }

    /// Appends entries; they are readable at once.
    pub async fn append(&mut self, entries: Vec<(Position, Bytes)>) -> io::Result<Pending> {
        let (done, durable) = TypeConfig::oneshot();
        let entries = entries
            .into_iter()
            .map(|(at, payload)| Entry::new(at.into(), EntryPayload::Normal(Payload(payload))));
        self.log.append(entries.collect::<Vec<_>>(), IOFlushed::signal(done)).await?;
        Ok(Pending(durable))
    }

    /// Returns once the vote is durable.
    pub async fn save_vote(&mut self, ballot: Ballot) -> io::Result<()> {
        self.log.save_vote(&ballot.into()).await
    }

    /// Removes everything after `last`.
    pub async fn truncate_after(&mut self, last: Option<Position>) -> io::Result<()> {
        self.log.truncate_after(last.map(LogId::from)).await
    }

    /// Writes down the commit and applies up to it.
    pub async fn commit(&mut self, upto: Position) -> io::Result<()> {
        self.log.save_committed(Some(upto.into())).await?;
        let next = self.applied().map_or(0, |applied| applied.index + 1);
        let entries = self.view.reader().read(next, upto.index + 1, usize::MAX).await?;
        Ok(self.machine.apply(entries.into_iter().map(|entry| (entry, None)).collect()).await?)
    }

    /// Forgets the log up to an entry that a snapshot covers.
    pub async fn purge(&mut self, upto: Position) -> io::Result<()> {
        self.log.purge(upto.into()).await
    }

    /// Returns once everything before is durable.
    pub async fn barrier(&self) -> io::Result<()> {
        self.view.barrier().await
    }

    /// Returns once the high-water mark promises durably what the log has.
    pub async fn marked(&self) {
        self.log.marked().await;
    }

    /// Builds a snapshot of what is applied and makes it current.
    pub async fn snapshot(&self) -> io::Result<()> {
        let (meta, state) = self.machine.freeze().await?;
        self.snapshots.build(meta, state)?;
        Ok(())
    }

    /// Receives and installs the current snapshot of another one, as a follower does; its history must be here already.
    pub async fn install(&mut self, from: &CommitPath) -> io::Result<()> {
        let file = from.snapshots.current().ok_or_else(|| io::Error::other("there is nothing to install"))?;
        let key = proto::SnapshotKey {
            sender_disk_id: from.log.disk_id().to_vec().into(),
            last_log_id: file.meta().last_log_id.as_ref().map(wire::log_id),
            length_bytes: file.length_bytes(),
            checksum: file.total_checksum(),
        };
        let mut incoming = Incoming::new(self.snapshots.clone());
        let mut offset_bytes = incoming.offer(key.clone()).map_err(io::Error::other)?;
        while offset_bytes < file.length_bytes() {
            let content = file.read_at(offset_bytes, PIECE_BYTES).map_err(io::Error::other)?;
            let chunk = proto::SnapshotChunk { offset_bytes, checksum: crc32c::crc32c(&content), content };
            offset_bytes = incoming.chunk(&key, &chunk).map_err(io::Error::other)?;
        }
        let received = incoming.finish(&key).map_err(io::Error::other)?;
        let meta = received.meta().clone();
        self.store.install_snapshot(&meta, Arc::new(received)).await
    }

    /// All entries that are there, in order.
    pub async fn entries(&self) -> io::Result<Vec<(Position, Bytes)>> {
        let entries = self.view.reader().read(0, u64::MAX, usize::MAX).await?;
        let payload = |entry: Entry| match entry.payload {
            EntryPayload::Normal(Payload(bytes)) => bytes,
            EntryPayload::Blank | EntryPayload::Membership(_) => Bytes::new(),
        };
        Ok(entries.into_iter().map(|entry| (entry.log_id().into(), payload(entry))).collect())
    }

    /// The vote.
    pub async fn vote(&self) -> io::Result<Option<Ballot>> {
        Ok(self.view.reader().read_vote().await?.map(Ballot::from))
    }

    /// The last commit that the disk knows of.
    pub fn committed(&self) -> Option<Position> {
        self.view.committed().map(Position::from)
    }

    /// The last entry that was purged.
    pub fn purged(&self) -> Option<Position> {
        self.view.purged().map(Position::from)
    }

    /// The last entry that the machine has seen, by replay or by a snapshot.
    pub fn applied(&self) -> Option<Position> {
        self.machine.applied().last.map(Position::from)
    }

    /// Where the current snapshot ends.
    pub fn snapshot_index(&self) -> Option<u64> {
        self.snapshots.current_index()
    }
}
