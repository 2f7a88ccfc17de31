//! Every attempt that was not forgotten, in memory: where it is, who holds it, what was seen of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Our child, and alive.
    Alive,
    /// Our child, and dead.
    Dead(ExitStatus),
    /// An earlier agent's child: its intent says who it is.
    Inherited,
    /// Of an earlier boot.
    OfAnotherBoot,
}

#[derive(Debug)]
enum Holder {
    Coming,
    Child(Child),
    Reaped(ExitStatus),
    Inherited,
    OfAnotherBoot,
}

impl Holder {
    fn look(&mut self) -> Supervisor {
        if let Self::Child(child) = self
            && let Ok(Some(status)) = child.try_wait()
        {
            *self = Self::Reaped(status);
        }
        match self {
            Self::Coming => Supervisor::Coming,
            Self::Child(_) => Supervisor::Alive,
            Self::Reaped(status) => Supervisor::Dead(*status),
            Self::Inherited => Supervisor::Inherited,
            Self::OfAnotherBoot => Supervisor::OfAnotherBoot,
        }
    }
}

#[derive(Debug)]
struct Entry {
    folder: PathBuf,
    holder: Holder,
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

#[derive(Debug, Default)]
struct Rows {
    entries: BTreeMap<AttemptId, Entry>,
    /// Supervisors of forgotten attempts that have not quite ended.
    leaving: Vec<Child>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Table(Mutex<Rows>);

impl Table {
    /// Takes up an attempt that was found on disk.
    pub fn inherit(&self, attempt: AttemptId, folder: PathBuf, of_this_boot: bool) {
        let holder = if of_this_boot { Holder::Inherited } else { Holder::OfAnotherBoot };
        self.rows().entries.insert(attempt, Entry { folder, holder, exit: None, seen: Seen::Nothing });
    }

    /// Takes a new attempt. False: it is known already.
    pub fn begin(&self, attempt: AttemptId, folder: PathBuf) -> bool {
        let entry = Entry { folder, holder: Holder::Coming, exit: None, seen: Seen::Nothing };
        let mut rows = self.rows();
        let new = !rows.entries.contains_key(&attempt);
        if new {
            rows.entries.insert(attempt, entry);
        }
        new
    }

    /// Its supervisor was started.
    pub fn started(&self, attempt: &AttemptId, child: Child) {
        if let Some(entry) = self.rows().entries.get_mut(attempt) {
            entry.holder = Holder::Child(child);
        }
    }

    /// It ended before there was a supervisor, or its end was found out.
    pub fn ended(&self, attempt: &AttemptId, exit: &Exit) {
        if let Some(entry) = self.rows().entries.get_mut(attempt) {
            entry.exit = Some(exit.clone());
        }
    }

    /// The agent was told.
    pub fn told(&self, attempt: &AttemptId, seen: Seen) {
        if let Some(entry) = self.rows().entries.get_mut(attempt) {
            entry.seen = seen;
        }
    }

    /// Drops it.
    pub fn remove(&self, attempt: &AttemptId) {
        let mut rows = self.rows();
        if let Some(Entry { holder: Holder::Child(child), .. }) = rows.entries.remove(attempt) {
            rows.leaving.push(child);
        }
    }

    /// Looks at one, reaping its supervisor if it has ended.
    pub fn glance(&self, attempt: &AttemptId) -> Option<Glance> {
        let mut rows = self.rows();
        let entry = rows.entries.get_mut(attempt)?;
        Some(Glance {
            folder: entry.folder.clone(),
            supervisor: entry.holder.look(),
            exit: entry.exit.clone(),
            seen: entry.seen,
        })
    }

    /// All of them.
    pub fn ids(&self) -> Vec<AttemptId> {
        self.rows().entries.keys().copied().collect()
    }

    /// Those whose end the agent was not told yet.
    pub fn open_ids(&self) -> Vec<AttemptId> {
        let rows = self.rows();
        rows.entries.iter().filter(|(_, entry)| entry.seen != Seen::Exited).map(|(id, _)| *id).collect()
    }

    /// Reaps supervisors that have done their work.
    pub fn reap(&self) {
        let mut rows = self.rows();
        rows.leaving.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        for entry in rows.entries.values_mut().filter(|entry| entry.exit.is_some()) {
            entry.holder.look();
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Every change is a single insert, replace or remove, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
