//! The key spaces: what is seen, what is safe, and the batches between the two.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use paceline_replica::{Batch, Change, Space};

/// Keys and values in order.
pub type Map = BTreeMap<(Space, Vec<u8>), Bytes>;

/// A batch that is not safe yet.
#[derive(Debug, Clone)]
pub struct Pending {
    pub batch: Batch,
    /// Its write failed, so nobody has seen it; it may be on the disk all the same.
    pub failed: bool,
}

/// Both key spaces of one disk.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub visible: Map,
    pub safe: Map,
    pub pending: Vec<Pending>,
    /// A write or sync failed: like RocksDB, read-only until it is opened again.
    pub broken: bool,
}

impl Keys {
    pub fn write(&mut self, batch: Batch) {
        apply(&mut self.visible, &batch);
        self.pending.push(Pending { batch, failed: false });
    }

    /// A write that was refused, and may have happened.
    pub fn write_failed(&mut self, batch: Batch) {
        self.pending.push(Pending { batch, failed: true });
        self.broken = true;
    }

    pub fn sync(&mut self) {
        self.save(self.pending.len());
    }

    /// The first `count` pending batches become safe.
    pub fn save(&mut self, count: usize) {
        for pending in self.pending.drain(..count) {
            apply(&mut self.safe, &pending.batch);
        }
    }

    /// Only what is safe is left.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
        self.visible = self.safe.clone();
        self.broken = false;
    }

    pub fn read(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        self.visible.get(&(space, key.to_vec())).cloned()
    }

    pub fn range(&self, space: Space, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        if from >= to {
            return Vec::new();
        }
        let found = self.visible.range(bounds(space, from, to));
        found.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    pub fn bytes(&self) -> u64 {
        self.visible.iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
    }
}

type KeyBound = Bound<(Space, Vec<u8>)>;

fn bounds(space: Space, from: &[u8], to: &[u8]) -> (KeyBound, KeyBound) {
    (Bound::Included((space, from.to_vec())), Bound::Excluded((space, to.to_vec())))
}

/// Applies a batch to a map.
pub fn apply(map: &mut Map, batch: &Batch) {
    for change in batch.changes() {
        match change {
            Change::Put { space, key, value } => {
                map.insert((*space, key.clone()), value.clone());
            }
            Change::DeleteRange { space, from, to } if from < to => {
                let doomed = map.range(bounds(*space, from, to)).map(|(key, _)| key.clone());
                for key in doomed.collect::<Vec<_>>() {
                    map.remove(&key);
                }
            }
            Change::DeleteRange { .. } => {}
        }
    }
}
