//! The gRPC services of a master: each turns a request into commands or a view, and the answer into a reply.
//!
//! No decision is made here. Who may call what is `identity`'s table; what a request means is the cell's business.

mod caller;
mod calls;
mod cell;
mod directory;
mod heard;
mod jobs;
mod links;
mod logs;
mod members;
mod nodes;
mod shards;
mod silent;
mod watch;
mod why;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use paceline_api::WATCH_MESSAGE_BYTES_MAX;
use paceline_api::v1::cell_server::CellServer;
use paceline_api::v1::jobs_server::JobsServer;
use paceline_api::v1::master_directory_server::MasterDirectoryServer;
use paceline_api::v1::master_link_server::MasterLinkServer;
use paceline_api::v1::members_server::MembersServer;
use paceline_api::v1::nodes_server::NodesServer;
use paceline_api::v1::shards_server::ShardsServer;
use paceline_cell::{CommandBody, Reply};
use paceline_identity::{Credentials, grpc};
use paceline_replica::{Execution, Replica};
use paceline_types::Revision;
use tokio::sync::mpsc;
use tonic::Status;

use crate::certificates::Certificates;
use crate::config::MasterConfig;
use crate::history::JobHistory;
use crate::leader::{LinkEvent, LinksAnswer, Question};
use crate::pages::Pages;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::reads::Reads;
use crate::refuse;
use crate::room::Room;
use caller::Caller;
pub(crate) use calls::counted;
pub(crate) use heard::Heard;
pub(crate) use links::unix_seconds;
pub(crate) use logs::{LogRelay, Readers};
pub(crate) use watch::Watchers;

/// Largest request: an entry of 2 MiB in API encoding, with room for framing.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Largest reply: a watch message, which is never split, with room for framing.
const REPLY_BYTES_MAX: usize = WATCH_MESSAGE_BYTES_MAX + (1 << 20);

/// What every service needs.
#[derive(Clone)]
pub(crate) struct Services {
    pub config: Arc<MasterConfig>,
    pub replica: Arc<Replica>,
    pub published: Arc<Published>,
    pub history: JobHistory,
    pub proposer: Proposer,
    pub reads: Reads,
    pub credentials: Arc<Credentials>,
    pub certificates: Arc<Certificates>,
    pub room: Arc<Room>,
    pub links: mpsc::Sender<LinkEvent>,
    pub questions: mpsc::Sender<Question>,
    pub pages: Arc<Pages>,
    /// Numbers the streams of shards.
    pub next_link: Arc<AtomicU64>,
    /// Streams for output of tasks.
    pub logs: LogRelay,
    /// Who reads output.
    pub log_readers: Readers,
    /// Who watches.
    pub watchers: Watchers,
    /// What the hub heard last.
    pub heard: Heard,
    /// Where work that takes its time runs.
    pub execution: Execution,
}

impl Services {
    /// Proposes one command for a caller; a refusal becomes a status.
    async fn command(
        &self,
        caller: &Caller,
        request: Option<paceline_api::v1::RequestId>,
        body: CommandBody,
    ) -> Result<(Revision, Reply), Status> {
        let tasks = match &body {
            CommandBody::SubmitJob { spec, .. } => Some(spec.tasks),
            _ => None,
        };
        let command = caller.command(request, body)?;
        if let Err(full) = self.room.check() {
            self.proposer.turned_away();
            return Err(refuse::nearly_full(&full));
        }
        let principal = caller.identity.principal().to_string();
        let proposed = self.proposer.propose_for(&principal, vec![command]).await;
        let proposed = proposed.map_err(|error| refuse::proposal(&error))?;
        match proposed.replies.into_iter().next() {
            Some(Reply::Refused(refusal)) => Err(refuse::submission(&refusal, tasks)),
            Some(reply) => Ok((proposed.revision, reply)),
            None => Err(refuse::plain(
                paceline_api::v1::ErrorCode::Internal,
                "the entry was answered without a reply",
            )),
        }
    }

    /// What the leader's loop knew of links a moment ago; nothing where another master leads.
    async fn links(&self) -> Option<Arc<LinksAnswer>> {
        let status = self.replica.status();
        if !status.leading {
            return None;
        }
        self.heard.links(status.term, self.links_now()).await
    }

    /// What it knows now.
    async fn links_now(&self) -> Option<LinksAnswer> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.questions.send(Question::Links(reply)).await.ok()?;
        let answer = answer.await.ok()?;
        // A loop that does not lead knows of no node at all, one that leads of each.
        let knows = !answer.nodes.is_empty() || self.published.view().node_count() == 0;
        (knows && self.replica.status().leading).then_some(answer)
    }

    /// Tells the leader's loop that what is silent is gone; nothing where it does not lead.
    async fn release_brake(&self) -> Option<Result<bool, String>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.questions.send(Question::ReleaseBrake(reply)).await.ok()?;
        answer.await.ok()?
    }

    /// All services as one set of routes.
    pub(crate) fn routes(self) -> Router {
        let jobs = JobsServer::new(jobs::JobsService(self.clone()))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(REPLY_BYTES_MAX);
        let links = MasterLinkServer::new(links::LinkService(self.clone()))
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(REPLY_BYTES_MAX);
        grpc(jobs)
            .merge(grpc(links))
            .merge(grpc(MembersServer::new(members::MembersService(self.clone()))))
            .merge(grpc(NodesServer::new(nodes::NodesService(self.clone()))))
            .merge(grpc(ShardsServer::new(shards::ShardsService(self.clone()))))
            .merge(grpc(MasterDirectoryServer::new(directory::DirectoryService(self.clone()))))
            .merge(grpc(CellServer::new(cell::CellService::new(self))))
    }
}
