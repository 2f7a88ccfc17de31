//! A disk in memory that fails like a real one, from a seed: the `Disk` of `replica` with faults.
//!
//! It keeps what the caller sees apart from what is safe, and at a crash decides by its own random numbers what of the
//! rest survives. It decides nothing else: when to crash is the simulation's business, what a failure means is
//! `replica`'s.
//!
//! ```text
//!   key spaces   write ─► visible, pending batches ─── sync ──► safe     power cut: a prefix of the batches survives
//!   file bytes   write_at ─► visible, pending ranges ─ sync ──► safe     power cut: any set of sectors, in any order
//!   names        create, rename, remove ─► pending ─ sync_folder ─► safe power cut: a prefix per folder
//! ```
//!
//! The rules, and where they come from:
//!
//! * Key spaces are RocksDB's write-ahead log: records in order, torn ones dropped whole, never a hole in the middle
//!   (recovery refuses holes). After a failed write or sync RocksDB stays read-only until it is opened again, and the
//!   failed batch may be on the disk all the same.
//! * File bytes reach the disk when the kernel likes, a sector at a time, and a sector is written whole. A length that
//!   grew may survive without its bytes, as zeros. A truncation is metadata: what was written after one that did not
//!   survive did not survive either.
//! * Names are changed through the journal of the file system, which keeps the order of changes in one folder; nothing
//!   is taken for granted between two folders, and a rename can survive while the bytes of its file do not. (ext4 and
//!   XFS keep one order for all folders; a caller who relies on that would be wrong elsewhere.)
//! * A failed sync of a file loses what it was to save: the kernel marks those pages clean, and the next sync
//!   succeeds without them (fsyncgate).
//! * A process that dies without a power cut loses nothing that was written: the kernel keeps file bytes and names
//!   pending, and RocksDB saves what it reads back from its log as it opens.

mod crash;
mod damage;
mod device;
mod faults;
mod files;
mod keys;
mod names;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_replica::{Batch, Disk, DiskError, DiskFile, Folder, Space, Visit};
use parking_lot::Mutex;

pub use crash::{CrashKind, FileLoss, Loss};
pub use damage::{Damage, RestPoint, Target};
pub use faults::{Faults, Operation, SlowSync};

use crate::draw::Draw;
use crate::medium::Medium;
use device::Device;
use files::FileId;

/// What a disk writes at once or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A handle on a simulated disk, for one life of the process that uses it. Clones are the same handle.
#[derive(Clone)]
pub struct SimDisk {
    device: Arc<Mutex<Device>>,
    /// Handles of a process that has died are refused.
    life: u64,
}

impl SimDisk {
    /// An empty disk. All its choices come from `draw`.
    pub fn new(name: impl Into<String>, draw: Draw) -> Self {
        Self { device: Arc::new(Mutex::new(Device::new(name.into(), draw))), life: 0 }
    }

    /// Sets what may fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.device.lock().faults = faults;
    }

    /// Makes the next such operation fail.
    pub fn fail_next(&self, operation: Operation) {
        self.device.lock().fail_next = Some(operation);
    }

    /// The process or the power goes after `operations` more changes of the disk, each write, sync, creation, rename and
    /// removal counting as one: from there on everything fails. The crash itself is still to be made with
    /// [`SimDisk::crash`].
    pub fn cut_after(&self, operations: u64, kind: CrashKind) {
        self.device.lock().cut_after(operations, kind);
    }

    /// Nothing fails any more that was not to fail from the beginning: no planned cut, no planned error.
    pub fn forgive(&self) {
        let mut device = self.device.lock();
        if device.cut().is_none() {
            device.forget_cut();
        }
        device.fail_next = None;
        device.faults.capacity_bytes = None;
    }

    /// Whether a cut that was planned has happened.
    pub fn is_cut(&self) -> bool {
        self.device.lock().cut().is_some()
    }

    /// Changes of the disk so far.
    pub fn operations(&self) -> u64 {
        self.device.lock().operations
    }

    /// Changes that failed so far, other than for want of power.
    pub fn errors(&self) -> u64 {
        self.device.lock().errors
    }

    /// How often the end of the log was given up for others.
    pub fn truncations(&self) -> u64 {
        self.device.lock().truncations
    }

    /// Whether it has no room since somebody filled it.
    pub fn is_full(&self) -> bool {
        self.device.lock().faults.capacity_bytes.is_some()
    }

    /// Whether a file in this folder has such an end of its name.
    pub fn has_file(&self, folder: Folder, ending: &str) -> bool {
        self.device.lock().names.list(folder).iter().any(|name| name.ends_with(ending))
    }

    /// What is written, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.device.lock().used_bytes()
    }

    /// The names in a folder, as a process would see them.
    pub fn names(&self, folder: Folder) -> Vec<String> {
        self.device.lock().names.list(folder)
    }

    /// Ends the life of the process: its handles are refused from now on. A cut that happened before decides the kind.
    pub fn crash(&self, kind: CrashKind) -> Loss {
        self.device.lock().crash(kind)
    }

    /// A handle for the next life, with whatever survived.
    pub fn reopen(&self) -> Self {
        let life = self.device.lock().begin_life();
        Self { device: self.device.clone(), life }
    }

    /// What is safe now, to bring parts of it back later with [`Damage::StaleCopy`].
    pub fn rest_point(&self) -> RestPoint {
        self.device.lock().rest_point()
    }

    /// Every value and file that could be damaged.
    pub fn targets(&self) -> Vec<Target> {
        self.device.lock().targets()
    }

    /// Damages something behind the back of whoever wrote it. `None` where it would change nothing, otherwise what was
    /// done, in words.
    pub fn damage(&self, target: &Target, damage: &Damage) -> Option<String> {
        self.device.lock().damage(target, damage)
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Device) -> Result<T, DiskError>) -> Result<T, DiskError> {
        let mut device = self.device.lock();
        device.check_life(self.life)?;
        work(&mut device)
    }

    fn file(&self, id: FileId, path: String) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), id, path })
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({})", self.device.lock().name)
    }
}

