//! The handle on a cell: a deadline, a freshness and a route, over one set of channels and request ids.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use paceline_api::{CallId, MEMBERS_HEADER, v1};
use paceline_identity::{Connector, Credentials, TlsConnector};
use paceline_types::Revision;
use paceline_types::plant::{Plant, is_planted};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::backoff::Jitter;
use crate::caller::{Caller, Kind, Route};
use crate::cell::Cell;
use crate::error::{ClientError, OpenError};
use crate::folder::CellFolder;
use crate::ids::{ClientId, RequestIds};
use crate::jobs::Jobs;
use crate::masters::Masters;
use crate::members::{self, Members};
use crate::nodes::Nodes;
use crate::shards::Shards;
use crate::wire::{Mutation, Read, Revised};

/// The deadline of a call unless the caller gives one: ten elections on a slow disk.
pub const WITHIN_DEFAULT: Duration = Duration::from_secs(30);

/// How long a master may take to say who the masters are; the next reply asks again.
const MASTERS_WITHIN: Duration = Duration::from_secs(5);

/// A cell, as one process talks to it. Cheap to clone; clones share channels and request ids.
#[derive(Clone, Debug)]
pub struct Client {
    core: Arc<Core>,
    route: Route,
    within: Duration,
    read: v1::ReadOptions,
}

/// What all handles of a process share.
struct Core {
    masters: Masters,
    ids: RequestIds,
    jitter: Jitter,
    folder: CellFolder,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("masters", &self.masters).finish_non_exhaustive()
    }
}

impl Core {
    fn learn(&self, reply: &v1::ListMembersReply) {
        let addresses = reply.members.iter().map(|member| member.api_address.clone()).collect();
        self.masters.learn(reply.members_revision, addresses);
    }
}

