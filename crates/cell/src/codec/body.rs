//! Bodies of single commands, and the hash by which a retry is known.

use std::sync::Arc;

use paceline_types::{
    AgentInstance, BootId, FeatureLevel, Generation, JobUid, NodeEpoch, NodeId, NodeName, Revision, ShardName,
};
use prost::Message;
use sha2::{Digest, Sha256};

use super::columns::{pack, pack_deltas, rows, unpack_deltas, unpack_u32};
use super::proto::command::Body;
use super::spec::{read_spec, spec};
use super::values::{
    fixed, pairs, parsed, read_pairs, read_resources, read_taints, read_uid, resources, taints, uid,
};
use super::{Decoded, assignments, present, proto, reports, settings};
use crate::command::{CommandBody, JobSelector};
use crate::requests::BodyHash;

/// The first half of the SHA-256 of what the client asked: the time that the leader put beside it is left out, so
/// that a retry through another leader is the same request.
pub(crate) fn body_hash(asked: &CommandBody) -> BodyHash {
    let mut encoded = body(asked);
    if let Body::SubmitJob(submit) = &mut encoded {
        submit.submitted_unix_ms = 0;
    }
    let command = proto::Command { request: None, body: Some(encoded) };
    let digest: [u8; 32] = Sha256::digest(command.encode_to_vec()).into();
    let mut hash = BodyHash::default();
    hash.copy_from_slice(&digest[..16]);
    hash
}

/// The message of a command; assignments and reports as a column of one row.
pub(super) fn body(body: &CommandBody) -> Body {
    match body {
        CommandBody::SubmitJob { spec: job, submitted_unix_ms } => {
            Body::SubmitJob(proto::SubmitJob { spec: Some(spec(job)), submitted_unix_ms: *submitted_unix_ms })
        }
        CommandBody::StopJob { job } => Body::StopJob(proto::StopJob { job: Some(selector(job)) }),
        CommandBody::DeleteJob { job } => Body::DeleteJob(proto::DeleteJob { job: Some(selector(job)) }),
        CommandBody::RegisterNode { name, instance, boot, capacity, labels, capabilities } => {
            Body::RegisterNode(proto::RegisterNode {
                name: name.to_string(),
                instance: instance.0.to_vec(),
                boot: boot.0.to_vec(),
                capacity: Some(resources(capacity)),
                labels: pairs(labels),
                capabilities: capabilities.clone(),
            })
        }
        CommandBody::DrainNode { node } => Body::DrainNode(proto::DrainNode { node: node.to_string() }),
        CommandBody::ResumeNode { node } => Body::ResumeNode(proto::ResumeNode { node: node.to_string() }),
        CommandBody::LabelNode { node, set, unset } => Body::LabelNode(proto::LabelNode {
            node: node.to_string(),
            set: pairs(set),
            unset: unset.clone(),
        }),
        CommandBody::TaintNode { node, set, unset } => Body::TaintNode(proto::TaintNode {
            node: node.to_string(),
            set: taints(set),
            unset: unset.clone(),
        }),
        CommandBody::RemoveNode { node } => Body::RemoveNode(proto::RemoveNode { node: node.to_string() }),
        CommandBody::ReplaceNode { node } => Body::ReplaceNode(proto::ReplaceNode { node: node.to_string() }),
        CommandBody::WriteOffNode { node, epoch, silent_ms } => {
            Body::WriteOffNode(proto::WriteOffNode { node: node.0, epoch: epoch.0, silent_ms: *silent_ms })
        }
        CommandBody::RegisterShard { name, address } => {
            Body::RegisterShard(proto::RegisterShard { name: name.to_string(), address: address.clone() })
        }
        CommandBody::RemoveShard { name } => Body::RemoveShard(proto::RemoveShard { name: name.to_string() }),
        CommandBody::Assign { .. } => {
            Body::Assign(assignments::assignments(assignments::row(body).as_slice()))
        }
        CommandBody::Report { .. } => Body::Report(reports::reports(reports::row(body).as_slice())),
        CommandBody::Tick { from_ms, step_ms } => {
            Body::Tick(proto::Tick { from_ms: *from_ms, step_ms: *step_ms })
        }
        CommandBody::Retire { jobs } => Body::Retire(retire(jobs)),
        CommandBody::SetConfig(change) => Body::SetConfig(settings::change(change)),
        CommandBody::RaiseFeatureLevel { to } => {
            Body::RaiseFeatureLevel(proto::RaiseFeatureLevel { to: to.0 })
        }
        CommandBody::RaiseGeneration { to } => Body::RaiseGeneration(proto::RaiseGeneration { to: to.0 }),
    }
}

