//! The list of shards, and requests for logs.

use paceline_link::message::{LogRequest, ShardAddress, ShardList};
use paceline_types::{Revision, ShardId};

use crate::fault::{DecodeError, each, required};
use crate::ids::name;
use crate::v1;

impl From<ShardAddress> for v1::ShardAddress {
    fn from(shard: ShardAddress) -> Self {
        Self { id: shard.id.0, name: shard.name.to_string(), address: shard.address }
    }
}

impl TryFrom<v1::ShardAddress> for ShardAddress {
    type Error = DecodeError;
    fn try_from(shard: v1::ShardAddress) -> Result<Self, DecodeError> {
        Ok(Self { id: ShardId(shard.id), name: name("name", &shard.name)?, address: shard.address })
    }
}

impl From<ShardList> for v1::ShardList {
    fn from(list: ShardList) -> Self {
        Self { version: list.version.0, shards: list.shards.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ShardList> for ShardList {
    type Error = DecodeError;
    fn try_from(list: v1::ShardList) -> Result<Self, DecodeError> {
        Ok(Self { version: Revision(list.version), shards: each("shards", list.shards)? })
    }
}

impl From<LogRequest> for v1::LogRequest {
    fn from(request: LogRequest) -> Self {
        Self {
            ticket: request.ticket,
            node: request.node.to_string(),
            attempt: Some(request.attempt.into()),
            stderr: request.stderr,
            offset: request.offset,
            max_bytes: request.max_bytes,
        }
    }
}

impl TryFrom<v1::LogRequest> for LogRequest {
    type Error = DecodeError;
    fn try_from(request: v1::LogRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            ticket: request.ticket,
            node: name("node", &request.node)?,
            attempt: required("attempt", request.attempt)?,
            stderr: request.stderr,
            offset: request.offset,
            max_bytes: request.max_bytes,
        })
    }
}
