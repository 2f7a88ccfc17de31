//! A finished job as history keeps it: everything the state knew of it, task by task, and the names of its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use paceline_types::{NodeId, NodeName, Revision};
use prost::Message;

use crate::cell::Cell;
use crate::codec::{self, DecodeError, proto};
use crate::job::{CHUNK_TASKS, Columns, Job};

/// The only version so far.
const VERSION: u32 = 1;

/// A job that left the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredJob {
    job: Arc<Job>,
    retired: Revision,
    retired_clock_ms: u64,
    nodes: BTreeMap<NodeId, NodeName>,
}

impl RetiredJob {
    pub(crate) fn of(job: Arc<Job>, cell: &Cell, retired: Revision) -> Self {
        let mut nodes = BTreeMap::new();
        for id in job.task_runs().filter_map(|(_, task)| task.node) {
            if let Some(node) = cell.node(id).filter(|_| !nodes.contains_key(&id)) {
                nodes.insert(id, node.name.clone());
            }
        }
        Self { job, retired, retired_clock_ms: cell.clock_ms(), nodes }
    }

    /// The job, as it was when it left.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The revision at which it left.
    #[must_use]
    pub const fn retired(&self) -> Revision {
        self.retired
    }

    /// The cell clock when it left: its age in history counts from here.
    #[must_use]
    pub const fn retired_clock_ms(&self) -> u64 {
        self.retired_clock_ms
    }

    /// The name of a node that tasks ended on; nothing when it had been removed before the job left.
    #[must_use]
    pub fn node_name(&self, node: NodeId) -> Option<&NodeName> {
        self.nodes.get(&node)
    }

    /// The job as history stores it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let nodes = self.nodes.iter();
        let record = proto::RetiredJob {
            version: VERSION,
            job: Some(codec::job_record(&self.job)),
            tasks: self.job.columns.chunks().iter().map(|chunk| codec::task_columns(chunk)).collect(),
            retired_revision: self.retired.0,
            retired_clock_ms: self.retired_clock_ms,
            nodes: nodes.map(|(id, name)| proto::NodeNameOf { node: id.0, name: name.to_string() }).collect(),
        };
        record.encode_to_vec().into()
    }

    /// Reads what history stored.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a finished job that this build knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record = proto::RetiredJob::decode(bytes)?;
        if record.version != VERSION {
            let what = "finished jobs";
            return Err(DecodeError::Version { what, found: record.version, known: VERSION });
        }
        let missing = DecodeError::Field { field: "job", expected: "present" };
        let mut job = codec::read_job(record.job.ok_or(missing)?)?;
        let mut columns = Columns::default();
        for tasks in &record.tasks {
            let left = job.spec.tasks.saturating_sub(columns.len());
            if left == 0 {
                return Err(DecodeError::Field { field: "tasks", expected: "as many as the job has" });
            }
            columns.push(codec::read_tasks(tasks, left.min(CHUNK_TASKS))?);
        }
        if columns.len() != job.spec.tasks {
            return Err(DecodeError::Field { field: "tasks", expected: "as many as the job has" });
        }
        job.set_columns(columns);
        let mut nodes = BTreeMap::new();
        for node in record.nodes {
            let bad = DecodeError::Field { field: "nodes", expected: "names of nodes" };
            nodes.insert(NodeId(node.node), node.name.parse().map_err(|_| bad)?);
        }
        Ok(Self {
            job: Arc::new(job),
            retired: Revision(record.retired_revision),
            retired_clock_ms: record.retired_clock_ms,
            nodes,
        })
    }
}
