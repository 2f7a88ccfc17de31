//! Follows a cell by revision: what breaks is opened again where it was, and nothing is seen twice.

use std::time::Duration;

use paceline_api::{JobRef, WATCH_MESSAGE_BYTES_MAX, v1};
use paceline_types::Revision;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::ClientError;
use crate::jobs::service;
use crate::resume::Breaks;

/// Silence after which a stream is taken for dead. The contract promises progress every 5 s; three of them.
const SILENCE: Duration = Duration::from_secs(15);

/// What a watch says.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchItem {
    /// Everything of one revision, in order; each revision once.
    Change(v1::Change),
    /// Nothing more up to this revision.
    Progress(Revision),
    /// Changes were lost for this watch: list at any revision from this one on, and watch from there.
    /// The watch has ended.
    Resync {
        /// The oldest revision that can be watched from.
        oldest: Revision,
    },
}

/// A watch in progress.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    job: Option<JobRef>,
    /// The last revision seen; 0 before the first message of a watch from now on.
    seen: u64,
    breaks: Breaks,
    stream: Option<Streaming<v1::WatchReply>>,
}

impl Watch {
    pub(crate) fn new(client: Client, after: Option<Revision>, job: Option<JobRef>) -> Self {
        let seen = after.unwrap_or_default().0;
        Self { client, job, seen, breaks: Breaks::default(), stream: None }
    }

    /// The last revision that was seen.
    #[must_use]
    pub const fn seen(&self) -> Revision {
        Revision(self.seen)
    }

    /// The next thing that happened. Waits for as long as nothing does.
    ///
    /// # Errors
    /// [`ClientError`] when no master could be reached within the client's deadline, or when the cell refuses.
    /// The watch may be asked again and goes on where it was.
    pub async fn next(&mut self) -> Result<WatchItem, ClientError> {
        loop {
            let Some(reply) = self.receive().await? else { continue };
            let Some(message) = reply.message else {
                return Err(ClientError::protocol("a message of a watch was empty"));
            };
            match message {
                v1::watch_reply::Message::Change(change) if change.revision > self.seen => {
                    self.saw(change.revision);
                    return Ok(WatchItem::Change(change));
                }
                // From before the break: seen already.
                v1::watch_reply::Message::Change(_) => {}
                v1::watch_reply::Message::Progress(progress) => {
                    self.saw(progress.revision.max(self.seen));
                    return Ok(WatchItem::Progress(self.seen()));
                }
                v1::watch_reply::Message::Resync(resync) => {
                    self.stream = None;
                    self.client.saw(resync.revision);
                    return Ok(WatchItem::Resync { oldest: Revision(resync.oldest_revision) });
                }
            }
        }
    }

    /// The next message; nothing when the stream broke and has to be opened again.
    async fn receive(&mut self) -> Result<Option<v1::WatchReply>, ClientError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opened = self.open().await?;
                self.stream.insert(opened)
            }
        };
        let status = match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(reply))) => {
                self.breaks.healed();
                return Ok(Some(reply));
            }
            Ok(Ok(None)) => Status::unavailable("the watch was closed"),
            Ok(Err(status)) => status,
            Err(_) => Status::unavailable("the watch fell silent"),
        };
        self.stream = None;
        self.breaks.broke(&self.client, &status).await?;
        Ok(None)
    }

    async fn open(&mut self) -> Result<Streaming<v1::WatchReply>, ClientError> {
        let job = self.resolved().await?.map(Into::into);
        let request = v1::WatchRequest { read: None, after_revision: self.seen, job };
        let call = |to, request| async move {
            service(to).max_decoding_message_size(WATCH_MESSAGE_BYTES_MAX).watch(request).await
        };
        self.client.stream(request, call).await
    }

    /// The job to watch. What has its name after a break may be another job: a name is looked up once.
    async fn resolved(&mut self) -> Result<Option<JobRef>, ClientError> {
        if matches!(self.job, Some(JobRef::Name(_)))
            && let Some(named) = self.job.clone()
        {
            let found = self.client.jobs().get(named).await?;
            let uid = found.uid.ok_or_else(|| ClientError::protocol("a job was sent without its uid"))?;
            self.job = Some(JobRef::Uid(uid.into()));
        }
        Ok(self.job.clone())
    }

    fn saw(&mut self, revision: u64) {
        self.seen = revision;
        self.client.saw(revision);
    }
}
