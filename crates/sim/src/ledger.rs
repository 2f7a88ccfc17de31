//! What clients asked for, as far as the checks at rest need it, and what the driver has to know of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_client::ClientError;
use parking_lot::Mutex;

use crate::workload::Wanted;

/// What a call came to, as its caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, as of this revision.
    Done(u64),
    /// Certainly not done.
    NotDone(String),
    /// Done or not.
    Open,
}

impl Answer {
    /// What an error says about the call.
    #[must_use]
    pub fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(_) | ClientError::Unavailable { .. } | ClientError::Overloaded { .. } => {
                Self::NotDone(error.to_string())
            }
            _ => Self::Open,
        }
    }
}

/// One job, as its client remembers it.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// How many tasks.
    pub tasks: u32,
    /// The exit code of its tasks.
    pub exit: u8,
    /// Answers to stops; an open one counts as asked.
    pub stops: Vec<Answer>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<String, JobRecord>,
    /// Of the highest term that anybody spoke of.
    leader: Option<(u64, String)>,
    clients_done: usize,
    mutations_done: u64,
    settled: bool,
}

/// All clients' memory. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

impl Ledger {
    /// A submission is about to be made.
    pub fn submitting(&self, wanted: &Wanted) {
        let record = JobRecord { tasks: wanted.tasks, exit: wanted.exit, stops: Vec::new() };
        self.0.lock().jobs.insert(wanted.name.clone(), record);
    }

    /// Changes what is remembered of a job.
    pub fn note(&self, name: &str, change: impl FnOnce(&mut JobRecord)) {
        change(self.0.lock().jobs.get_mut(name).expect("a job is noted before anything is asked of it"));
    }

    /// Every job, by name.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<String, JobRecord> {
        self.0.lock().jobs.clone()
    }

    /// Who led when somebody asked last.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.0.lock().leader.as_ref().map(|(_, leader)| leader.clone())
    }

    /// Somebody was told who leads.
    pub fn leads(&self, term: u64, leader: &str) {
        let mut state = self.0.lock();
        if !leader.is_empty() && state.leader.as_ref().is_none_or(|known| known.0 <= term) {
            state.leader = Some((term, leader.to_owned()));
        }
    }

    /// A client has no more to ask.
    pub fn client_done(&self) {
        self.0.lock().clients_done += 1;
    }

    /// How many clients have no more to ask.
    #[must_use]
    pub fn clients_done(&self) -> usize {
        self.0.lock().clients_done
    }

    /// A change was acknowledged.
    pub fn mutation_done(&self) {
        self.0.lock().mutations_done += 1;
    }

    /// How many changes were acknowledged.
    #[must_use]
    pub fn mutations_done(&self) -> u64 {
        self.0.lock().mutations_done
    }

    /// Everything that was due has ended, and was looked at.
    pub fn settle(&self) {
        self.0.lock().settled = true;
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.0.lock().settled
    }
}
