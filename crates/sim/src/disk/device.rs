//! The state behind the handles of one disk, and the gate that every change passes: life, cut, faults, room.

use std::time::Duration;

use paceline_replica::{Batch, Change, DiskError, Folder, Space};

use super::crash::CrashKind;
use super::faults::{Faults, Operation};
use super::files::{FileId, Files};
use super::keys::Keys;
use super::names::{Names, Pending};
use crate::draw::Draw;

/// What a disk holds, and what it is up to.
pub struct Device {
    pub name: String,
    pub draw: Draw,
    pub keys: Keys,
    pub files: Files,
    pub names: Names,
    pub faults: Faults,
    pub fail_next: Option<Operation>,
    pub operations: u64,
    /// Changes that failed, other than for want of power.
    pub errors: u64,
    /// Ends of the log that were given up for others.
    pub truncations: u64,
    /// The life whose handles are served.
    pub life: u64,
    /// No process has it open.
    pub closed: bool,
    planned_cut: Option<(u64, CrashKind)>,
}

impl Device {
    pub fn new(name: String, draw: Draw) -> Self {
        Self {
            name,
            draw,
            keys: Keys::default(),
            files: Files::default(),
            names: Names::default(),
            faults: Faults::default(),
            fail_next: None,
            operations: 0,
            errors: 0,
            truncations: 0,
            life: 0,
            closed: false,
            planned_cut: None,
        }
    }

    pub fn cut_after(&mut self, operations: u64, kind: CrashKind) {
        self.planned_cut = Some((self.operations + operations, kind));
    }

    /// The cut that has happened.
    pub fn cut(&self) -> Option<CrashKind> {
        self.planned_cut.filter(|(at, _)| self.operations >= *at).map(|(_, kind)| kind)
    }

    pub fn forget_cut(&mut self) {
        self.planned_cut = None;
    }

    pub fn check_life(&self, life: u64) -> Result<(), DiskError> {
        if life != self.life || self.closed {
            return Err(DiskError::new("use", &self.name, "the process that opened it has died"));
        }
        if self.cut().is_some() {
            return Err(DiskError::new("use", &self.name, "the power is gone"));
        }
        Ok(())
    }

    pub fn stall(&mut self) -> Duration {
        self.faults.stall(&mut self.draw)
    }

    pub fn free_bytes(&self) -> Option<u64> {
        let capacity = self.faults.capacity_bytes?;
        Some(capacity.saturating_sub(self.used_bytes()))
    }

    pub fn used_bytes(&self) -> u64 {
        let files: u64 = self.names.all().map(|(_, _, id)| self.files.length_bytes(id)).sum();
        self.keys.bytes() + files
    }

    /// Every change of the disk begins here.
    fn admit(&mut self, operation: Operation, target: &str, bytes: usize) -> Result<(), DiskError> {
        self.operations += 1;
        if self.cut().is_some() {
            return Err(DiskError::new(operation.verb(), target, "the power is gone"));
        }
        let told = self.fail_next.take_if(|next| *next == operation).is_some();
        let cause = if told || self.faults.strikes(operation, &mut self.draw) {
            "input/output error"
        } else if operation.is_write() && self.free_bytes().is_some_and(|free| free < bytes as u64) {
            "no space left on device"
        } else {
            return Ok(());
        };
        self.errors += 1;
        Err(DiskError::new(operation.verb(), target, cause))
    }

    fn check_keys(&self, operation: Operation) -> Result<(), DiskError> {
        if self.keys.broken {
            let cause = "read-only after an earlier error";
            return Err(DiskError::new(operation.verb(), &self.name, cause));
        }
        Ok(())
    }

    pub fn write_keys(&mut self, batch: Batch) -> Result<(), DiskError> {
        self.check_keys(Operation::WriteKeys)?;
        let name = self.name.clone();
        if let Err(error) = self.admit(Operation::WriteKeys, &name, batch_bytes(&batch)) {
            self.keys.write_failed(batch);
            return Err(error);
        }
        self.truncations += u64::from(truncates(&batch));
        self.keys.write(batch);
        Ok(())
    }

    pub fn sync_keys(&mut self) -> Result<(), DiskError> {
        self.check_keys(Operation::SyncKeys)?;
        let name = self.name.clone();
        if let Err(error) = self.admit(Operation::SyncKeys, &name, 0) {
            if self.cut().is_none() {
                let saved = self.draw.position(self.keys.pending.len() + 1);
                self.keys.save(saved);
            }
            self.keys.broken = true;
            return Err(error);
        }
        if !self.faults.lying_sync {
            self.keys.sync();
        }
        Ok(())
    }

    pub fn write_file(&mut self, id: FileId, path: &str, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.admit(Operation::WriteFile, path, bytes.len())?;
        let at = usize::try_from(at).map_err(|_| DiskError::new("write", path, "file too large"))?;
        self.files.write(id, at, bytes);
        Ok(())
    }

    pub fn sync_file(&mut self, id: FileId, path: &str) -> Result<(), DiskError> {
        if let Err(error) = self.admit(Operation::SyncFile, path, 0) {
            if self.cut().is_none() {
                self.files.sync_failed(id, &mut self.draw);
            }
            return Err(error);
        }
        if !self.faults.lying_sync {
            self.files.sync(id);
        }
        Ok(())
    }

    /// An existing file is emptied and keeps its name, as `O_TRUNC` does.
    pub fn create(&mut self, folder: Folder, name: &str, path: &str) -> Result<FileId, DiskError> {
        self.admit(Operation::ChangeName, path, 0)?;
        if let Some(id) = self.names.find(folder, name) {
            self.files.truncate(id);
            return Ok(id);
        }
        let id = self.files.create();
        self.names.change(Pending::Create { folder, name: name.to_owned(), id });
        Ok(id)
    }

    pub fn rename(&mut self, folder: Folder, from: &str, to: &str, path: &str) -> Result<(), DiskError> {
        self.admit(Operation::ChangeName, path, 0)?;
        if self.names.find(folder, from).is_none() {
            return Err(DiskError::new("rename", path, "no such file"));
        }
        if from != to {
            self.names.change(Pending::Rename { folder, from: from.to_owned(), to: to.to_owned() });
        }
        Ok(())
    }

    pub fn remove(&mut self, folder: Folder, name: &str, path: &str) -> Result<(), DiskError> {
        self.admit(Operation::ChangeName, path, 0)?;
        if self.names.find(folder, name).is_some() {
            self.names.change(Pending::Remove { folder, name: name.to_owned() });
        }
        Ok(())
    }

    pub fn sync_folder(&mut self, folder: Folder) -> Result<(), DiskError> {
        self.admit(Operation::SyncFolder, &format!("{folder:?}"), 0)?;
        if !self.faults.lying_sync {
            self.names.sync_folder(folder);
        }
        Ok(())
    }
}

fn batch_bytes(batch: &Batch) -> usize {
    use paceline_replica::Change;

    let put = |change: &Change| match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::DeleteRange { .. } => 0,
    };
    batch.changes().iter().map(put).sum()
}

/// Whether a batch takes the end of the log away, and not all of it for a snapshot that is ahead of it.
fn truncates(batch: &Batch) -> bool {
    let is_end = |change: &Change| matches!(change, Change::DeleteRange { space: Space::Log, to, .. } if *to == u64::MAX.to_be_bytes());
    let is_purge =
        |change: &Change| matches!(change, Change::Put { space: Space::Meta, key, .. } if key == b"purged");
    batch.changes().iter().any(is_end) && !batch.changes().iter().any(is_purge)
}
