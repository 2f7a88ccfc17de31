//! Receiving a snapshot: in pieces, resumable by offset for as long as sender and file stay the same.
//!
//! One transfer at a time; another sender or another file replaces it. A restart forgets it. The history that belongs to
//! the snapshot comes with it, see `history/shipping`; without it the file is not handed on.

use std::sync::Arc;

use paceline_types::plant::{Plant, is_planted};

use super::folder::SnapshotFolder;
use super::{SnapshotError, SnapshotFile};
use crate::disk::{DiskError, DiskFile};
use crate::history::HistoryIntake;
use crate::raft::LogId;
use crate::wire::{self, proto};

/// A snapshot larger than this is not a cell's state but an attack or a bug.
const LENGTH_LIMIT_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// A piece that cannot be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferError {
    /// The disk failed.
    #[error("the snapshot cannot be received")]
    Disk(#[from] DiskError),
    /// Longer than any state.
    #[error("a snapshot of {bytes} bytes is announced; the limit is {LENGTH_LIMIT_BYTES}")]
    TooLong {
        /// What was announced.
        bytes: u64,
    },
    /// No such transfer, or another one took its place.
    #[error("no such transfer is under way; offer the snapshot again")]
    NotOffered,
    /// The piece was damaged on the way.
    #[error("the checksum of the piece at {offset_bytes} is wrong")]
    Checksum {
        /// Where it begins.
        offset_bytes: u64,
    },
    /// The file is not complete.
    #[error("{received_bytes} of {length_bytes} bytes have arrived")]
    Incomplete {
        /// What arrived.
        received_bytes: u64,
        /// What was announced.
        length_bytes: u64,
    },
    /// The history up to the snapshot is not here.
    #[error(
        "the history here reaches to revision {watermark}; the snapshot ends at {upto}: send the history first"
    )]
    HistoryBehind {
        /// Up to where it is here.
        watermark: u64,
        /// Up to where it must be.
        upto: u64,
    },
    /// Rows or a watermark above the snapshot that they belong to.
    #[error("the history goes beyond revision {upto}, where the snapshot ends")]
    HistoryBeyond {
        /// Where the snapshot ends.
        upto: u64,
    },
    /// A piece of a large row that does not continue the one before.
    #[error("a piece of history does not fit what came before; offer the snapshot again")]
    HistoryPiece,
    /// The complete file is not a valid snapshot.
    #[error(transparent)]
    Invalid(#[from] SnapshotError),
}

/// The transfer under way, if any.
pub struct Incoming {
    folder: Arc<SnapshotFolder>,
    history: HistoryIntake,
    transfer: Option<Transfer>,
}

struct Transfer {
    key: proto::SnapshotKey,
    name: String,
    file: Arc<dyn DiskFile>,
    received_bytes: u64,
}

fn last_of(key: &proto::SnapshotKey) -> Option<LogId> {
    key.last_log_id.map(wire::log_id_from)
}

impl Incoming {
    /// Nothing under way.
    pub fn new(folder: Arc<SnapshotFolder>) -> Self {
        let history = HistoryIntake::new(folder.history().clone());
        Self { folder, history, transfer: None }
    }

    /// Begins a transfer or finds it again; returns the offset to go on from.
    pub fn offer(&mut self, key: proto::SnapshotKey) -> Result<u64, TransferError> {
        if key.length_bytes > LENGTH_LIMIT_BYTES {
            return Err(TransferError::TooLong { bytes: key.length_bytes });
        }
        if let Some(transfer) = self.transfer.as_ref().filter(|transfer| transfer.key == key) {
            return Ok(transfer.received_bytes);
        }
        self.transfer = None;
        let (name, file) = self.folder.create_incoming(last_of(&key))?;
        self.transfer = Some(Transfer { key, name, file, received_bytes: 0 });
        Ok(0)
    }

    /// Takes a piece. One that was taken before, or that leaves a gap, changes nothing; the answer says where to go on.
    pub fn chunk(
        &mut self,
        key: &proto::SnapshotKey,
        chunk: &proto::SnapshotChunk,
    ) -> Result<u64, TransferError> {
        let transfer = self.transfer.as_mut().filter(|transfer| transfer.key == *key);
        let transfer = transfer.ok_or(TransferError::NotOffered)?;
        if crc32c::crc32c(&chunk.content) != chunk.checksum {
            return Err(TransferError::Checksum { offset_bytes: chunk.offset_bytes });
        }
        let end = chunk.offset_bytes.saturating_add(chunk.content.len() as u64);
        if chunk.offset_bytes == transfer.received_bytes && end <= transfer.key.length_bytes {
            transfer.file.write_at(chunk.offset_bytes, &chunk.content)?;
            transfer.received_bytes = end;
        }
        Ok(transfer.received_bytes)
    }

    /// Up to where the history is here, as a shipment of it begins.
    pub fn begin_history(&mut self) -> Result<u64, TransferError> {
        Ok(self.history.begin()?)
    }

    /// Takes history that belongs to the snapshot of this key; the answer is up to where it is here now.
    pub fn history(
        &mut self,
        key: &proto::SnapshotKey,
        rows: proto::HistoryRows,
    ) -> Result<u64, TransferError> {
        if self.transfer.as_ref().is_none_or(|transfer| transfer.key != *key) {
            return Err(TransferError::NotOffered);
        }
        self.history.take(rows, last_of(key).map_or(0, |id| id.index()))
    }

    /// Ends the transfer: the file is whole, durable and checked, its history is here, and it is not yet current.
    pub fn finish(&mut self, key: &proto::SnapshotKey) -> Result<SnapshotFile, TransferError> {
        let transfer = self.transfer.take_if(|transfer| transfer.key == *key);
        let transfer = transfer.ok_or(TransferError::NotOffered)?;
        let (received_bytes, length_bytes) = (transfer.received_bytes, transfer.key.length_bytes);
        if received_bytes != length_bytes {
            self.transfer = Some(transfer);
            return Err(TransferError::Incomplete { received_bytes, length_bytes });
        }
        let watermark = self.folder.history().watermark()?;
        let upto = last_of(key).map_or(0, |id| id.index());
        if watermark < upto {
            self.transfer = Some(transfer);
            return Err(TransferError::HistoryBehind { watermark, upto });
        }
        if !is_planted(Plant::ReceivedNotSynced) {
            transfer.file.sync()?;
        }
        Ok(self.folder.open_incoming(&transfer.name)?)
    }
}
