//! From the state to chunks, one record at a time: a snapshot of a large cell never stands in memory as a whole.

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use imbl::OrdMap;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{SNAPSHOT_CHUNK_BYTES_MAX, VERSION};
use crate::cell::Cell;
use crate::codec;
use crate::codec::proto::SnapshotEnd;
use crate::codec::proto::SnapshotRecord;
use crate::codec::proto::snapshot_record::Record;
use crate::requests::ClientKey;
use paceline_types::plant::{Plant, is_planted};
use paceline_types::{JobUid, NodeId, ShardId};

impl Cell {
    /// The state in chunks, as of now: later changes of the cell do not show.
    #[must_use]
    pub fn snapshot_chunks(&self) -> SnapshotChunks {
        SnapshotChunks { records: Records::of(self.clone()), hash: Sha256::new(), buffer: BytesMut::new() }
    }

    /// The SHA-256 of the canonical records. Equal states have equal digests.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut bytes = BytesMut::new();
        for record in Records::of(self.clone()) {
            bytes.clear();
            put(&record, &mut bytes);
            hash.update(&bytes);
        }
        hash.finalize().into()
    }
}

/// The chunks of a snapshot, in order.
#[derive(Debug)]
pub struct SnapshotChunks {
    records: Records,
    hash: Sha256,
    buffer: BytesMut,
}

impl Iterator for SnapshotChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.buffer.len() < SNAPSHOT_CHUNK_BYTES_MAX {
            let from = self.buffer.len();
            match self.records.next() {
                Some(record) => {
                    put(&record, &mut self.buffer);
                    self.hash.update(&self.buffer[from..]);
                }
                None if self.records.at == Place::Over => break,
                None => {
                    self.records.at = Place::Over;
                    let digest = self.hash.finalize_reset().to_vec();
                    put(&of(Record::End(SnapshotEnd { digest })), &mut self.buffer);
                }
            }
        }
        let chunk = self.buffer.split_to(self.buffer.len().min(SNAPSHOT_CHUNK_BYTES_MAX));
        if chunk.is_empty() { None } else { Some(chunk.freeze()) }
    }
}

fn put(record: &SnapshotRecord, buffer: &mut BytesMut) {
    record.encode_length_delimited(buffer).expect("a growing buffer has room");
}

const fn of(record: Record) -> SnapshotRecord {
    SnapshotRecord { record: Some(record) }
}

/// Where the records stand: the last key that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Jobs(Option<JobUid>),
    /// Chunk of the job's tasks that is next.
    Tasks(JobUid, usize),
    Nodes(Option<NodeId>),
    Shards(Option<ShardId>),
    Clients(Option<ClientKey>),
    /// All but the end.
    End,
    /// The end too.
    Over,
}

/// All records but the end.
#[derive(Debug)]
struct Records {
    cell: Cell,
    at: Place,
}

impl Records {
    const fn of(cell: Cell) -> Self {
        Self { cell, at: Place::Header }
    }
}

impl Iterator for Records {
    type Item = SnapshotRecord;

    fn next(&mut self) -> Option<SnapshotRecord> {
        loop {
            let cell = &self.cell;
            let (record, next) = match &self.at {
                Place::Header => {
                    (Some(Record::Header(codec::header_record(cell, VERSION))), Place::Jobs(None))
                }
                Place::Jobs(last) => match after(&cell.jobs, last.as_ref()) {
                    Some((uid, job)) => (Some(Record::Job(codec::job_record(job))), Place::Tasks(*uid, 0)),
                    None => (None, Place::Nodes(None)),
                },
                Place::Tasks(uid, at) => {
                    match cell.jobs.get(uid).and_then(|job| job.columns.chunks().get(*at)) {
                        Some(chunk) => {
                            (Some(Record::Tasks(codec::task_columns(chunk))), Place::Tasks(*uid, at + 1))
                        }
                        None => (None, Place::Jobs(Some(*uid))),
                    }
                }
                Place::Nodes(last) => match after(&cell.nodes, last.as_ref()) {
                    Some((id, node)) => {
                        (Some(Record::Node(codec::node_record(node))), Place::Nodes(Some(*id)))
                    }
                    None => (None, Place::Shards(None)),
                },
                Place::Shards(last) => match after(&cell.shards, last.as_ref()) {
                    Some((id, shard)) => {
                        (Some(Record::Shard(codec::shard_record(shard))), Place::Shards(Some(*id)))
                    }
                    None => (None, Place::Clients(None)),
                },
                Place::Clients(_) if is_planted(Plant::RequestsNotInSnapshot) => (None, Place::End),
                Place::Clients(last) => match after(cell.requests.clients(), last.as_ref()) {
                    Some((key, client)) => (
                        Some(Record::Client(codec::client_record(key, client))),
                        Place::Clients(Some(key.clone())),
                    ),
                    None => (None, Place::End),
                },
                Place::End | Place::Over => return None,
            };
            self.at = next;
            if let Some(record) = record {
                return Some(of(record));
            }
        }
    }
}

/// The first entry behind a key.
fn after<'a, K: Ord + Clone, V>(map: &'a OrdMap<K, Arc<V>>, key: Option<&K>) -> Option<(&'a K, &'a Arc<V>)> {
    let from = key.map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<_, K>((from, Bound::Unbounded)).next()
}
