//! What follows from jobs and nodes but must be found fast. Kept up with every change, recomputed by `check` and
//! when a snapshot is restored; never stored.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use paceline_types::{JobUid, NodeId, NodeName, Revision, TaskState};

use crate::job::Job;
use crate::node::Node;

/// Lookups over the whole cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    /// Every job by name, then by age.
    pub job_names: OrdSet<(Arc<str>, JobUid)>,
    /// Jobs with tasks that wait.
    pub pending_jobs: OrdSet<JobUid>,
    /// Jobs that have ended, by when.
    pub ended: OrdSet<(Revision, JobUid)>,
    /// Tasks of all jobs.
    pub tasks: u64,
    /// Nodes by name.
    pub node_names: OrdMap<NodeName, NodeId>,
}

/// Sorts after every uid that can be.
const LAST_UID: JobUid = JobUid { revision: Revision(u64::MAX), ordinal: u32::MAX };

impl Indexes {
    /// From nothing.
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = &'a Job>, nodes: impl Iterator<Item = &'a Node>) -> Self {
        let mut indexes = Self::default();
        for job in jobs {
            indexes.add_job(job);
        }
        for node in nodes {
            indexes.node_names.insert(node.name.clone(), node.id);
        }
        indexes
    }

    pub(crate) fn newest_of_name(&self, name: &str) -> Option<JobUid> {
        let (found, uid) = self.job_names.get_prev(&(Arc::from(name), LAST_UID))?;
        if **found == *name { Some(*uid) } else { None }
    }

    pub(crate) fn add_job(&mut self, job: &Job) {
        self.job_names.insert((Arc::clone(&job.name), job.uid));
        self.tasks = self.tasks.saturating_add(u64::from(job.columns.len()));
        self.note_pending(job);
        self.note_ended(job);
    }

    pub(crate) fn remove_job(&mut self, job: &Job) {
        self.job_names.remove(&(Arc::clone(&job.name), job.uid));
        self.tasks = self.tasks.saturating_sub(u64::from(job.columns.len()));
        self.pending_jobs.remove(&job.uid);
        if let Some(ended) = job.ended {
            self.ended.remove(&(ended, job.uid));
        }
    }

    /// After tasks of a job moved.
    pub(crate) fn note_pending(&mut self, job: &Job) {
        if job.count(TaskState::Pending) > 0 {
            self.pending_jobs.insert(job.uid);
        } else {
            self.pending_jobs.remove(&job.uid);
        }
    }

    /// After a job ended.
    pub(crate) fn note_ended(&mut self, job: &Job) {
        if let Some(ended) = job.ended {
            self.ended.insert((ended, job.uid));
        }
    }
}
