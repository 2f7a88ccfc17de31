//! The snapshot folder of one replica: one current snapshot, at most one being built and one being received.

use std::sync::Arc;

use paceline_types::plant::{Plant, is_planted};
use parking_lot::Mutex;

use super::format::{ChunkWriter, SnapshotFile, write_header};
use super::{SnapshotError, name};
use crate::disk::{Disk, DiskError, DiskFile, Folder};
use crate::history::{History, Keep};
use crate::machine::FrozenState;
use crate::raft::{LogId, SnapshotMeta};

/// A snapshot is copied between folders in pieces of this size.
const COPY_BYTES: usize = 1024 * 1024;

/// The folder and what is in it.
pub struct SnapshotFolder {
    disk: Arc<dyn Disk>,
    history: Arc<dyn History>,
    cell: String,
    current: Mutex<Option<Arc<SnapshotFile>>>,
    /// The number of the last transfer. Whoever creates, renames or removes an incoming file holds this.
    transfers: Mutex<u64>,
}

impl SnapshotFolder {
    /// Removes what a crash left half-written and finds the newest snapshot. Its chunks are checked when it is restored.
    /// The history must reach to where it ends: the log up to there may be purged.
    pub fn open(disk: Arc<dyn Disk>, history: Arc<dyn History>, cell: &str) -> Result<Self, SnapshotError> {
        let names = disk.list(Folder::Snapshots)?;
        for unfinished in names.iter().filter(|name| name::is_unfinished(name)) {
            disk.remove(Folder::Snapshots, unfinished)?;
        }
        let newest = names.iter().filter(|name| name::is_complete(name)).max().cloned();
        let cell = cell.to_owned();
        let folder = Self { disk, history, cell, current: Mutex::new(None), transfers: Mutex::new(0) };
        if let Some(newest) = newest {
            let snapshot = folder.open_file(&newest)?;
            if name::complete(snapshot.meta().last_log_id) != newest {
                let problem = "its name and its header disagree".into();
                return Err(SnapshotError::Damaged { file: snapshot.place().to_owned(), problem });
            }
            let (upto, watermark) = (index_of(snapshot.meta()), folder.history.watermark()?);
            if watermark < upto {
                let file = snapshot.place().to_owned();
                return Err(SnapshotError::HistoryBehind { file, upto, watermark });
            }
            *folder.current.lock() = Some(Arc::new(snapshot));
            folder.remove_superseded()?;
        }
        Ok(folder)
    }

    /// The history that the snapshots refer to.
    pub fn history(&self) -> &Arc<dyn History> {
        &self.history
    }

    /// The snapshot that a restart begins from and that followers get.
    pub fn current(&self) -> Option<Arc<SnapshotFile>> {
        self.current.lock().clone()
    }

    /// The index that the current snapshot ends at.
    pub fn current_index(&self) -> Option<u64> {
        self.current().and_then(|file| file.meta().last_log_id).map(|id| id.index())
    }

    /// Writes a frozen state and makes it current, once everything that it refers to is durable.
    pub fn build(
        &self,
        meta: SnapshotMeta,
        mut state: Box<dyn FrozenState>,
    ) -> Result<Arc<SnapshotFile>, SnapshotError> {
        if let Some(current) = self.current().filter(|file| file.meta().last_log_id >= meta.last_log_id) {
            return Ok(current);
        }
        let temporary = name::building(meta.last_log_id);
        let file = self.disk.create(Folder::Snapshots, &temporary)?;
        let mut chunks = ChunkWriter::new(file.as_ref(), write_header(file.as_ref(), &meta, &self.cell)?);
        while let Some(chunk) = state.chunks() {
            chunks.chunk(&chunk)?;
        }
        chunks.finish()?;
        if !is_planted(Plant::SnapshotNotSynced) {
            file.sync()?;
        }
        // All that retired up to here is durable once it is settled; from then on the watermark may say so. It comes before
        // the rename: the log is purged only behind a snapshot that is current, so never beyond the watermark.
        state.settle()?;
        if !is_planted(Plant::HistoryNotRaised) {
            self.history.put(&[], index_of(&meta), &Keep::ALL)?;
        }
        self.publish(&temporary, meta.last_log_id)?;
        self.remove_superseded()?;
        self.current().ok_or_else(|| SnapshotError::Refused("it disappeared while it was published".into()))
    }

