//! A disk in memory that keeps what is synced apart from what is only written.
//!
//! `crash()` drops everything that was not synced, as a power cut would; `fail_next` makes one operation fail. It has no
//! faults of its own accord: the simulator builds its faulty disk on top of it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Change, Disk, DiskError, DiskFile, Folder, Space, Visit};

/// An operation that [`MemoryDisk::fail_next`] can make fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The next batch write.
    Write,
    /// The next sync of the key spaces.
    Sync,
    /// The next sync of a file.
    FileSync,
    /// The next sync of the key spaces reports success and syncs nothing.
    LyingSync,
}

type Keys = BTreeMap<(Space, Vec<u8>), Bytes>;
type Content = Arc<Mutex<FileContent>>;
type Names = BTreeMap<(Folder, String), Content>;

#[derive(Debug, Clone, Default)]
struct FileContent {
    visible: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    keys: Keys,
    /// Written in this order and not yet synced; a crash keeps none of them, or a prefix if the test says so.
    pending: Vec<Batch>,
    synced_keys: Keys,
    names: Names,
    synced_names: Names,
    fault: Option<DiskFault>,
    syncs: u64,
}

/// A disk in memory. Clones share the content, as two openings of one folder would.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is left after a power cut: the synced part, and the first `kept_batches` of the unsynced batches (a real
    /// disk may have written any prefix of its log by itself). The original is not changed.
    pub fn after_crash(&self, kept_batches: usize) -> MemoryDisk {
        let state = self.state.lock();
        let mut keys = state.synced_keys.clone();
        for batch in state.pending.iter().take(kept_batches) {
            apply(&mut keys, batch);
        }
        let names: Names = state
            .synced_names
            .iter()
            .map(|(name, content)| {
                let synced = content.lock().synced.clone();
                (name.clone(), Arc::new(Mutex::new(FileContent { visible: synced.clone(), synced })))
            })
            .collect();
        let survivor =
            State { synced_keys: keys.clone(), keys, synced_names: names.clone(), names, ..State::default() };
        MemoryDisk { state: Arc::new(Mutex::new(survivor)) }
    }

    /// Number of batches that a crash could lose now.
    pub fn pending_batches(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// How often the key spaces were synced.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Makes the next such operation fail.
    pub fn fail_next(&self, fault: DiskFault) {
        self.state.lock().fault = Some(fault);
    }

    /// Replaces or removes a stored value, synced, behind the back of whoever wrote it.
    pub fn tamper(&self, space: Space, key: &[u8], value: Option<Bytes>) {
        let mut state = self.state.lock();
        let key = (space, key.to_vec());
        match value {
            Some(value) => {
                state.keys.insert(key.clone(), value.clone());
                state.synced_keys.insert(key, value);
            }
            None => {
                state.keys.remove(&key);
                state.synced_keys.remove(&key);
            }
        }
    }

    /// Changes the bytes of a file, synced, behind the back of whoever wrote it.
    pub fn tamper_file(&self, folder: Folder, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let content = self.state.lock().names.get(&(folder, name.to_owned())).cloned();
        let content = content.expect("the test names a file that exists");
        let mut content = content.lock();
        change(&mut content.visible);
        content.synced = content.visible.clone();
    }

    fn trip(&self, fault: DiskFault, action: &'static str) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        if state.fault == Some(fault) {
            state.fault = None;
            return Err(DiskError::new(action, "memory", "injected fault"));
        }
        Ok(())
    }
}

fn apply(keys: &mut Keys, batch: &Batch) {
    for change in batch.changes() {
        match change {
            Change::Put { space, key, value } => {
                keys.insert((*space, key.clone()), value.clone());
            }
            Change::DeleteRange { space, from, to } => {
                let doomed: Vec<_> = keys
                    .range((Bound::Included((*space, from.clone())), Bound::Excluded((*space, to.clone()))))
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in doomed {
                    keys.remove(&key);
                }
            }
        }
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    content: Content,
}

impl DiskFile for MemoryFile {
    fn write_at(&self, offset_bytes: u64, content: &[u8]) -> Result<(), DiskError> {
        let mut file = self.content.lock();
        let start = usize::try_from(offset_bytes).expect("a test file fits the memory");
        let end = start + content.len();
        if file.visible.len() < end {
            file.visible.resize(end, 0);
        }
        file.visible[start..end].copy_from_slice(content);
        Ok(())
    }

    fn read_at(&self, offset_bytes: u64, max_bytes: usize) -> Result<Bytes, DiskError> {
        let file = self.content.lock();
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(file.visible.len());
        let end = start.saturating_add(max_bytes).min(file.visible.len());
        Ok(Bytes::copy_from_slice(&file.visible[start..end]))
    }

    fn length_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.content.lock().visible.len() as u64)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.trip(DiskFault::FileSync, "sync")?;
        let mut file = self.content.lock();
        file.synced = file.visible.clone();
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn write(&self, batch: Batch) -> Result<(), DiskError> {
        self.trip(DiskFault::Write, "write")?;
        let mut state = self.state.lock();
        apply(&mut state.keys, &batch);
        state.pending.push(batch);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.trip(DiskFault::Sync, "sync")?;
        if self.trip(DiskFault::LyingSync, "sync").is_err() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let pending = std::mem::take(&mut state.pending);
        for batch in &pending {
            apply(&mut state.synced_keys, batch);
        }
        state.syncs += 1;
        Ok(())
    }

    fn read(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        Ok(self.state.lock().keys.get(&(space, key.to_vec())).cloned())
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let found: Vec<_> = {
            let state = self.state.lock();
            state
                .keys
                .range((Bound::Included((space, from.to_vec())), Bound::Excluded((space, to.to_vec()))))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        };
        for (key, value) in found {
            if visit(&key, &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn reclaim(&self, _space: Space, _from: &[u8], _to: &[u8]) -> Result<(), DiskError> {
        Ok(())
    }

    fn create(&self, folder: Folder, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let content = Content::default();
        self.state.lock().names.insert((folder, name.to_owned()), content.clone());
        Ok(Box::new(MemoryFile { disk: self.clone(), content }))
    }

    fn open(&self, folder: Folder, name: &str) -> Result<Option<Box<dyn DiskFile>>, DiskError> {
        let content = self.state.lock().names.get(&(folder, name.to_owned())).cloned();
        Ok(content.map(|content| Box::new(MemoryFile { disk: self.clone(), content }) as Box<dyn DiskFile>))
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let content = state
            .names
            .remove(&(folder, from.to_owned()))
            .ok_or_else(|| DiskError::new("rename", from, "no such file"))?;
        state.names.insert((folder, to.to_owned()), content);
        Ok(())
    }

    fn remove(&self, folder: Folder, name: &str) -> Result<(), DiskError> {
        self.state.lock().names.remove(&(folder, name.to_owned()));
        Ok(())
    }

    fn list(&self, folder: Folder) -> Result<Vec<String>, DiskError> {
        let state = self.state.lock();
        Ok(state.names.keys().filter(|(at, _)| *at == folder).map(|(_, name)| name.clone()).collect())
    }

    fn sync_folder(&self, folder: Folder) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        let named: Vec<_> = state
            .names
            .iter()
            .filter(|((at, _), _)| *at == folder)
            .map(|(name, content)| (name.clone(), content.clone()))
            .collect();
        state.synced_names.retain(|(at, _), _| *at != folder);
        state.synced_names.extend(named);
        Ok(())
    }

    fn describe(&self, folder: Folder, name: &str) -> String {
        format!("memory/{folder:?}/{name}")
    }

    fn describe_space(&self, space: Space) -> String {
        format!("memory/{space:?}")
    }
}