/// The commands of a message: several where it has columns.
pub(super) fn read_body(body: Body) -> Decoded<Vec<CommandBody>> {
    let one = match body {
        Body::Assign(message) => return assignments::read_assignments(&message),
        Body::Report(message) => return reports::read_reports(&message),
        Body::SubmitJob(submit) => CommandBody::SubmitJob {
            spec: Arc::new(read_spec(present("spec", submit.spec)?)?),
            submitted_unix_ms: submit.submitted_unix_ms,
        },
        Body::StopJob(stop) => CommandBody::StopJob { job: read_selector(stop.job)? },
        Body::DeleteJob(delete) => CommandBody::DeleteJob { job: read_selector(delete.job)? },
        Body::RegisterNode(register) => read_register_node(register)?,
        Body::DrainNode(drain) => CommandBody::DrainNode { node: node_name(&drain.node)? },
        Body::ResumeNode(resume) => CommandBody::ResumeNode { node: node_name(&resume.node)? },
        Body::LabelNode(label) => CommandBody::LabelNode {
            node: node_name(&label.node)?,
            set: read_pairs(label.set),
            unset: label.unset,
        },
        Body::TaintNode(taint) => CommandBody::TaintNode {
            node: node_name(&taint.node)?,
            set: read_taints(taint.set),
            unset: taint.unset,
        },
        Body::RemoveNode(remove) => CommandBody::RemoveNode { node: node_name(&remove.node)? },
        Body::ReplaceNode(replace) => CommandBody::ReplaceNode { node: node_name(&replace.node)? },
        Body::WriteOffNode(off) => CommandBody::WriteOffNode {
            node: NodeId(off.node),
            epoch: NodeEpoch(off.epoch),
            silent_ms: off.silent_ms,
        },
        Body::RegisterShard(register) => {
            CommandBody::RegisterShard { name: shard_name(&register.name)?, address: register.address }
        }
        Body::RemoveShard(remove) => CommandBody::RemoveShard { name: shard_name(&remove.name)? },
        Body::Tick(tick) => CommandBody::Tick { from_ms: tick.from_ms, step_ms: tick.step_ms },
        Body::Retire(retire) => CommandBody::Retire { jobs: read_retire(&retire)? },
        Body::SetConfig(change) => CommandBody::SetConfig(settings::read_change(change)?),
        Body::RaiseFeatureLevel(raise) => CommandBody::RaiseFeatureLevel { to: FeatureLevel(raise.to) },
        Body::RaiseGeneration(raise) => CommandBody::RaiseGeneration { to: Generation(raise.to) },
    };
    Ok(vec![one])
}

fn read_register_node(register: proto::RegisterNode) -> Decoded<CommandBody> {
    Ok(CommandBody::RegisterNode {
        name: node_name(&register.name)?,
        instance: AgentInstance(fixed("instance", &register.instance)?),
        boot: BootId(fixed("boot", &register.boot)?),
        capacity: read_resources(&register.capacity.unwrap_or_default()),
        labels: read_pairs(register.labels),
        capabilities: register.capabilities,
    })
}

fn node_name(name: &str) -> Decoded<NodeName> {
    parsed("node", name, "a node name")
}

fn shard_name(name: &str) -> Decoded<ShardName> {
    parsed("name", name, "a shard name")
}

fn selector(job: &JobSelector) -> proto::JobSelector {
    let selector = match job {
        JobSelector::Name(name) => proto::job_selector::Selector::Name(name.clone()),
        JobSelector::Uid(job) => proto::job_selector::Selector::Uid(uid(*job)),
    };
    proto::JobSelector { selector: Some(selector) }
}

fn read_selector(job: Option<proto::JobSelector>) -> Decoded<JobSelector> {
    Ok(match present("job", job.and_then(|job| job.selector))? {
        proto::job_selector::Selector::Name(name) => JobSelector::Name(name),
        proto::job_selector::Selector::Uid(uid) => JobSelector::Uid(read_uid("uid", Some(uid))?),
    })
}

fn retire(jobs: &[JobUid]) -> proto::Retire {
    proto::Retire {
        count: u32::try_from(jobs.len()).unwrap_or(u32::MAX),
        job_revision: pack_deltas(jobs.iter().map(|uid| uid.revision.0)),
        job_ordinal: pack(jobs.iter().map(|uid| u64::from(uid.ordinal)).collect()),
    }
}

fn read_retire(retire: &proto::Retire) -> Decoded<Vec<JobUid>> {
    let rows = rows("jobs", u64::from(retire.count))?;
    let revisions = unpack_deltas("job_revision", &retire.job_revision, rows)?;
    let ordinals = unpack_u32("job_ordinal", &retire.job_ordinal, rows)?;
    let uid = |(revision, ordinal)| JobUid { revision: Revision(revision), ordinal };
    Ok(revisions.into_iter().zip(ordinals).map(uid).collect())
}