    /// Makes a received snapshot current: renamed if it was received into this folder, copied otherwise.
    pub fn adopt(&self, snapshot: &SnapshotFile) -> Result<Arc<SnapshotFile>, SnapshotError> {
        let last = snapshot.meta().last_log_id;
        if let Some(current) = self.current().filter(|file| file.meta().last_log_id == last) {
            return Ok(current);
        }
        let mut transfers = self.transfers.lock();
        let mut incoming = snapshot.name().to_owned();
        if !name::is_incoming(&incoming) || self.disk.open(Folder::Snapshots, &incoming)?.is_none() {
            *transfers += 1;
            incoming = name::incoming(last, *transfers);
            self.copy(snapshot, &incoming)?;
        }
        self.publish(&incoming, last)?;
        self.current().ok_or_else(|| SnapshotError::Refused("it disappeared while it was published".into()))
    }

    /// Removes every complete snapshot but the current one.
    pub fn remove_superseded(&self) -> Result<(), SnapshotError> {
        let Some(current) = self.current() else { return Ok(()) };
        for name in self.disk.list(Folder::Snapshots)? {
            if name::is_complete(&name) && name != current.name() {
                self.disk.remove(Folder::Snapshots, &name)?;
            }
        }
        Ok(self.sync_names()?)
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        if is_planted(Plant::FolderNotSynced) { Ok(()) } else { self.disk.sync_folder(Folder::Snapshots) }
    }

    /// Creates the file that a transfer fills, and returns its name. Names of earlier transfers go, so that at most one is
    /// there; one that waits to be installed is open and is copied then.
    pub(super) fn create_incoming(
        &self,
        last: Option<LogId>,
    ) -> Result<(String, Arc<dyn DiskFile>), DiskError> {
        let mut transfers = self.transfers.lock();
        for earlier in self.disk.list(Folder::Snapshots)?.iter().filter(|name| name::is_incoming(name)) {
            self.disk.remove(Folder::Snapshots, earlier)?;
        }
        *transfers += 1;
        let name = name::incoming(last, *transfers);
        let file = self.disk.create(Folder::Snapshots, &name)?;
        Ok((name, file.into()))
    }

    /// Opens and fully checks a received file.
    pub(super) fn open_incoming(&self, name: &str) -> Result<SnapshotFile, SnapshotError> {
        let snapshot = self.open_file(name)?;
        snapshot.verify()?;
        Ok(snapshot)
    }

    fn copy(&self, snapshot: &SnapshotFile, to: &str) -> Result<(), DiskError> {
        let copy = self.disk.create(Folder::Snapshots, to)?;
        let mut at = 0;
        while at < snapshot.length_bytes() {
            let piece = snapshot.file().read_at(at, COPY_BYTES)?;
            copy.write_at(at, &piece)?;
            at += piece.len().max(1) as u64;
        }
        copy.sync()
    }

    fn publish(&self, temporary: &str, last: Option<LogId>) -> Result<(), SnapshotError> {
        let complete = name::complete(last);
        if is_planted(Plant::SnapshotRemovedFirst) {
            for earlier in self.disk.list(Folder::Snapshots)?.iter().filter(|name| name::is_complete(name)) {
                self.disk.remove(Folder::Snapshots, earlier)?;
            }
            self.sync_names()?;
        }
        self.disk.rename(Folder::Snapshots, temporary, &complete)?;
        self.sync_names()?;
        let published = self.open_file(&complete)?;
        *self.current.lock() = Some(Arc::new(published));
        Ok(())
    }

    fn open_file(&self, name: &str) -> Result<SnapshotFile, SnapshotError> {
        let place = self.disk.describe(Folder::Snapshots, name);
        let file = self.disk.open(Folder::Snapshots, name)?;
        let file = file.ok_or_else(|| DiskError::new("open", place.clone(), "no such file"))?;
        let snapshot = SnapshotFile::open(file.into(), name.to_owned(), place.clone())?;
        if snapshot.cell() != self.cell {
            let (found, expected) = (snapshot.cell().to_owned(), self.cell.clone());
            return Err(SnapshotError::OtherCell { file: place, found, expected });
        }
        Ok(snapshot)
    }
}

/// Where a snapshot ends.
fn index_of(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index())
}
