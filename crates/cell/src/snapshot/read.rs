//! From chunks to the state. What does not add up is an error: no replica goes on with half a state.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use paceline_types::{FeatureLevel, Generation, JobUid, NodeId, Resources, Revision, ShardId};
use prost::Message;
use prost::encoding::decode_varint;
use sha2::{Digest, Sha256};

use super::VERSION;
use crate::cell::{Cell, Indexes, Shard};
use crate::codec::proto::snapshot_record::Record;
use crate::codec::proto::{SnapshotHeader, SnapshotRecord, TaskColumns};
use crate::codec::{self, DecodeError};
use crate::job::{CHUNK_TASKS, Columns, Job};
use crate::node::{AssignedRun, Node};
use crate::requests::RequestTable;

/// Why chunks are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A chunk could not be had.
    #[error("a chunk of the snapshot cannot be read")]
    Read(#[source] Box<dyn Error + Send + Sync>),
    /// A record is not what it should be.
    #[error("a record of the snapshot cannot be read")]
    Decode(#[from] DecodeError),
    /// The chunks end before the end.
    #[error("the snapshot is cut short")]
    Truncated,
    /// The records are not those that were written.
    #[error("the digest at the end of the snapshot is not that of its records")]
    Digest,
    /// The records contradict each other.
    #[error("the snapshot does not add up: {what}")]
    Inconsistent {
        /// How.
        what: &'static str,
    },
    /// Written by a newer build.
    #[error("the cell is at feature level {found}: this build knows levels up to {known}")]
    FeatureLevel {
        /// In the snapshot.
        found: FeatureLevel,
        /// The highest that this build knows.
        known: FeatureLevel,
    },
}

impl From<prost::DecodeError> for RestoreError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Decode(error.into())
    }
}

impl Cell {
    /// The state from the chunks of a snapshot.
    ///
    /// # Errors
    /// [`RestoreError`] when a chunk cannot be had or the chunks are not a whole snapshot.
    pub fn restore<E: Into<Box<dyn Error + Send + Sync>>>(
        chunks: impl IntoIterator<Item = Result<Bytes, E>>,
    ) -> Result<Self, RestoreError> {
        let mut chunks =
            chunks.into_iter().map(|chunk| chunk.map_err(|error| RestoreError::Read(error.into())));
        let mut stream = Stream { buffer: BytesMut::new(), hash: Sha256::new() };
        let mut parts = match stream.record(&mut chunks)? {
            Record::Header(header) => Parts::begin(header)?,
            _ => return Err(inconsistent("it does not begin with a header")),
        };
        loop {
            let digest: [u8; 32] = stream.hash.clone().finalize().into();
            match stream.record(&mut chunks)? {
                Record::End(end) if *end.digest == digest => return parts.finish(),
                Record::End(_) => return Err(RestoreError::Digest),
                record => parts.add(record)?,
            }
        }
    }
}

const fn inconsistent(what: &'static str) -> RestoreError {
    RestoreError::Inconsistent { what }
}

/// Bytes that arrived and have not been read.
#[derive(Debug)]
struct Stream {
    buffer: BytesMut,
    hash: Sha256,
}

/// Most bytes of a varint.
const VARINT_BYTES_MAX: usize = 10;

impl Stream {
    fn record(
        &mut self,
        chunks: &mut impl Iterator<Item = Result<Bytes, RestoreError>>,
    ) -> Result<Record, RestoreError> {
        loop {
            if let Some(bytes) = self.whole_record()? {
                self.hash.update(&bytes);
                let record = SnapshotRecord::decode_length_delimited(bytes)?;
                return record.record.ok_or_else(|| inconsistent("a record of an unknown kind"));
            }
            match chunks.next() {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None => return Err(RestoreError::Truncated),
            }
        }
    }

