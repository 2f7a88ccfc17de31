//! A shard and a master as an agent sees them, over real TLS; the test plays the leader behind them.

use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1;
use paceline_api::v1::agent_link_server::{AgentLink, AgentLinkServer};
use paceline_api::v1::master_directory_server::{MasterDirectory, MasterDirectoryServer};
use paceline_identity::{Credentials, Listener, PeerIdentity, TlsListener, grpc, serve};
use paceline_link::message::{AgentMessage, AgentOrder, Hello, LogRequest, Report, ShardList};
use paceline_types::{NodeEpoch, NodeId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Nothing that is waited for takes this long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

type Down = ReceiverStream<Result<v1::OrderFrame, Status>>;
type Questions = ReceiverStream<Result<v1::LogRequest, Status>>;

/// A session as the shard has it.
pub struct FakeSession {
    pub hello: Hello,
    pub peer: PeerIdentity,
    pub began: Instant,
    up: Streaming<v1::AgentFrame>,
    down: mpsc::Sender<Result<v1::OrderFrame, Status>>,
}

/// A log stream as the shard has it.
pub struct FakeLogs {
    pieces: Streaming<v1::LogPiece>,
    questions: mpsc::Sender<Result<v1::LogRequest, Status>>,
}

struct Service {
    sessions: mpsc::UnboundedSender<FakeSession>,
    logs: mpsc::UnboundedSender<FakeLogs>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = Down;

    async fn connect(&self, request: Request<Streaming<v1::AgentFrame>>) -> Result<Response<Down>, Status> {
        let peer = request.extensions().get::<PeerIdentity>().expect("served by identity").clone();
        let mut up = request.into_inner();
        let first = up.message().await?.expect("a Hello");
        let Ok(Some(AgentMessage::Hello(hello))) = first.try_into() else { panic!("no Hello") };
        let (down, frames) = mpsc::channel(64);
        let session = FakeSession { hello: *hello, peer, began: Instant::now(), up, down };
        self.sessions.send(session).expect("the test listens");
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    type LogStreamStream = Questions;

    async fn log_stream(
        &self,
        request: Request<Streaming<v1::LogPiece>>,
    ) -> Result<Response<Questions>, Status> {
        let (questions, outgoing) = mpsc::channel(4);
        // A test that reads no logs has dropped the other end.
        let _ = self.logs.send(FakeLogs { pieces: request.into_inner(), questions });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

pub struct FakeShard {
    pub address: String,
    pub logs: mpsc::UnboundedReceiver<FakeLogs>,
    sessions: mpsc::UnboundedReceiver<FakeSession>,
    server: JoinHandle<()>,
}

impl FakeShard {
    pub async fn start(credentials: Arc<Credentials>) -> Self {
        let listener = TlsListener::bind("127.0.0.1:0".parse().unwrap(), credentials).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (to_test, sessions) = mpsc::unbounded_channel();
        let (logs_to_test, logs) = mpsc::unbounded_channel();
        let service = AgentLinkServer::new(Service { sessions: to_test, logs: logs_to_test });
        let server = tokio::spawn(async move {
            serve(listener, grpc(service), std::future::pending()).await.unwrap();
        });
        Self { address, logs, sessions, server }
    }

    /// The next session that an agent begins.
    pub async fn session(&mut self) -> FakeSession {
        timeout(PATIENCE, self.sessions.recv()).await.expect("a session").expect("the shard lives")
    }

    /// The shard dies.
    pub fn kill(self) {
        self.server.abort();
    }
}

impl FakeSession {
    pub async fn send(&self, order: AgentOrder) {
        self.down.send(Ok(order.into())).await.expect("the stream is open");
    }

    pub async fn welcome(&self) {
        let welcome = AgentOrder::Welcome { node: NodeId(1), epoch: NodeEpoch(1), heartbeat_ms: 100 };
        self.send(welcome).await;
    }

    /// The next message, or nothing when the agent said goodbye or its connection broke.
    pub async fn receive(&mut self) -> Option<AgentMessage> {
        let frame = timeout(PATIENCE, self.up.message()).await.expect("a frame or the end");
        frame.ok().flatten().and_then(|frame| frame.try_into().expect("well formed"))
    }

    /// The next report; heartbeats are passed over.
    pub async fn report(&mut self) -> Report {
        timeout(PATIENCE, self.next_report()).await.expect("a report")
    }

    async fn next_report(&mut self) -> Report {
        loop {
            match self.receive().await.expect("the session goes on") {
                AgentMessage::Report(report) => return report,
                AgentMessage::Alive | AgentMessage::LeaseRequest { .. } => {}
                AgentMessage::Hello(_) => panic!("a second Hello"),
            }
        }
    }

    pub async fn acknowledge(&self, report: &Report) {
        self.send(AgentOrder::Acknowledge { sequence: report.sequence }).await;
    }

    /// Whether the agent ended the session in good order: its last frame, and no error.
    pub async fn ended_cleanly(&mut self) -> bool {
        loop {
            match timeout(PATIENCE, self.up.message()).await.expect("a frame or the end") {
                Ok(None) => return true,
                Ok(Some(_)) => {}
                Err(_) => return false,
            }
        }
    }
}

impl FakeLogs {
    pub async fn ask(&mut self, question: LogRequest) -> v1::LogPiece {
        self.questions.send(Ok(question.into())).await.expect("the stream is open");
        self.piece().await
    }

    pub async fn piece(&mut self) -> v1::LogPiece {
        let piece = timeout(PATIENCE, self.pieces.message()).await.expect("a piece");
        piece.expect("no error").expect("no end")
    }
}

struct Directory(ShardList);

#[tonic::async_trait]
impl MasterDirectory for Directory {
    async fn where_is_my_shard(
        &self,
        request: Request<v1::WhereIsMyShardRequest>,
    ) -> Result<Response<v1::WhereIsMyShardReply>, Status> {
        assert_eq!(request.into_inner().node, "n1");
        Ok(Response::new(v1::WhereIsMyShardReply { revision: 9, shards: Some(self.0.clone().into()) }))
    }
}

/// A master that answers with this list. Returns its address.
pub async fn start_master(credentials: Arc<Credentials>, list: ShardList) -> String {
    let listener = TlsListener::bind("127.0.0.1:0".parse().unwrap(), credentials).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = MasterDirectoryServer::new(Directory(list));
    tokio::spawn(async move { serve(listener, grpc(service), std::future::pending()).await });
    address
}
