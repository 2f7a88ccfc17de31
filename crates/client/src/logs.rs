//! A task's output as a stream that goes on where it broke: at its byte, with its attempt of its job, each byte once.

use std::time::Duration;

use paceline_api::{JobRef, v1};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::ClientError;
use crate::jobs::{LogsOf, service};
use crate::resume::Breaks;

/// Silence after which a stream is taken for dead. The contract promises a piece every 5 s; three of them.
const SILENCE: Duration = Duration::from_secs(15);

/// Output in progress.
#[derive(Debug)]
pub struct Logs {
    client: Client,
    job: JobRef,
    /// What is still wanted: moves on with what came.
    of: LogsOf,
    breaks: Breaks,
    stream: Option<Streaming<v1::LogsReply>>,
    /// Nothing more is to come of what was asked for.
    ended: bool,
    /// Nothing more is to come at all.
    complete: bool,
}

impl Logs {
    pub(crate) fn new(client: Client, job: JobRef, of: LogsOf) -> Self {
        Self { client, job, of, breaks: Breaks::default(), stream: None, ended: false, complete: false }
    }

    /// The next piece that holds bytes or ends the output; nothing after it. Its offset is above the end of the piece
    /// before it where rotation has removed what was between.
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
            match timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(mut piece))) => {
                    self.drop_seen(&mut piece);
                    self.took(&piece);
                    if !piece.data.is_empty() || piece.end {
                        return Ok(Some(piece));
                    }
                }
                Ok(Ok(None)) if !self.of.follow => self.ended = true,
                Ok(Ok(None)) => self.broke(&Status::unavailable("closed before the attempt ended")).await?,
                Ok(Err(status)) => self.broke(&status).await?,
                Err(_) => self.broke(&Status::unavailable("the output fell silent")).await?,
            }
        }
        Ok(None)
    }

    /// Goes on, after all that was there, with what is written until the attempt has ended.
    pub fn follow(&mut self) {
        self.of.follow = true;
        self.of.max_bytes = 0;
        self.ended = self.complete;
        self.stream = None;
    }

    /// Bytes below the position were handed out: a master that sends them again is not passed on.
    fn drop_seen(&self, piece: &mut v1::LogsReply) {
        let seen = self.of.offset.saturating_sub(piece.offset);
        let seen = usize::try_from(seen).unwrap_or(usize::MAX).min(piece.data.len());
        if seen > 0 {
            piece.data = piece.data.slice(seen..);
            piece.offset += seen as u64;
        }
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
        // What has the name by then may be another job, and the task may be in another attempt.
        if let Some(uid) = piece.uid {
            self.job = JobRef::Uid(uid.into());
        }
        self.of.attempt = piece.attempt;
        self.of.offset = self.of.offset.max(piece.offset + bytes);
        self.breaks.healed();
        let bounded = self.of.max_bytes > 0;
        self.of.max_bytes = self.of.max_bytes.saturating_sub(bytes);
        self.complete = piece.end;
        self.ended = piece.end || (bounded && self.of.max_bytes == 0);
    }
}
