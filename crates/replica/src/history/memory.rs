//! A history in memory: the same contract without a disk, for tests and for the simulation.
//!
//! A put is a synced step, so a crash loses nothing of it and clones are what a restart finds. `fail_puts` makes every
//! later put fail, as a broken disk would.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{History, HistoryAge, HistoryRow, Keep, ReadLimit};
use crate::disk::DiskError;

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Bytes, HistoryRow>,
    ages: BTreeMap<HistoryAge, u64>,
    watermark: u64,
    puts: u64,
    broken: bool,
}

/// A history in memory. Clones share the content.
#[derive(Debug, Clone, Default)]
pub struct MemoryHistory {
    state: Arc<Mutex<State>>,
}

impl MemoryHistory {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on puts fail and change nothing.
    pub fn fail_puts(&self) {
        self.state.lock().broken = true;
    }

    /// How many puts there were.
    pub fn puts(&self) -> u64 {
        self.state.lock().puts
    }
}

impl State {
    fn insert(&mut self, row: &HistoryRow) {
        if let Some(replaced) = self.rows.insert(row.key.clone(), row.clone()) {
            self.ages.remove(&replaced.age());
        }
        self.ages.insert(row.age(), row.clock_ms);
    }

    fn trim(&mut self, keep: &Keep) {
        while let Some((age, clock_ms)) = self.ages.first_key_value() {
            let stays =
                self.rows.len() as u64 <= keep.rows && *clock_ms >= keep.clock_from_ms && *age >= keep.from;
            if stays {
                return;
            }
            self.rows.remove(&age.key);
            self.ages.pop_first();
        }
    }
}

fn page<'r>(rows: impl Iterator<Item = &'r HistoryRow>, limit: ReadLimit) -> Vec<HistoryRow> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for row in rows {
        if !limit.admits(found.len(), bytes, row) {
            break;
        }
        bytes += row.bytes();
        found.push(row.clone());
    }
    found
}

impl History for MemoryHistory {
    fn put(&self, rows: &[HistoryRow], watermark: u64, keep: &Keep) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        if state.broken {
            return Err(DiskError::new("write", "the history in memory", "it was told to fail"));
        }
        state.puts += 1;
        let stored = state.watermark;
        for row in rows.iter().filter(|row| row.revision > stored) {
            state.insert(row);
        }
        if watermark > stored {
            state.watermark = watermark;
            state.trim(keep);
        }
        Ok(())
    }

    fn watermark(&self) -> Result<u64, DiskError> {
        Ok(self.state.lock().watermark)
    }

    fn get(&self, key: &[u8]) -> Result<Option<HistoryRow>, DiskError> {
        Ok(self.state.lock().rows.get(key).cloned())
    }

    fn newest_named(&self, name: &[u8], before: Option<&[u8]>) -> Result<Option<HistoryRow>, DiskError> {
        let state = self.state.lock();
        let mut rows = state.rows.values().rev();
        Ok(rows.find(|row| row.name == name && before.is_none_or(|before| &row.key[..] < before)).cloned())
    }

    fn scan_back(&self, before: Option<&[u8]>, limit: ReadLimit) -> Result<Vec<HistoryRow>, DiskError> {
        let state = self.state.lock();
        let rows = state.rows.values().rev();
        Ok(page(rows.filter(|row| before.is_none_or(|before| &row.key[..] < before)), limit))
    }

    fn rows_after(
        &self,
        after: &HistoryAge,
        upto: u64,
        limit: ReadLimit,
    ) -> Result<Vec<HistoryRow>, DiskError> {
        let state = self.state.lock();
        let ages = state.ages.keys().filter(|age| *age > after && age.revision <= upto);
        Ok(page(ages.filter_map(|age| state.rows.get(&age.key)), limit))
    }

    fn oldest(&self) -> Result<Option<HistoryAge>, DiskError> {
        Ok(self.state.lock().ages.keys().next().cloned())
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.state.lock().rows.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_in_memory_keeps_the_contract() {
        super::super::check_history(&mut || {
            let history = MemoryHistory::new();
            (Box::new(history.clone()), Box::new(move || Box::new(history.clone())))
        });
    }
}
