//! Batches between a shard and the leader.

use paceline_link::message::{MasterMessage, ShardMessage};
use paceline_types::{LinkSession, ShardId};

use crate::fault::{DecodeError, convert, each, present, required};
use crate::ids::name;
use crate::v1;
use crate::v1::master_message::Message as Down;
use crate::v1::shard_message::Message as Up;

impl From<Vec<ShardMessage>> for v1::ShardFrame {
    fn from(messages: Vec<ShardMessage>) -> Self {
        Self { messages: messages.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ShardFrame> for Vec<ShardMessage> {
    type Error = DecodeError;
    fn try_from(frame: v1::ShardFrame) -> Result<Self, DecodeError> {
        each("messages", frame.messages)
    }
}

impl From<Vec<MasterMessage>> for v1::MasterFrame {
    fn from(messages: Vec<MasterMessage>) -> Self {
        Self { messages: messages.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::MasterFrame> for Vec<MasterMessage> {
    type Error = DecodeError;
    fn try_from(frame: v1::MasterFrame) -> Result<Self, DecodeError> {
        each("messages", frame.messages)
    }
}

impl From<ShardMessage> for v1::ShardMessage {
    fn from(message: ShardMessage) -> Self {
        let message = match message {
            ShardMessage::Hello { name, address } => {
                Up::Hello(v1::ShardHello { name: name.to_string(), address })
            }
            ShardMessage::NodeHello(hello) => Up::NodeHello((*hello).into()),
            ShardMessage::NodeReport { node, session, report } => Up::NodeReport(v1::NodeReport {
                node: node.to_string(),
                session: session.0,
                report: Some(report.into()),
            }),
            ShardMessage::NodeGone { node, session } => {
                Up::NodeGone(v1::NodeGone { node: node.to_string(), session: session.0 })
            }
            ShardMessage::Alive => Up::Alive(v1::Alive {}),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::ShardMessage> for ShardMessage {
    type Error = DecodeError;
    fn try_from(message: v1::ShardMessage) -> Result<Self, DecodeError> {
        Ok(match present("message", message.message)? {
            Up::Hello(hello) => {
                Self::Hello { name: name("hello.name", &hello.name)?, address: hello.address }
            }
            Up::NodeHello(hello) => Self::NodeHello(Box::new(convert("node_hello", hello)?)),
            Up::NodeReport(said) => Self::NodeReport {
                node: name("node_report.node", &said.node)?,
                session: LinkSession(said.session),
                report: required("report", said.report).map_err(|fault| fault.within("node_report"))?,
            },
            Up::NodeGone(gone) => Self::NodeGone {
                node: name("node_gone.node", &gone.node)?,
                session: LinkSession(gone.session),
            },
            Up::Alive(v1::Alive {}) => Self::Alive,
        })
    }
}

impl From<MasterMessage> for v1::MasterMessage {
    fn from(message: MasterMessage) -> Self {
        let message = match message {
            MasterMessage::Welcome { shard, heartbeat_ms, silence_ms } => {
                Down::Welcome(v1::ShardWelcome { shard: shard.0, heartbeat_ms, silence_ms })
            }
            MasterMessage::ToNode { node, session, order } => Down::ToNode(v1::ToNode {
                node: node.to_string(),
                session: session.0,
                order: Some(order.into()),
            }),
            MasterMessage::Shards(list) => Down::Shards(list.into()),
            MasterMessage::FetchLog(request) => Down::FetchLog(request.into()),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::MasterMessage> for MasterMessage {
    type Error = DecodeError;
    fn try_from(message: v1::MasterMessage) -> Result<Self, DecodeError> {
        Ok(match present("message", message.message)? {
            Down::Welcome(welcome) => Self::Welcome {
                shard: ShardId(welcome.shard),
                heartbeat_ms: welcome.heartbeat_ms,
                silence_ms: welcome.silence_ms,
            },
            Down::ToNode(to) => Self::ToNode {
                node: name("to_node.node", &to.node)?,
                session: LinkSession(to.session),
                order: required("order", to.order).map_err(|fault| fault.within("to_node"))?,
            },
            Down::Shards(list) => Self::Shards(convert("shards", list)?),
            Down::FetchLog(request) => Self::FetchLog(convert("fetch_log", request)?),
        })
    }
}
