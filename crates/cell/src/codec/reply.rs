//! Replies: they go to the proposer as bytes and stand in the request table.

use bytes::Bytes;
use paceline_types::{Attempt, NodeEpoch, NodeId, ShardId};
use prost::Message;

use super::proto::reply::Kind;
use super::refusal::{read_refusal, refusal};
use super::values::{read_job_state, read_uid, uid};
use super::{Decoded, present, proto};
use crate::reply::Reply;

impl Reply {
    /// The reply as it is sent and stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        reply(self).encode_to_vec().into()
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// [`crate::DecodeError`] when the bytes are not one that this build knows.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        read_reply(proto::Reply::decode(bytes)?)
    }
}

pub(super) fn reply(reply: &Reply) -> proto::Reply {
    let kind = match reply {
        Reply::Refused(no) => Kind::Refused(refusal(no)),
        Reply::Done => Kind::Done(proto::Done {}),
        Reply::JobSubmitted { uid: job, existing } => {
            Kind::JobSubmitted(proto::JobSubmitted { uid: Some(uid(*job)), existing: *existing })
        }
        Reply::JobStopping { uid: job, state } => {
            Kind::JobStopping(proto::JobStopping { uid: Some(uid(*job)), state: u32::from(state.code()) })
        }
        Reply::JobDeleted { uid: job } => Kind::JobDeleted(uid(*job)),
        Reply::NodeRegistered { node, epoch } => {
            Kind::NodeRegistered(proto::NodeRegistered { node: node.0, epoch: epoch.0 })
        }
        Reply::ShardRegistered { shard } => Kind::ShardRegistered(shard.0),
        Reply::Assigned { attempt } => Kind::Assigned(attempt.0),
        Reply::Reported { applied, doubles, stale } => {
            Kind::Reported(proto::Reported { applied: *applied, doubles: *doubles, stale: *stale })
        }
        Reply::WrittenOff { tasks, lost } => {
            Kind::WrittenOff(proto::WrittenOff { tasks: *tasks, lost: *lost })
        }
        Reply::Ticked { clock_ms } => Kind::Ticked(*clock_ms),
        Reply::Retired { jobs } => Kind::Retired(*jobs),
    };
    proto::Reply { kind: Some(kind) }
}

pub(super) fn read_reply(reply: proto::Reply) -> Decoded<Reply> {
    Ok(match present("kind", reply.kind)? {
        Kind::Refused(no) => Reply::Refused(read_refusal(no)?),
        Kind::Done(proto::Done {}) => Reply::Done,
        Kind::JobSubmitted(submitted) => {
            Reply::JobSubmitted { uid: read_uid("uid", submitted.uid)?, existing: submitted.existing }
        }
        Kind::JobStopping(stopping) => {
            Reply::JobStopping { uid: read_uid("uid", stopping.uid)?, state: read_job_state(stopping.state)? }
        }
        Kind::JobDeleted(uid) => Reply::JobDeleted { uid: read_uid("uid", Some(uid))? },
        Kind::NodeRegistered(node) => {
            Reply::NodeRegistered { node: NodeId(node.node), epoch: NodeEpoch(node.epoch) }
        }
        Kind::ShardRegistered(shard) => Reply::ShardRegistered { shard: ShardId(shard) },
        Kind::Assigned(attempt) => Reply::Assigned { attempt: Attempt(attempt) },
        Kind::Reported(reported) => {
            Reply::Reported { applied: reported.applied, doubles: reported.doubles, stale: reported.stale }
        }
        Kind::WrittenOff(off) => Reply::WrittenOff { tasks: off.tasks, lost: off.lost },
        Kind::Ticked(clock_ms) => Reply::Ticked { clock_ms },
        Kind::Retired(jobs) => Reply::Retired { jobs },
    })
}
