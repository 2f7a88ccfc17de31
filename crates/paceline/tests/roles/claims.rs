//! A certificate speaks for its own name and no other: agents for their node, groups where the cell allows them, shards
//! for themselves, and nobody for a master by being called like one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use paceline_api::Known;
use paceline_api::v1::agent_link_client::AgentLinkClient;
use paceline_api::v1::master_directory_client::MasterDirectoryClient;
use paceline_api::v1::master_link_client::MasterLinkClient;
use paceline_api::v1::{MasterFrame, ShardFrame, WhereIsMyShardRequest};
use paceline_identity::{Connector, Credentials, Expect, Role, TlsConnector, channel};
use paceline_link::message::{AgentMessage, AgentOrder, Hello, MasterMessage, ShardMessage};
use paceline_types::{AgentInstance, BootId, FenceToken, LinkSession, NodeEpoch, Resources};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::calls::{Answer, Caller};
use crate::cell::{Master, PATIENCE, TestCell};

fn dial(credentials: Arc<Credentials>, address: SocketAddr, server: Role) -> Channel {
    channel(Arc::new(TlsConnector::new(credentials)), &address.to_string(), Expect::any(server))
}

/// A session of `node`, signed by whoever holds the credentials, to be spoken through shard `s1`.
fn hello(node: &str, credentials: &Credentials) -> Hello {
    let mut hello = Hello {
        node: node.parse().unwrap(),
        instance: AgentInstance([1; 16]),
        boot: BootId([2; 16]),
        epoch: NodeEpoch(0),
        session: LinkSession(1),
        fence: FenceToken::default(),
        capacity: Resources::new(1_000, 1 << 30),
        labels: BTreeMap::new(),
        capabilities: Vec::new(),
        certificate_der: credentials.identity().certificate_der.to_vec(),
        signature: Vec::new(),
    };
    hello.signature = credentials.sign(&Hello::signed_bytes("test", &hello, &"s1".parse().unwrap()));
    hello
}

/// The test as shard `s1`, at the leader.
struct Link {
    say: mpsc::Sender<ShardFrame>,
    heard: Streaming<MasterFrame>,
}

impl Link {
    async fn open(cell: &TestCell, master: &Master, name: &str) -> Result<Self, Status> {
        let channel = dial(cell.credentials(Role::Shard, "s1"), master.api, Role::Master);
        let (say, said) = mpsc::channel(8);
        let first = ShardMessage::Hello { name: name.parse().unwrap(), address: "127.0.0.1:9".into() };
        say.send(vec![first].into()).await.unwrap();
        let opened = MasterLinkClient::new(channel).connect(ReceiverStream::new(said)).await?;
        Ok(Self { say, heard: opened.into_inner() })
    }

    /// Presents a node and returns what the leader orders it first.
    async fn present(&mut self, hello: Hello) -> AgentOrder {
        let node = hello.node.clone();
        self.say.send(vec![ShardMessage::NodeHello(Box::new(hello))].into()).await.unwrap();
        loop {
            let frame = timeout(PATIENCE, self.heard.message()).await.unwrap().unwrap().unwrap();
            for message in Known::<MasterMessage>::try_from(frame).unwrap().messages {
                match message {
                    MasterMessage::ToNode { node: to, order, .. } if to == node => return order,
                    _ => {}
                }
            }
        }
    }
}

