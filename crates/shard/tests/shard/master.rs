//! A master that says what the test says.

use std::sync::Arc;

use paceline_api::v1::master_link_server::{MasterLink, MasterLinkServer};
use paceline_api::v1::{self, ErrorCode, Leader, LogPiece, LogRequest, MasterFrame, ShardFrame};
use paceline_api::{Known, error_detail, status_from};
use paceline_identity::{Role, grpc, serve};
use paceline_link::message::{AgentOrder, MasterMessage, ShardMessage};
use paceline_types::{LinkSession, ShardId};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::cell::{Cell, PATIENCE};

/// What the other end of one stream hears and says.
pub struct Link {
    heard: mpsc::Receiver<ShardMessage>,
    pub say: mpsc::Sender<Result<MasterFrame, Status>>,
}

impl Link {
    pub async fn hear(&mut self) -> ShardMessage {
        loop {
            let message =
                timeout(PATIENCE, self.heard.recv()).await.expect("in time").expect("an open stream");
            if message != ShardMessage::Alive {
                return message;
            }
        }
    }

    pub async fn say(&self, messages: Vec<MasterMessage>) {
        self.say.send(Ok(messages.into())).await.expect("an open stream");
    }

    pub async fn welcome(&self) {
        let welcome = MasterMessage::Welcome { shard: ShardId(1), heartbeat_ms: 60_000, silence_ms: 60_000 };
        self.say(vec![welcome]).await;
    }

    pub async fn order(&self, node: &str, session: u64, order: AgentOrder) {
        let node = node.parse().expect("a name");
        self.say(vec![MasterMessage::ToNode { node, session: LinkSession(session), order }]).await;
    }
}

/// The other end of a stream for output.
pub struct LogLink {
    pieces: Streaming<LogPiece>,
    questions: mpsc::Sender<Result<LogRequest, Status>>,
}

impl LogLink {
    pub async fn ask(&self, ticket: u64, node: &str) {
        let job = v1::JobUid { revision: 7, ordinal: 0 };
        let attempt = Some(v1::AttemptId { job: Some(job), task: 3, attempt: 1 });
        let node = node.to_owned();
        let question = LogRequest { ticket, node, attempt, stderr: true, offset: 5, max_bytes: 100 };
        self.questions.send(Ok(question)).await.expect("an open stream");
    }

    pub async fn piece(&mut self) -> LogPiece {
        let piece = timeout(PATIENCE, self.pieces.message()).await.expect("in time");
        piece.expect("no error").expect("an open stream")
    }
}

struct Service {
    links: mpsc::Sender<Link>,
    log_links: mpsc::Sender<LogLink>,
    leader: Option<Leader>,
}

#[tonic::async_trait]
impl MasterLink for Service {
    type ConnectStream = ReceiverStream<Result<MasterFrame, Status>>;
    type LogStreamStream = ReceiverStream<Result<LogRequest, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ShardFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        if let Some(leader) = self.leader.clone() {
            let mut detail = error_detail(ErrorCode::NotLeader, "this master does not lead");
            detail.leader = Some(leader);
            return Err(status_from(detail));
        }
        let mut frames = request.into_inner();
        let (hear, heard) = mpsc::channel(1_024);
        let (say, said) = mpsc::channel(64);
        self.links.send(Link { heard, say }).await.expect("the test listens");
        tokio::spawn(async move {
            while let Ok(Some(frame)) = frames.message().await {
                for message in Known::<ShardMessage>::try_from(frame).expect("a frame of ours").messages {
                    if hear.send(message).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn log_stream(
        &self,
        request: Request<Streaming<LogPiece>>,
    ) -> Result<Response<Self::LogStreamStream>, Status> {
        let (questions, asked) = mpsc::channel(64);
        // Most tests do not look at these streams: then they end at once and are dialled again.
        let _ = self.log_links.try_send(LogLink { pieces: request.into_inner(), questions });
        Ok(Response::new(ReceiverStream::new(asked)))
    }
}

pub struct Master {
    pub address: String,
    links: Mutex<mpsc::Receiver<Link>>,
    log_links: Mutex<mpsc::Receiver<LogLink>>,
    server: JoinHandle<()>,
}

impl Master {
    /// Leads.
    pub async fn leader(cell: &Cell, name: &str) -> Self {
        Self::start(cell, name, None).await
    }

    /// Says that another one leads.
    pub async fn follower(cell: &Cell, name: &str, leader: &str, address: &str) -> Self {
        let leader = v1::Leader { name: leader.to_owned(), api_address: address.to_owned() };
        Self::start(cell, name, Some(leader)).await
    }

    async fn start(cell: &Cell, name: &str, leader: Option<Leader>) -> Self {
        let (listener, address) = cell.listener(Role::Master, name).await;
        let (links, opened) = mpsc::channel(8);
        let (log_links, log_opened) = mpsc::channel(1);
        let router = grpc(MasterLinkServer::from_arc(Arc::new(Service { links, log_links, leader })));
        let server = tokio::spawn(async move {
            serve(listener, router, std::future::pending()).await.expect("it serves");
        });
        Self { address, links: Mutex::new(opened), log_links: Mutex::new(log_opened), server }
    }

    /// The next stream that a shard opens, after its Hello.
    pub async fn link(&self) -> Link {
        let mut links = self.links.lock().await;
        let mut link = timeout(PATIENCE, links.recv()).await.expect("in time").expect("it serves");
        let hello = link.hear().await;
        assert!(matches!(&hello, ShardMessage::Hello { name, .. } if name.as_str() == "s"), "{hello:?}");
        link
    }

    /// The next stream for output that a shard opens, after its first piece.
    pub async fn log_link(&self) -> LogLink {
        let mut links = self.log_links.lock().await;
        let mut link = timeout(PATIENCE, links.recv()).await.expect("in time").expect("it serves");
        assert_eq!(link.piece().await, LogPiece::default());
        link
    }

    /// Ends as a killed process would.
    pub fn kill(self) {
        self.server.abort();
    }
}
