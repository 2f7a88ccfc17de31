//! An agent that says what the test says.

use std::collections::BTreeMap;

use paceline_api::v1::agent_link_client::AgentLinkClient;
use paceline_api::v1::{AgentFrame, OrderFrame};
use paceline_identity::{Expect, Role, channel};
use paceline_link::message::{AgentMessage, AgentOrder, Hello};
use paceline_types::{AgentInstance, BootId, FenceToken, LinkSession, NodeEpoch, Resources};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::cell::{Cell, PATIENCE, Shard};

pub struct Agent {
    say: mpsc::Sender<AgentFrame>,
    heard: Streaming<OrderFrame>,
}

impl Agent {
    pub async fn connect(cell: &Cell, role: Role, name: &str, shard: &Shard) -> Result<Self, Status> {
        let expect = Expect::named(Role::Shard, "s");
        let channel = channel(cell.connector(role, name), &shard.address, expect);
        let (say, said) = mpsc::channel(64);
        let call = AgentLinkClient::new(channel).connect(ReceiverStream::new(said)).await?;
        Ok(Self { say, heard: call.into_inner() })
    }

    pub async fn say(&self, message: AgentMessage) {
        self.say.send(message.into()).await.expect("an open stream");
    }

    pub async fn hello(&self, hello: Hello) {
        self.say(AgentMessage::Hello(Box::new(hello))).await;
    }

    pub async fn hear(&mut self) -> Result<AgentOrder, Status> {
        let frame = timeout(PATIENCE, self.heard.message()).await.expect("in time")?;
        let frame = frame.ok_or_else(|| Status::ok("the stream ended"))?;
        Ok(Option::<AgentOrder>::try_from(frame).expect("a frame of ours").expect("a known kind"))
    }
}

pub fn hello(node: &str, session: u64) -> Hello {
    Hello {
        node: node.parse().expect("a name"),
        instance: AgentInstance([1; 16]),
        boot: BootId([2; 16]),
        epoch: NodeEpoch(0),
        session: LinkSession(session),
        fence: FenceToken::default(),
        capacity: Resources::new(1_000, 1 << 20),
        labels: BTreeMap::new(),
        capabilities: vec!["cpu_weight".to_owned()],
        certificate_der: vec![1, 2, 3],
        signature: vec![4, 5, 6],
    }
}
