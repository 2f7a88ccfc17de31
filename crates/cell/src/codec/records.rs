//! The records of a snapshot: everything but the tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_rules::Labels;
use paceline_types::{
    AgentInstance, BootId, NodeEpoch, NodeId, NodeName, Resources, Revision, ShardId, ShardName, SpecVersion,
};

use super::reply::{read_reply, reply};
use super::spec::{read_spec, spec};
use super::values::{
    fixed, pairs, parsed, read_job_state, read_pairs, read_reason, read_resources, read_taints, read_uid,
    resources, taints, uid,
};
use super::{Decoded, present, proto, settings, wrong};
use crate::cell::{Cell, Shard};
use crate::config::{CellConfig, ConfigChange};
use crate::job::{Columns, Job};
use crate::node::{AssignedRuns, Node};
use crate::requests::{Answered, Client, ClientKey};

pub(crate) fn header_record(cell: &Cell, version: u32) -> proto::SnapshotHeader {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    proto::SnapshotHeader {
        version,
        cell: cell.name.to_string(),
        revision: cell.revision.0,
        clock_ms: cell.clock_ms,
        generation: cell.generation.0,
        feature_level: cell.feature_level.0,
        last_node: cell.last_node.0,
        last_shard: cell.last_shard.0,
        shard_list_version: cell.shard_list_version.0,
        request_horizon: cell.requests.horizon().0,
        task_transitions: cell.task_transitions,
        refused_entries: cell.refused_entries,
        settings: settings::all(&cell.config, cell.feature_level),
        failure_domains: cell.config.failure_domains.clone(),
        jobs: count(cell.jobs.len()),
        nodes: count(cell.nodes.len()),
        shards: count(cell.shards.len()),
        clients: count(cell.requests.clients().len()),
    }
}

/// A setting that an older build did not store has its default.
pub(crate) fn read_config(header: &proto::SnapshotHeader) -> Decoded<CellConfig> {
    let change = settings::read_change(proto::SetConfig {
        settings: header.settings.clone(),
        failure_domains: Some(proto::FailureDomains { labels: header.failure_domains.clone() }),
    })?;
    let config = CellConfig::default().with(&ConfigChange { ..change });
    config.map_err(|_| wrong("settings", "a configuration that could have been set"))
}

pub(crate) fn job_record(job: &Job) -> proto::JobRecord {
    proto::JobRecord {
        uid: Some(uid(job.uid)),
        spec: Some(spec(&job.spec)),
        spec_version: job.spec_version.0,
        state: u32::from(job.state.code()),
        stop_reason: u32::from(job.stop_reason.code()),
        submitted_unix_ms: job.submitted_unix_ms,
        submitted_clock_ms: job.submitted_clock_ms,
        ended_revision: job.ended.unwrap_or_default().0,
        ended_unix_ms: job.ended_unix_ms,
        ended_clock_ms: job.ended_clock_ms,
    }
}

/// A job without its tasks; [`Job::set_columns`] completes it.
pub(crate) fn read_job(record: proto::JobRecord) -> Decoded<Job> {
    let uid = read_uid("uid", record.uid)?;
    let spec = Arc::new(read_spec(present("spec", record.spec)?)?);
    let mut job = Job::new(uid, spec, record.submitted_unix_ms, record.submitted_clock_ms);
    job.columns = Columns::default();
    job.spec_version = SpecVersion(record.spec_version);
    job.state = read_job_state(record.state)?;
    job.stop_reason = read_reason(u64::from(record.stop_reason))?;
    job.ended = if record.ended_revision == 0 { None } else { Some(Revision(record.ended_revision)) };
    job.ended_unix_ms = record.ended_unix_ms;
    job.ended_clock_ms = record.ended_clock_ms;
    Ok(job)
}

pub(crate) fn node_record(node: &Node) -> proto::NodeRecord {
    proto::NodeRecord {
        id: node.id.0,
        name: node.name.to_string(),
        epoch: node.epoch.0,
        instance: node.instance.0.to_vec(),
        boot: node.boot.0.to_vec(),
        capacity: Some(resources(&node.capacity)),
        ceiling: Some(resources(&node.ceiling)),
        agent_labels: pairs(node.agent_labels()),
        operator_labels: pairs(node.operator_labels()),
        taints: taints(node.taints()),
        draining: node.draining,
        replaceable: node.replaceable,
        capabilities: node.capabilities.to_vec(),
        registered: node.registered.0,
        lost: node.lost,
    }
}

/// A node without what is on it: that follows from the tasks.
pub(crate) fn read_node(record: proto::NodeRecord) -> Decoded<Node> {
    let name: NodeName = parsed("name", &record.name, "a node name")?;
    let agent_labels: Arc<Labels> = Arc::new(read_pairs(record.agent_labels));
    let mut node = Node {
        id: NodeId(record.id),
        name,
        epoch: NodeEpoch(record.epoch),
        instance: AgentInstance(fixed("instance", &record.instance)?),
        boot: BootId(fixed("boot", &record.boot)?),
        replaceable: record.replaceable,
        capacity: read_resources(&record.capacity.unwrap_or_default()),
        used: Resources::ZERO,
        ceiling: read_resources(&record.ceiling.unwrap_or_default()),
        draining: record.draining,
        lost: record.lost,
        capabilities: record.capabilities.into(),
        registered: Revision(record.registered),
        agent_labels: Arc::clone(&agent_labels),
        operator_labels: Arc::default(),
        labels: agent_labels,
        taints: read_taints(record.taints).into(),
        assigned: AssignedRuns::default(),
    };
    if !record.operator_labels.is_empty() {
        node.set_operator_labels(read_pairs(record.operator_labels));
    }
    Ok(node)
}

pub(crate) fn shard_record(shard: &Shard) -> proto::ShardRecord {
    proto::ShardRecord { id: shard.id.0, name: shard.name.to_string(), address: shard.address.to_string() }
}

pub(crate) fn read_shard(record: proto::ShardRecord) -> Decoded<Shard> {
    let name: ShardName = parsed("name", &record.name, "a shard name")?;
    Ok(Shard { id: ShardId(record.id), name, address: record.address.into() })
}

pub(crate) fn client_record(key: &ClientKey, client: &Client) -> proto::ClientRecord {
    let answered = |answered: &Arc<Answered>| proto::Answered {
        sequence: answered.sequence,
        body_hash: answered.body_hash.to_vec(),
        reply: Some(reply(&answered.reply)),
    };
    proto::ClientRecord {
        principal: key.principal.to_string(),
        client: key.client.to_vec(),
        lowest_unanswered: client.lowest_unanswered,
        last_call_ms: client.last_call_ms,
        last_call_revision: client.last_call.0,
        answered: client.answered.iter().map(answered).collect(),
    }
}

pub(crate) fn read_client(record: proto::ClientRecord) -> Decoded<(ClientKey, Client)> {
    let key = ClientKey { principal: record.principal.into(), client: fixed("client", &record.client)? };
    let mut answered = BTreeMap::new();
    for one in record.answered {
        let body_hash = fixed("body_hash", &one.body_hash)?;
        let reply = read_reply(present("reply", one.reply)?)?;
        let sequence = one.sequence;
        answered.insert(sequence, Arc::new(Answered { sequence, body_hash, reply }));
    }
    let client = Client {
        lowest_unanswered: record.lowest_unanswered,
        last_call_ms: record.last_call_ms,
        last_call: Revision(record.last_call_revision),
        answered: answered.into_values().collect(),
    };
    Ok((key, client))
}