/// A life that begins without a crash before it follows one that was killed.
impl Medium for SimDisk {
    fn begin_life(&self) -> Arc<dyn Disk> {
        if !self.device.lock().closed {
            self.crash(CrashKind::Kill);
        }
        Arc::new(self.reopen())
    }

    fn power_cut(&self, _draw: &mut Draw) {
        self.crash(CrashKind::PowerCut);
    }

    fn disk(&self) -> Option<SimDisk> {
        Some(self.clone())
    }
}

struct SimFile {
    disk: SimDisk,
    id: FileId,
    path: String,
}

impl DiskFile for SimFile {
    fn write_at(&self, offset_bytes: u64, content: &[u8]) -> Result<(), DiskError> {
        self.disk.locked(|device| device.write_file(self.id, &self.path, offset_bytes, content))
    }

    fn read_at(&self, offset_bytes: u64, max_bytes: usize) -> Result<Bytes, DiskError> {
        self.disk.locked(|device| Ok(device.files.read(self.id, offset_bytes, max_bytes)))
    }

    fn length_bytes(&self) -> Result<u64, DiskError> {
        self.disk.locked(|device| Ok(device.files.length_bytes(self.id)))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.locked(|device| device.sync_file(self.id, &self.path))
    }
}

impl Disk for SimDisk {
    fn write(&self, batch: Batch) -> Result<(), DiskError> {
        self.locked(|device| device.write_keys(batch))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.locked(Device::sync_keys)
    }

    fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.locked(|device| Ok(device.keys.read(space, key)))
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let found = self.locked(|device| Ok(device.keys.range(space, from, to)))?;
        for (key, value) in found {
            if visit(&key, &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn reclaim(&self, _space: Space, _from: &[u8], _to: &[u8]) -> Result<(), DiskError> {
        self.locked(|_| Ok(()))
    }

    fn create(&self, folder: Folder, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let path = self.describe(folder, name);
        let id = self.locked(|device| device.create(folder, name, &path))?;
        Ok(self.file(id, path))
    }

    fn open(&self, folder: Folder, name: &str) -> Result<Option<Box<dyn DiskFile>>, DiskError> {
        let id = self.locked(|device| Ok(device.names.find(folder, name)))?;
        Ok(id.map(|id| self.file(id, self.describe(folder, name))))
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), DiskError> {
        let path = self.describe(folder, from);
        self.locked(|device| device.rename(folder, from, to, &path))
    }

    fn remove(&self, folder: Folder, name: &str) -> Result<(), DiskError> {
        let path = self.describe(folder, name);
        self.locked(|device| device.remove(folder, name, &path))
    }

    fn list(&self, folder: Folder) -> Result<Vec<String>, DiskError> {
        self.locked(|device| Ok(device.names.list(folder)))
    }

    fn sync_folder(&self, folder: Folder) -> Result<(), DiskError> {
        self.locked(|device| device.sync_folder(folder))
    }

    fn free_bytes(&self) -> Result<Option<u64>, DiskError> {
        self.locked(|device| Ok(device.free_bytes()))
    }

    fn stall(&self) -> Duration {
        self.device.lock().stall()
    }

    fn describe(&self, folder: Folder, name: &str) -> String {
        names::path(folder, name)
    }

    fn describe_space(&self, space: Space) -> String {
        format!("{}/{space:?}", self.device.lock().name)
    }
}
