//! A task's output as a stream that goes on where it broke.

use paceline_api::{JobRef, v1};
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::ClientError;
use crate::jobs::{LogsOf, service};
use crate::resume::Breaks;

/// Output in progress.
#[derive(Debug)]
pub struct Logs {
    client: Client,
    job: JobRef,
    /// What is still wanted: moves on with what came.
    of: LogsOf,
    breaks: Breaks,
    stream: Option<Streaming<v1::LogsReply>>,
    ended: bool,
}

impl Logs {
    pub(crate) fn new(client: Client, job: JobRef, of: LogsOf) -> Self {
        Self { client, job, of, breaks: Breaks::default(), stream: None, ended: false }
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// [`ClientError`]. The stream may be asked again and goes on where it was.
    pub async fn next(&mut self) -> Result<Option<v1::LogsReply>, ClientError> {
        while !self.ended {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let opened = self.open().await?;
                    self.stream.insert(opened)
                }
            };
            match stream.message().await {
                Ok(Some(piece)) => {
                    self.took(&piece);
                    return Ok(Some(piece));
                }
                Ok(None) if !self.of.follow => self.ended = true,
                Ok(None) => self.broke(&Status::unavailable("closed before the attempt ended")).await?,
                Err(status) => self.broke(&status).await?,
            }
        }
        Ok(None)
    }

    async fn broke(&mut self, status: &Status) -> Result<(), ClientError> {
        self.stream = None;
        self.breaks.broke(&self.client, status).await
    }

    async fn open(&self) -> Result<Streaming<v1::LogsReply>, ClientError> {
        let stream = if self.of.stderr { v1::LogStream::Stderr } else { v1::LogStream::Stdout };
        let request = v1::LogsRequest {
            read: None,
            job: Some(self.job.clone().into()),
            task: self.of.task,
            attempt: self.of.attempt,
            stream: stream.into(),
            offset: self.of.offset,
            max_bytes: self.of.max_bytes,
            follow: self.of.follow,
        };
        self.client.stream(request, |to, request| async move { service(to).logs(request).await }).await
    }

    /// What is asked for after a break begins after this piece, and stays with its attempt.
    fn took(&mut self, piece: &v1::LogsReply) {
        let bytes = piece.data.len() as u64;
        self.client.saw(piece.revision);
        self.of.attempt = piece.attempt;
        self.of.offset = piece.offset + bytes;
        self.breaks.healed();
        let bounded = self.of.max_bytes > 0;
        self.of.max_bytes = self.of.max_bytes.saturating_sub(bytes);
        self.ended = piece.end || (bounded && self.of.max_bytes == 0);
    }
}
