//! Output of tasks, on a stream of its own: questions come down, pieces go up.
//!
//! It lives as long as its session, is dialled again when it breaks, and answers one question after the
//! other, so that a reader of logs costs the agent one piece of memory and never its link.

use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1::agent_link_client::AgentLinkClient;
use paceline_api::{LOG_PIECE_BYTES_MAX, v1};
use paceline_link::message::LogRequest;
use paceline_runtime::{LogChunk, LogStream, ObserveError, Runtime};
use paceline_types::NodeName;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::config::Workers;

/// Pieces on their way up: one that is sent, one that is read meanwhile.
const PIECES_MAX: usize = 2;
/// Wait before a broken stream is dialled again. Logs are for people, who wait longer than that.
const REDIAL: Duration = Duration::from_secs(2);
/// Longest explanation on the wire.
const ERROR_BYTES_MAX: usize = 1_024;

/// The stream of a session; it ends when this is dropped.
pub(crate) struct LogTask(JoinHandle<()>);

impl Drop for LogTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn spawn(
    channel: Channel,
    node: NodeName,
    runtime: Arc<dyn Runtime>,
    workers: Workers,
) -> LogTask {
    let logs = Logs { channel, node, runtime, workers };
    LogTask(tokio::spawn(logs.run()))
}

struct Logs {
    channel: Channel,
    node: NodeName,
    runtime: Arc<dyn Runtime>,
    workers: Workers,
}

impl Logs {
    async fn run(self) {
        loop {
            match self.serve().await {
                Err(status) if status.code() == Code::Unimplemented => {
                    tracing::info!("the shard does not relay output of tasks");
                    return;
                }
                Err(status) => tracing::debug!(%status, "the stream for output of tasks broke"),
                Ok(()) => {}
            }
            tokio::time::sleep(REDIAL).await;
        }
    }

    async fn serve(&self) -> Result<(), Status> {
        let mut client = AgentLinkClient::new(self.channel.clone());
        let (pieces, outgoing) = mpsc::channel(PIECES_MAX);
        let mut first = self.piece(0);
        first.node = self.node.to_string();
        pieces.try_send(first).expect("a new channel has room for its first piece");
        let mut questions = client.log_stream(ReceiverStream::new(outgoing)).await?.into_inner();
        while let Some(question) = questions.message().await? {
            let ticket = question.ticket;
            let piece = match LogRequest::try_from(question) {
                Ok(request) => self.answer(request).await,
                Err(fault) => self.refusal(ticket, &fault.to_string()),
            };
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn answer(&self, request: LogRequest) -> v1::LogPiece {
        let ticket = request.ticket;
        if request.node != self.node {
            return self.refusal(ticket, &format!("this is node {}, not {}", self.node, request.node));
        }
        let runtime = Arc::clone(&self.runtime);
        let read = move || read(&*runtime, &request);
        let chunk = match self.workers {
            Workers::Inline => read(),
            Workers::Threads => match tokio::task::spawn_blocking(read).await {
                Ok(chunk) => chunk,
                Err(_) => return self.refusal(ticket, "reading the output panicked"),
            },
        };
        match chunk {
            Ok(chunk) => v1::LogPiece {
                offset: chunk.offset,
                data: chunk.bytes.into(),
                end: chunk.complete,
                ..self.piece(ticket)
            },
            Err(error) => {
                let failure = match error {
                    ObserveError::Unknown { .. } => v1::LogFailure::NoOutput,
                    _ => v1::LogFailure::Unspecified,
                };
                let refusal = self.refusal(ticket, &super::link::explain(&error));
                v1::LogPiece { failure: failure.into(), ..refusal }
            }
        }
    }

    fn piece(&self, ticket: u64) -> v1::LogPiece {
        v1::LogPiece { ticket, node: self.node.to_string(), ..v1::LogPiece::default() }
    }

    fn refusal(&self, ticket: u64, error: &str) -> v1::LogPiece {
        let mut error = error.to_owned();
        let cut = (0..=ERROR_BYTES_MAX.min(error.len())).rev().find(|&at| error.is_char_boundary(at));
        error.truncate(cut.unwrap_or_default());
        v1::LogPiece { error, ..self.piece(ticket) }
    }
}

fn read(runtime: &dyn Runtime, request: &LogRequest) -> Result<LogChunk, ObserveError> {
    let stream = if request.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let most = usize::try_from(request.max_bytes).unwrap_or(usize::MAX).min(LOG_PIECE_BYTES_MAX);
    runtime.read_log(&request.attempt, stream, request.offset, most)
}