fn words(order: &AgentOrder) -> &str {
    match order {
        AgentOrder::Refused { message, .. } => message,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_believes_the_node_and_not_the_shard() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    cell.client(Role::Operator, &master).cell().status().await.unwrap();
    let (agent, group) = (cell.credentials(Role::Agent, "n1"), cell.credentials(Role::AgentGroup, "n"));

    let posing = Link::open(&cell, &master, "s2").await.err().unwrap();
    assert_eq!(posing.code(), Code::PermissionDenied);
    assert!(posing.message().contains("shard/s1 may not speak as shard `s2`"), "{posing}");

    let mut link = Link::open(&cell, &master, "s1").await.unwrap();
    let other = link.present(hello("n2", &agent)).await;
    assert!(words(&other).contains("agent/n1 may not speak for node n2"), "{other:?}");

    let forged = Hello { epoch: NodeEpoch(7), ..hello("n1", &agent) };
    let forged = link.present(forged).await;
    assert!(words(&forged).contains("not signed by spiffe://test/agent/n1"), "{forged:?}");

    let person = link.present(hello("op", &cell.credentials(Role::Operator, "op"))).await;
    assert!(words(&person).contains("operator/op may not speak for node op"), "{person:?}");

    let early = link.present(hello("n3", &group)).await;
    assert!(words(&early).contains("agent_groups is 0"), "{early:?}");
    cell.set(&master, "agent_groups", 1).await;
    assert!(matches!(link.present(hello("n3", &group)).await, AgentOrder::Welcome { .. }));
    assert!(matches!(link.present(hello("n1", &agent)).await, AgentOrder::Welcome { .. }));
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_tells_an_agent_about_its_own_node_only() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    cell.client(Role::Operator, &master).cell().status().await.unwrap();
    let ask = async |role, name: &str, node: &str| {
        let channel = dial(cell.credentials(role, name), master.api, Role::Master);
        let request = WhereIsMyShardRequest { node: node.to_owned() };
        MasterDirectoryClient::new(channel)
            .where_is_my_shard(request)
            .await
            .map(drop)
            .map_err(|status| status.code())
    };
    assert_eq!(ask(Role::Agent, "n1", "n1").await, Ok(()));
    assert_eq!(ask(Role::Agent, "n1", "n2").await, Err(Code::PermissionDenied));
    assert_eq!(
        ask(Role::AgentGroup, "n", "n2").await,
        Err(Code::PermissionDenied),
        "groups are not allowed yet"
    );
    cell.set(&master, "agent_groups", 1).await;
    assert_eq!(ask(Role::AgentGroup, "n", "n2").await, Ok(()));
    assert_eq!(ask(Role::AgentGroup, "n", "x2").await, Err(Code::PermissionDenied));
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_lets_an_agent_speak_for_its_own_node_only() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    let shard = cell.shard(&master, None).await;
    let agent = cell.credentials(Role::Agent, "n1");
    let (say, said) = mpsc::channel(8);
    let mut client = AgentLinkClient::new(dial(agent.clone(), shard, Role::Shard));
    say.send(AgentMessage::Hello(Box::new(hello("n2", &agent))).into()).await.unwrap();
    let mut heard = client.connect(ReceiverStream::new(said)).await.unwrap().into_inner();
    let refusal = timeout(PATIENCE, heard.message()).await.unwrap();
    let text = match refusal {
        Err(status) => status.message().to_owned(),
        Ok(Some(frame)) => {
            words(&Option::<AgentOrder>::try_from(frame).unwrap().expect("a known kind")).to_owned()
        }
        Ok(None) => panic!("the stream ended without a word"),
    };
    assert!(text.contains("n2"), "{text}");
    // A kept sender keeps the stream open from our side: it was the shard that said no.
    drop(say);
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_called_like_a_master_is_an_agent() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    let agent = cell.credentials(Role::Agent, "m1");
    let caller = Caller::new(agent.clone(), master.api, Role::Master);
    for call in ["/paceline.peer.v1.Raft/Vote", "/paceline.v1.Cell/SetConfig", "/metrics"] {
        assert_eq!(caller.call(call).await, Answer::Denied(format!("agent/m1 may not call {call}")));
    }
    let peers = TlsConnector::new(agent).connect(&master.peer.to_string(), &Expect::any(Role::Master)).await;
    assert!(
        peers.unwrap_err().to_string().contains("expected a certificate issued by"),
        "the other authority"
    );
    cell.end().await;
}
