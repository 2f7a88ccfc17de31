//! Batches between a shard and the leader. Messages of kinds that only a newer peer has are left out and counted.

use paceline_link::message::{AgentOrder, MasterMessage, ShardMessage};
use paceline_types::{LinkSession, ShardId};

use crate::fault::{DecodeError, convert, required};
use crate::ids::name;
use crate::v1;
use crate::v1::master_message::Message as Down;
use crate::v1::shard_message::Message as Up;

/// What a batch says, as far as this version knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<M> {
    /// The messages, in their order.
    pub messages: Vec<M>,
    /// How many others there were.
    pub unknown: usize,
}

/// Converts the messages of a batch, naming the first that fails.
fn known_of<W, M>(batch: Vec<W>) -> Result<Known<M>, DecodeError>
where
    Option<M>: TryFrom<W, Error = DecodeError>,
{
    let all = batch.len();
    let numbered = batch.into_iter().enumerate();
    let read = numbered.filter_map(|(at, message)| {
        let read = Option::<M>::try_from(message).transpose()?;
        Some(read.map_err(|fault| fault.within(&format!("messages[{at}]"))))
    });
    let messages = read.collect::<Result<Vec<M>, DecodeError>>()?;
    let unknown = all - messages.len();
    Ok(Known { messages, unknown })
}

impl From<Vec<ShardMessage>> for v1::ShardFrame {
    fn from(messages: Vec<ShardMessage>) -> Self {
        Self { messages: messages.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ShardFrame> for Known<ShardMessage> {
    type Error = DecodeError;
    fn try_from(frame: v1::ShardFrame) -> Result<Self, DecodeError> {
        known_of(frame.messages)
    }
}

impl From<Vec<MasterMessage>> for v1::MasterFrame {
    fn from(messages: Vec<MasterMessage>) -> Self {
        Self { messages: messages.into_iter().map(Into::into).collect(), masters: None }
    }
}

/// The masters that a frame may name are not among its messages.
impl TryFrom<v1::MasterFrame> for Known<MasterMessage> {
    type Error = DecodeError;
    fn try_from(frame: v1::MasterFrame) -> Result<Self, DecodeError> {
        known_of(frame.messages)
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
            ShardMessage::NodeLeaseRequest { node, session, number } => {
                Up::NodeLeaseRequest(v1::NodeLeaseRequest {
                    node: node.to_string(),
                    session: session.0,
                    number,
                })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::ShardMessage> for Option<ShardMessage> {
    type Error = DecodeError;
    fn try_from(message: v1::ShardMessage) -> Result<Self, DecodeError> {
        let Some(message) = message.message else { return Ok(None) };
        Ok(Some(match message {
            Up::Hello(hello) => {
                ShardMessage::Hello { name: name("hello.name", &hello.name)?, address: hello.address }
            }
            Up::NodeHello(hello) => ShardMessage::NodeHello(Box::new(convert("node_hello", hello)?)),
            Up::NodeReport(said) => ShardMessage::NodeReport {
                node: name("node_report.node", &said.node)?,
                session: LinkSession(said.session),
                report: required("report", said.report).map_err(|fault| fault.within("node_report"))?,
            },
            Up::NodeGone(gone) => ShardMessage::NodeGone {
                node: name("node_gone.node", &gone.node)?,
                session: LinkSession(gone.session),
            },
            Up::Alive(v1::Alive {}) => ShardMessage::Alive,
            Up::NodeLeaseRequest(asked) => ShardMessage::NodeLeaseRequest {
                node: name("node_lease_request.node", &asked.node)?,
                session: LinkSession(asked.session),
                number: asked.number,
            },
        }))
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

impl TryFrom<v1::MasterMessage> for Option<MasterMessage> {
    type Error = DecodeError;
    fn try_from(message: v1::MasterMessage) -> Result<Self, DecodeError> {
        let Some(message) = message.message else { return Ok(None) };
        Ok(Some(match message {
            Down::Welcome(welcome) => MasterMessage::Welcome {
                shard: ShardId(welcome.shard),
                heartbeat_ms: welcome.heartbeat_ms,
                silence_ms: welcome.silence_ms,
            },
            Down::ToNode(to) => {
                let order: Option<AgentOrder> =
                    required("order", to.order).map_err(|fault| fault.within("to_node"))?;
                // What a shard does not know it cannot pass on.
                let Some(order) = order else { return Ok(None) };
                MasterMessage::ToNode {
                    node: name("to_node.node", &to.node)?,
                    session: LinkSession(to.session),
                    order,
                }
            }
            Down::Shards(list) => MasterMessage::Shards(convert("shards", list)?),
            Down::FetchLog(request) => MasterMessage::FetchLog(convert("fetch_log", request)?),
        }))
    }
}
