//! One call of any path with next to nothing in it: enough to see who answers, the gate, the service or nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paceline_identity::{Connector, Credentials, Expect, Role, TlsConnector, channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// Longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody refused it, with these words.
    Denied(String),
    /// It got past the gate, and this port does not serve it.
    NotHere,
    /// It got past the gate and was answered, well or with another refusal.
    Answered,
}

/// One caller at one port.
pub struct Caller {
    credentials: Arc<Credentials>,
    address: SocketAddr,
    server: Role,
    channel: Channel,
}

impl Caller {
    pub fn new(credentials: Arc<Credentials>, address: SocketAddr, server: Role) -> Self {
        let connector = Arc::new(TlsConnector::new(credentials.clone()));
        let channel = channel(connector, &address.to_string(), Expect::any(server));
        Self { credentials, address, server, channel }
    }

    /// Calls a path, gRPC or plain.
    pub async fn call(&self, path: &str) -> Answer {
        let answer = async {
            match path.starts_with("/paceline.") || path.starts_with("/grpc.") {
                true => self.grpc(path).await,
                false => self.plain(path).await,
            }
        };
        timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer to {path}"))
    }

    /// A stream each way fits every kind of method: on the wire a single message is a stream of one.
    async fn grpc(&self, path: &str) -> Answer {
        // A message whose first field is this text; an empty text is an empty message. Only one call is refused by
        // its service when it is empty, because it asks about nobody.
        let node = if path.ends_with("/WhereIsMyShard") { "n1" } else { "" };
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let messages = Request::new(tokio_stream::iter([node.to_owned()]));
        let codec: ProstCodec<String, ()> = ProstCodec::default();
        match grpc.streaming(messages, path.parse().unwrap(), codec).await {
            // A path that is not mounted is answered with 404 and no word of gRPC; its status would come at the end.
            Ok(answer) if answer.metadata().get("content-type").is_none() => Answer::NotHere,
            Ok(_) => Answer::Answered,
            Err(status) => refused(&status),
        }
    }

    async fn plain(&self, path: &str) -> Answer {
        let text = self.get(path).await;
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {text:?}"));
        match head.split(' ').nth(1) {
            Some("403") => Answer::Denied(body.trim_end().to_owned()),
            Some("404") => Answer::NotHere,
            _ => Answer::Answered,
        }
    }

    /// The whole answer to a GET.
    pub async fn get(&self, path: &str) -> String {
        let connector = TlsConnector::new(self.credentials.clone());
        let connecting = connector.connect(&self.address.to_string(), &Expect::any(self.server));
        let mut stream = connecting.await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: cell\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }
}

/// A method that a service does not have is UNIMPLEMENTED without words; one that says so of itself has words.
fn refused(status: &Status) -> Answer {
    match status.code() {
        Code::PermissionDenied => Answer::Denied(status.message().to_owned()),
        Code::Unimplemented if status.message().is_empty() => Answer::NotHere,
        _ => Answer::Answered,
    }
}