impl Client {
    /// Opens the cell of a folder, over TLS, with the credentials there. Nothing is dialled yet.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: CellFolder) -> Result<Self, OpenError> {
        let credentials = Credentials::load(&folder.credentials).map_err(OpenError::Credentials)?;
        let connector = Arc::new(TlsConnector::new(Arc::new(credentials)));
        Ok(Self::new(folder, connector, ClientId::random()?))
    }

    /// The same over any connector, with the randomness given. `folder.api` must not be empty.
    #[must_use]
    pub fn new(folder: CellFolder, connector: Arc<dyn Connector>, client: ClientId) -> Self {
        assert!(!folder.api.is_empty(), "a cell has at least one master");
        let core = Core {
            masters: Masters::new(connector, folder.api.clone(), client.seed()),
            ids: RequestIds::new(client),
            jitter: Jitter::new(client.seed()),
            folder,
        };
        let read = v1::ReadOptions::default();
        Self { core: Arc::new(core), route: Route::Leader, within: WITHIN_DEFAULT, read }
    }

    /// The same with another deadline for each call.
    #[must_use]
    pub fn within(&self, within: Duration) -> Self {
        Self { within, ..self.clone() }
    }

    /// The same with reads that see at least this revision.
    #[must_use]
    pub fn from_revision(&self, revision: Revision) -> Self {
        Self { read: v1::ReadOptions { min_revision: revision.0, ..self.read }, ..self.clone() }
    }

    /// The same with reads from the view of whichever master answers, which may be behind.
    #[must_use]
    pub fn stale(&self) -> Self {
        Self { read: v1::ReadOptions { stale: true, ..self.read }, ..self.clone() }
    }

    /// The same with all calls to one master, by its name, number or address. Unless it leads, it refuses mutations, and
    /// reads other than [`Client::stale`] ones.
    ///
    /// # Errors
    /// [`ClientError::NoSuchMaster`], or that of asking the cell for its masters.
    pub async fn at(&self, master: &str) -> Result<Self, ClientError> {
        let address = match self.core.folder.address_of(master) {
            Some(address) => address.to_owned(),
            None => self.address_from_cell(master).await?,
        };
        Ok(Self { route: Route::Master(address), ..self.clone() })
    }

    async fn address_from_cell(&self, master: &str) -> Result<String, ClientError> {
        let masters = self.stale().cell().status().await?.masters;
        let wanted = |entry: &&v1::Master| {
            entry.name == master || entry.id.to_string() == master || entry.api_address == master
        };
        masters.iter().find(wanted).map(|entry| entry.api_address.clone()).ok_or_else(|| {
            let known: Vec<_> = masters.iter().map(|entry| entry.name.as_str()).collect();
            ClientError::NoSuchMaster { name: master.to_owned(), known: known.join(", ") }
        })
    }

    /// Submit, stop, delete, read and watch jobs.
    #[must_use]
    pub const fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Read and change nodes.
    #[must_use]
    pub const fn nodes(&self) -> Nodes<'_> {
        Nodes(self)
    }

    /// Read and remove shards.
    #[must_use]
    pub const fn shards(&self) -> Shards<'_> {
        Shards(self)
    }

    /// The masters as members of the cell.
    #[must_use]
    pub const fn members(&self) -> Members<'_> {
        Members(self)
    }

    /// The cell as a whole.
    #[must_use]
    pub const fn cell(&self) -> Cell<'_> {
        Cell(self)
    }

    /// The highest revision in any reply so far.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.core.ids.floor()
    }

    pub(crate) fn jitter(&self) -> &Jitter {
        &self.core.jitter
    }

    pub(crate) fn saw(&self, revision: u64) {
        self.core.ids.saw(revision);
    }

    /// A read with one answer.
    pub(crate) async fn read<Q, A, F, Fut>(&self, mut request: Q, call: F) -> Result<A, ClientError>
    where
        Q: Read,
        A: Revised,
        F: Fn(Channel, Q) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        request.freshness(self.read);
        let answer =
            self.caller(Kind::Read, self.within).run(|channel| call(channel, request.clone())).await?;
        self.notice_masters(&answer);
        let answer = answer.into_inner();
        self.saw(answer.revision());
        Ok(answer)
    }

    /// The opening of a stream of answers. The deadline is for the opening.
    pub(crate) async fn stream<Q, S, F, Fut>(&self, mut request: Q, call: F) -> Result<S, ClientError>
    where
        Q: Read,
        F: Fn(Channel, Q) -> Fut,
        Fut: Future<Output = Result<Response<S>, Status>>,
    {
        request.freshness(self.read);
        let opened =
            self.caller(Kind::Read, self.within).run(|channel| call(channel, request.clone())).await?;
        Ok(opened.into_inner())
    }

    /// A change, under one request id for all its tries.
    ///
    /// A cell that has forgotten old clients refuses ids of a client that it does not know unless they show that they
    /// are new. A client that has seen nothing yet cannot show it, and one that was silent for long enough to be
    /// forgotten itself shows what is old by now. When it is refused so, for certain, it reads once and asks again under
    /// an id of that revision.
    pub(crate) async fn mutate<Q, A, F, Fut>(&self, request: Q, call: F) -> Result<A, ClientError>
    where
        Q: Mutation,
        A: Revised,
        F: Fn(Channel, Q) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let began = tokio::time::Instant::now();
        match self.mutate_once(request.clone(), &call, self.within).await {
            // An outcome that is open after an earlier try is `Unknown` by now, so nothing was done under the first id.
            Err(error) if error.code() == Some(v1::ErrorCode::RequestTooOld) => {
                let left = || self.within.saturating_sub(began.elapsed());
                // What a stale read says may be as old as what we know.
                let current = Self { within: left(), read: v1::ReadOptions::default(), ..self.clone() };
                current.jobs().list_page(v1::ListJobsRequest { page_size: 1, ..Default::default() }).await?;
                self.mutate_once(request, &call, left()).await
            }
            outcome => outcome,
        }
    }

    async fn mutate_once<Q, A, F, Fut>(
        &self,
        mut request: Q,
        call: &F,
        within: Duration,
    ) -> Result<A, ClientError>
    where
        Q: Mutation,
        A: Revised,
        F: Fn(Channel, Q) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let began = tokio::time::Instant::now();
        let issued = timeout(within, self.core.ids.issue()).await.map_err(|_| self.no_room())?;
        request.stamp(issued.id.into());
        let left = within.saturating_sub(began.elapsed());
        let tries = AtomicU64::new(0);
        let attempt = |channel| {
            let mut request = request.clone();
            if is_planted(Plant::RetryUnderNewId) {
                // ORDERING: Relaxed, tries follow one another.
                let sequence = issued.id.sequence + (tries.fetch_add(1, Ordering::Relaxed) << 32);
                request.stamp(CallId { sequence, ..issued.id }.into());
            }
            call(channel, request)
        };
        let answer = self.caller(Kind::Mutation, left).run(attempt).await?;
        self.notice_masters(&answer);
        let answer = answer.into_inner();
        self.saw(answer.revision());
        Ok(answer)
    }

    /// Where a reply says that the masters have changed, asks the one that answers calls now who they are, beside the
    /// calls. In vain, it is asked again with the next reply.
    fn notice_masters<A>(&self, answer: &Response<A>) {
        let at = answer.metadata().get(MEMBERS_HEADER).and_then(|at| at.to_str().ok()?.parse().ok());
        let Some(at) = at.filter(|at| self.core.masters.is_news(*at)) else { return };
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let read = Some(v1::ReadOptions { stale: true, min_revision: 0 });
            let mut service = members::service(core.masters.target().channel);
            let asking = service.list(v1::ListMembersRequest { read });
            match timeout(MASTERS_WITHIN, asking).await {
                Ok(Ok(reply)) => core.learn(reply.get_ref()),
                Ok(Err(status)) => tracing::debug!(%status, at, "the masters are not known"),
                Err(_) => tracing::debug!(at, "the masters were not told in time"),
            }
            core.masters.asked();
        });
    }

    pub(crate) fn learn(&self, reply: &v1::ListMembersReply) {
        self.core.learn(reply);
    }

    fn caller(&self, kind: Kind, within: Duration) -> Caller<'_> {
        Caller::new(&self.core.masters, &self.route, &self.core.jitter, kind, within)
    }

    fn no_room(&self) -> ClientError {
        let within_ms = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX);
        let last = "an earlier call of this process hangs, and ids may not run too far ahead of it";
        ClientError::Unavailable { within_ms, tries: 0, last: last.to_owned() }
    }
}
