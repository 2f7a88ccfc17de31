//! Every attempt that was not forgotten, in memory: where it is, who holds it, what was seen of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paceline_supervisor::ProcessStat;
use paceline_types::AttemptId;

use crate::runtime::{Exit, Observed};

/// What the agent was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    #[default]
    Nothing,
    /// It starts.
    Starting,
    /// It runs.
    Running,
    /// It is over.
    Exited,
}

impl From<&Observed> for Seen {
    fn from(observed: &Observed) -> Self {
        match observed {
            Observed::Starting => Self::Starting,
            Observed::Running { .. } => Self::Running,
            Observed::Exited(_) => Self::Exited,
        }
    }
}

/// What is known of a supervisor without reading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// It is about to be started.
    Coming,
    /// It has told us who it is.
    Held(Holder),
    /// Its intent says who it is, if anybody is.
    Unheard,
    /// Of an earlier boot.
    OfAnotherBoot,
}

/// A supervisor of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its start, which tells it from others of that id.
    pub start_ticks: u64,
}

impl Holder {
    /// Whether it still runs. A zombie does not, and one that cannot be looked at does.
    pub fn is_alive(self) -> bool {
        ProcessStat::is_alive(self.pid, self.start_ticks)
    }
}

#[derive(Debug)]
struct Entry {
    folder: PathBuf,
    supervisor: Supervisor,
    exit: Option<Exit>,
    seen: Seen,
}

/// A look at one attempt.
#[derive(Debug)]
pub struct Glance {
    /// Its folder.
    pub folder: PathBuf,
    /// Who holds it.
    pub supervisor: Supervisor,
    /// Its end, when it is known.
    pub exit: Option<Exit>,
    /// What the agent was told last.
    pub seen: Seen,
}

/// The table.
#[derive(Debug, Default)]
pub struct Table(Mutex<BTreeMap<AttemptId, Entry>>);

impl Table {
    /// Takes up an attempt that was found on disk.
    pub fn inherit(&self, attempt: AttemptId, folder: PathBuf, of_this_boot: bool) {
        let supervisor = if of_this_boot { Supervisor::Unheard } else { Supervisor::OfAnotherBoot };
        self.rows().insert(attempt, Entry { folder, supervisor, exit: None, seen: Seen::Nothing });
    }

    /// Takes a new attempt. False: it is known already.
    pub fn begin(&self, attempt: AttemptId, folder: PathBuf) -> bool {
        let entry = Entry { folder, supervisor: Supervisor::Coming, exit: None, seen: Seen::Nothing };
        let mut rows = self.rows();
        let new = !rows.contains_key(&attempt);
        if new {
            rows.insert(attempt, entry);
        }
        new
    }

    /// Its supervisor was started, as far as is known.
    pub fn started(&self, attempt: &AttemptId, supervisor: Supervisor) {
        if let Some(entry) = self.rows().get_mut(attempt) {
            entry.supervisor = supervisor;
        }
    }

    /// It ended before there was a supervisor, or its end was found out.
    pub fn ended(&self, attempt: &AttemptId, exit: &Exit) {
        if let Some(entry) = self.rows().get_mut(attempt) {
            entry.exit = Some(exit.clone());
        }
    }

    /// The agent was told.
    pub fn told(&self, attempt: &AttemptId, seen: Seen) {
        if let Some(entry) = self.rows().get_mut(attempt) {
            entry.seen = seen;
        }
    }

    /// Drops it.
    pub fn remove(&self, attempt: &AttemptId) {
        self.rows().remove(attempt);
    }

    /// Looks at one.
    pub fn glance(&self, attempt: &AttemptId) -> Option<Glance> {
        let rows = self.rows();
        let entry = rows.get(attempt)?;
        Some(Glance {
            folder: entry.folder.clone(),
            supervisor: entry.supervisor,
            exit: entry.exit.clone(),
            seen: entry.seen,
        })
    }

    /// All of them.
    pub fn ids(&self) -> Vec<AttemptId> {
        self.rows().keys().copied().collect()
    }

    /// Those whose end the agent was not told yet.
    pub fn open_ids(&self) -> Vec<AttemptId> {
        let rows = self.rows();
        rows.iter().filter(|(_, entry)| entry.seen != Seen::Exited).map(|(id, _)| *id).collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Entry>> {
        // Every change is a single insert, replace or remove, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