    /// The bytes of the next record with its length, where all of them are there.
    fn whole_record(&mut self) -> Result<Option<BytesMut>, RestoreError> {
        let mut ahead = &self.buffer[..];
        let len = match decode_varint(&mut ahead) {
            Ok(len) => usize::try_from(len).map_err(|_| inconsistent("a record too long for memory"))?,
            Err(_) if self.buffer.len() < VARINT_BYTES_MAX => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let prefix = self.buffer.len() - ahead.remaining();
        let whole = prefix.checked_add(len).ok_or_else(|| inconsistent("a record too long for memory"))?;
        Ok(if self.buffer.len() < whole { None } else { Some(self.buffer.split_to(whole)) })
    }
}

/// A state under construction.
#[derive(Debug)]
struct Parts {
    header: SnapshotHeader,
    cell: Cell,
    /// A job whose tasks have not all come.
    open: Option<(Job, Columns)>,
    nodes: BTreeMap<NodeId, Node>,
}

impl Parts {
    fn begin(header: SnapshotHeader) -> Result<Self, RestoreError> {
        if header.version != VERSION {
            let what = "snapshots";
            return Err(DecodeError::Version { what, found: header.version, known: VERSION }.into());
        }
        let known = crate::FEATURE_LEVEL_MAX;
        let found = FeatureLevel(header.feature_level);
        if found > known {
            return Err(RestoreError::FeatureLevel { found, known });
        }
        let mut cell = Cell::genesis(&header.cell);
        cell.revision = Revision(header.revision);
        cell.clock_ms = header.clock_ms;
        cell.generation = Generation(header.generation);
        cell.feature_level = found;
        cell.config = Arc::new(codec::read_config(&header)?);
        cell.last_node = NodeId(header.last_node);
        cell.last_shard = ShardId(header.last_shard);
        cell.shard_list_version = Revision(header.shard_list_version);
        cell.requests = RequestTable::default();
        cell.requests.restore_horizon(Revision(header.request_horizon));
        cell.task_transitions = header.task_transitions;
        cell.refused_entries = header.refused_entries;
        Ok(Self { header, cell, open: None, nodes: BTreeMap::new() })
    }

    fn add(&mut self, record: Record) -> Result<(), RestoreError> {
        match record {
            Record::Tasks(tasks) => return self.add_tasks(&tasks),
            _ => self.close_job()?,
        }
        let twice = match record {
            Record::Header(_) | Record::End(_) | Record::Tasks(_) => {
                return Err(inconsistent("a record out of its place"));
            }
            Record::Job(record) => {
                let job = codec::read_job(record)?;
                let twice = self.cell.jobs.contains_key(&job.uid);
                self.open = Some((job, Columns::default()));
                twice
            }
            Record::Node(record) => {
                let node = codec::read_node(record)?;
                self.nodes.insert(node.id, node).is_some()
            }
            Record::Shard(record) => {
                let shard: Shard = codec::read_shard(record)?;
                self.cell.shards.insert(shard.id, Arc::new(shard)).is_some()
            }
            Record::Client(record) => {
                let (key, client) = codec::read_client(record)?;
                let twice = self.cell.requests.clients().contains_key(&key);
                self.cell.requests.put(&key, client);
                twice
            }
        };
        if twice { Err(inconsistent("a record is there twice")) } else { Ok(()) }
    }

    fn add_tasks(&mut self, tasks: &TaskColumns) -> Result<(), RestoreError> {
        let (job, columns) = self.open.as_mut().ok_or_else(|| inconsistent("tasks without a job"))?;
        let left = job.spec.tasks.saturating_sub(columns.len());
        if left == 0 {
            return Err(inconsistent("more tasks than the job has"));
        }
        columns.push(codec::read_tasks(tasks, left.min(CHUNK_TASKS))?);
        Ok(())
    }

    fn close_job(&mut self) -> Result<(), RestoreError> {
        let Some((mut job, columns)) = self.open.take() else { return Ok(()) };
        if columns.len() != job.spec.tasks {
            return Err(inconsistent("fewer tasks than the job has"));
        }
        job.set_columns(columns);
        self.cell.jobs.insert(job.uid, Arc::new(job));
        Ok(())
    }

    fn finish(mut self) -> Result<Cell, RestoreError> {
        self.close_job()?;
        let counts = [
            (self.header.jobs, self.cell.jobs.len()),
            (self.header.nodes, self.nodes.len()),
            (self.header.shards, self.cell.shards.len()),
            (self.header.clients, self.cell.requests.clients().len()),
        ];
        if counts.iter().any(|(said, found)| *said as usize != *found) {
            return Err(inconsistent("the header counts other records"));
        }
        for (uid, job) in &self.cell.jobs {
            put_on_nodes(*uid, job, &mut self.nodes)?;
        }
        let nodes = std::mem::take(&mut self.nodes);
        self.cell.nodes = nodes.into_iter().map(|(id, node)| (id, Arc::new(node))).collect();
        self.cell.indexes = Indexes::of(self.cell.jobs(), self.cell.nodes());
        Ok(self.cell)
    }
}

/// Adds a job's tasks to the nodes that they are on.
fn put_on_nodes(uid: JobUid, job: &Job, nodes: &mut BTreeMap<NodeId, Node>) -> Result<(), RestoreError> {
    for (tasks, task) in job.task_runs().filter(|(_, task)| task.state.is_on_node()) {
        let node = task.node.and_then(|id| nodes.get_mut(&id));
        let node = node.ok_or_else(|| inconsistent("a task is on a node that is not there"))?;
        let used: Option<Resources> = job.needs.sum(tasks).and_then(|need| node.used.checked_add(&need));
        node.used = used.ok_or_else(|| inconsistent("the tasks of a node need more than can be counted"))?;
        node.assigned.insert(AssignedRun { job: uid, attempt: task.attempt, tasks });
    }
    Ok(())
}
