//! Frames between an agent and its shard. A frame of a kind that only a newer peer has is nothing to us.

use paceline_link::message::{AgentMessage, AgentOrder, Lease};
use paceline_types::{NodeEpoch, NodeId};

use crate::fault::{DecodeError, convert, present};
use crate::v1;
use crate::v1::agent_frame::Message as Up;
use crate::v1::order_frame::Message as Down;

impl From<AgentMessage> for v1::AgentFrame {
    fn from(message: AgentMessage) -> Self {
        let message = match message {
            AgentMessage::Hello(hello) => Up::Hello((*hello).into()),
            AgentMessage::Report(report) => Up::Report(report.into()),
            AgentMessage::Alive => Up::Alive(v1::Alive {}),
            AgentMessage::LeaseRequest { number } => Up::LeaseRequest(v1::LeaseRequest { number }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::AgentFrame> for Option<AgentMessage> {
    type Error = DecodeError;
    fn try_from(frame: v1::AgentFrame) -> Result<Self, DecodeError> {
        let Some(message) = frame.message else { return Ok(None) };
        Ok(Some(match message {
            Up::Hello(hello) => AgentMessage::Hello(Box::new(convert("hello", hello)?)),
            Up::Report(report) => AgentMessage::Report(convert("report", report)?),
            Up::Alive(v1::Alive {}) => AgentMessage::Alive,
            Up::LeaseRequest(v1::LeaseRequest { number }) => AgentMessage::LeaseRequest { number },
        }))
    }
}

impl From<AgentOrder> for v1::OrderFrame {
    fn from(order: AgentOrder) -> Self {
        let message = match order {
            AgentOrder::Welcome { node, epoch, heartbeat_ms } => {
                Down::Welcome(v1::Welcome { node: node.0, epoch: epoch.0, heartbeat_ms })
            }
            AgentOrder::Orders(orders) => Down::Orders(orders.into()),
            AgentOrder::Acknowledge { sequence } => Down::Acknowledge(v1::Acknowledge { sequence }),
            AgentOrder::Refused { message, retry_after_ms } => {
                Down::Refused(v1::Refused { message, retry_after_ms })
            }
            AgentOrder::Shards(list) => Down::Shards(list.into()),
            AgentOrder::Lease(lease) => Down::Lease(lease.into()),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::OrderFrame> for Option<AgentOrder> {
    type Error = DecodeError;
    fn try_from(frame: v1::OrderFrame) -> Result<Self, DecodeError> {
        let Some(message) = frame.message else { return Ok(None) };
        Ok(Some(match message {
            Down::Welcome(welcome) => AgentOrder::Welcome {
                node: NodeId(welcome.node),
                epoch: NodeEpoch(welcome.epoch),
                heartbeat_ms: welcome.heartbeat_ms,
            },
            Down::Orders(orders) => AgentOrder::Orders(convert("orders", orders)?),
            Down::Acknowledge(v1::Acknowledge { sequence }) => AgentOrder::Acknowledge { sequence },
            Down::Refused(v1::Refused { message, retry_after_ms }) => {
                AgentOrder::Refused { message, retry_after_ms }
            }
            Down::Shards(list) => AgentOrder::Shards(convert("shards", list)?),
            Down::Lease(lease) => AgentOrder::Lease(convert("lease", lease)?),
        }))
    }
}

impl From<Lease> for v1::Lease {
    fn from(lease: Lease) -> Self {
        let Lease { number, token, duration_ms } = lease;
        Self { number, token: Some(token.into()), duration_ms }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = DecodeError;
    fn try_from(lease: v1::Lease) -> Result<Self, DecodeError> {
        let v1::Lease { number, token, duration_ms } = lease;
        Ok(Self { number, token: present("token", token)?.into(), duration_ms })
    }
}
