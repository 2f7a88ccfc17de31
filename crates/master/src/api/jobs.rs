//! The jobs service.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use paceline_api::v1::jobs_server::Jobs;
use paceline_api::{TASKS_PER_PAGE_MAX, checked_spec, job_state, task_state, v1};
use paceline_cell::{Cell, CommandBody, Job, JobSelector, Reply, RetiredJob, TaskView};
use paceline_rules::JobSpec;
use paceline_types::{AttemptId, IndexRange, IndexSet, JobState, JobUid, NodeId, TaskIndex, TaskState};
use tonic::{Request, Response, Status};

use super::logs::{LogsStream, logs};
use super::silent::silent;
use super::watch::{Renewal, watch};
use super::why::why;
use super::{Caller, Services};
use crate::history::{Found, RetiredPage, Scan};
use crate::leader::Question;
use crate::pages::{self, Page};
use crate::proposer::unix_ms;
use crate::{refuse, show};

/// Jobs in a page that does not say how many, and at most.
const JOBS_PER_PAGE: u32 = 100;
const JOBS_PER_PAGE_MAX: u32 = 1_000;
/// Tasks in a page that does not say how many.
const TASKS_PER_PAGE: u32 = 1_000;

pub(super) struct JobsService(pub Services);

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchReply, Status>> + Send>>;

#[tonic::async_trait]
impl Jobs for JobsService {
    type LogsStream = LogsStream;
    type WatchStream = WatchStream;

    async fn submit(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::SubmitJobRequest { request: id, spec } = request.into_inner();
        let spec = spec.ok_or_else(|| refuse::invalid_field("spec", "", "a job specification"))?;
        let spec = self.checked(&caller, id.as_ref(), spec).await?;
        let body = CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: unix_ms() };
        match self.0.command(&caller, id, body).await? {
            (revision, Reply::JobSubmitted { uid, existing }) => Ok(Response::new(v1::SubmitJobReply {
                revision: revision.0,
                uid: Some(uid.into()),
                existing,
            })),
            (_, other) => Err(unexpected(&other)),
        }
    }

    async fn stop(&self, request: Request<v1::StopJobRequest>) -> Result<Response<v1::StopJobReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::StopJobRequest { request: id, job } = request.into_inner();
        let selector = show::selector(job)?;
        let body = CommandBody::StopJob { job: selector.clone() };
        let (revision, uid, state) = match self.0.command(&caller, id, body).await {
            Ok((revision, Reply::JobStopping { uid, state })) => (revision, uid, state),
            Ok((_, other)) => return Err(unexpected(&other)),
            // To stop what has ended is no error, and it is none when it has retired since.
            Err(refused) => {
                let retired = self.retired(refused, &selector).await?;
                (self.0.published.view().revision(), retired.job().uid, retired.job().state)
            }
        };
        Ok(Response::new(v1::StopJobReply {
            revision: revision.0,
            uid: Some(uid.into()),
            state: v1::JobState::from(state).into(),
        }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobReply>, Status> {
        let caller = Caller::of(&request)?;
        let v1::DeleteJobRequest { request: id, job } = request.into_inner();
        let selector = show::selector(job)?;
        let body = CommandBody::DeleteJob { job: selector.clone() };
        match self.0.command(&caller, id, body).await {
            Ok((revision, Reply::JobDeleted { uid })) => {
                Ok(Response::new(v1::DeleteJobReply { revision: revision.0, uid: Some(uid.into()) }))
            }
            Ok((_, other)) => Err(unexpected(&other)),
            // The history is the same on every master because nothing but its age and number decides what it keeps.
            Err(refused) => {
                let retired = self.retired(refused, &selector).await?;
                let message = format!(
                    "job {} ended and retired to the history at revision {}; it goes from there by age and number (settings history_age_ms and history_jobs), not one by one",
                    retired.job().uid,
                    retired.retired(),
                );
                Err(refuse::plain(v1::ErrorCode::Conflict, message))
            }
        }
    }

    async fn get(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobReply>, Status> {
        let v1::GetJobRequest { read, job } = request.into_inner();
        let selector = show::selector(job)?;
        let view = self.0.reads.view(read.as_ref()).await?;
        let found = self.find(&view, &selector).await?;
        let waiting = match &found {
            Found::Live(job) => why(&self.0, &view, job).await.as_ref().map(show::waiting),
            Found::Retired(_) => None,
        };
        let silent = match &found {
            Found::Live(job) => silent(&self.0, &view, job).await,
            Found::Retired(_) => None,
        };
        let shown = show::job_status(view.revision(), found.job(), found.is_retired(), true);
        let job = Some(v1::JobStatus { waiting, silent, ..shown });
        Ok(Response::new(v1::GetJobReply { revision: view.revision().0, job }))
    }

    async fn list(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsReply>, Status> {
        let caller = Caller::of(&request)?.identity.principal();
        let request = request.into_inner();
        let size = pages::size(request.page_size, JOBS_PER_PAGE, JOBS_PER_PAGE_MAX)?;
        let states: Vec<JobState> =
            request.states.iter().map(|&code| job_state("states", code)).collect::<Result<_, _>>()?;
        let page = self.page(&caller, &request.page_token, request.read.as_ref()).await?;
        let wanted = |job: &Job| {
            (states.is_empty() || states.contains(&job.state)) && job.name.starts_with(&request.name_prefix)
        };
        let before = page.after_job();
        let revision = page.view.revision();
        let retired = if request.retired {
            let name_prefix = request.name_prefix.clone();
            self.0.history.scan(Scan { view: revision, before, name_prefix }).await?
        } else {
            RetiredPage::default()
        };
        let (jobs, next) = merged(&page.view, before, &retired, size, wanted);
        let jobs = jobs.into_iter();
        let jobs = jobs.map(|(job, retired)| show::job_status(revision, job, retired, false)).collect();
        let next_page_token =
            next.map(|job| self.0.pages.token_after(&caller, &page.view, job)).unwrap_or_default();
        Ok(Response::new(v1::ListJobsReply { revision: revision.0, jobs, next_page_token }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksReply>, Status> {
        let caller = Caller::of(&request)?.identity.principal();
        let request = request.into_inner();
        let size = pages::size(request.page_size, TASKS_PER_PAGE, TASKS_PER_PAGE_MAX)?;
        let states: Vec<TaskState> =
            request.states.iter().map(|&code| task_state("states", code)).collect::<Result<_, _>>()?;
        let only = request.tasks.map(IndexSet::try_from).transpose()?;
        let selector = show::selector(request.job)?;
        let page = self.page(&caller, &request.page_token, request.read.as_ref()).await?;
        let whole = self.find(&page.view, &selector).await?;
        let job = whole.job();
        let wanted = |task: TaskIndex, state: TaskState| {
            (states.is_empty() || states.contains(&state))
                && only.as_ref().is_none_or(|only| only.contains(task))
        };
        let first = TaskIndex(u32::try_from(page.position).unwrap_or(u32::MAX));
        let (found, next) = tasks_from(job, first, size, wanted);
        let pids = self.pids(job, &found).await;
        let tasks = found
            .iter()
            .zip(pids)
            .map(|((index, task), pid)| show::task(|id| whole.node_name(&page.view, id), *index, task, pid));
        Ok(Response::new(v1::ListTasksReply {
            revision: page.view.revision().0,
            uid: Some(job.uid.into()),
            tasks: tasks.collect(),
            next_page_token: next
                .map(|next| self.0.pages.token(&caller, &page.view, u64::from(next.0)))
                .unwrap_or_default(),
        }))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<LogsStream>, Status> {
        logs(&self.0, request).await
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<WatchStream>, Status> {
        let seat = self.0.watchers.admit(&Caller::of(&request)?.identity.principal())?;
        let v1::WatchRequest { read, after_revision, job } = request.into_inner();
        let view = self.0.reads.view(read.as_ref()).await?;
        let job = match job {
            Some(job) => Some(self.find(&view, &show::selector(Some(job))?).await?),
            None => None,
        };
        let renewal = self.renewal(read.as_ref());
        let stream = watch(self.0.published.clone(), seat, renewal, &view, after_revision, job.as_ref());
        Ok(Response::new(Box::pin(stream)))
    }
}

impl JobsService {
    /// How a watch knows that it has heard everything: as a read of the same freshness does.
    fn renewal(&self, read: Option<&v1::ReadOptions>) -> Renewal {
        if read.is_some_and(|read| read.stale) {
            return None;
        }
        let reads = self.0.reads.clone();
        Some(Box::new(move || {
            let reads = reads.clone();
            Box::pin(async move { reads.view(None).await.map(|_| ()) })
        }))
    }

    /// The job that a selector means: in the view, or else in the history as that view may see it. A name that was used
    /// again means its newest job, and that is the one in the view.
    async fn find<'v>(&self, view: &'v Cell, selector: &JobSelector) -> Result<Found<'v>, Status> {
        let missing = match find(view, selector) {
            Ok(job) => return Ok(Found::Live(job)),
            Err(missing) => missing,
        };
        let retired = self.0.history.find(selector, view.revision()).await?;
        retired.map(Found::Retired).ok_or(missing)
    }

    /// The finished job that the cell no longer knew when it refused a command as not found.
    async fn retired(&self, refused: Status, selector: &JobSelector) -> Result<Arc<RetiredJob>, Status> {
        if refused.code() != tonic::Code::NotFound {
            return Err(refused);
        }
        let view = self.0.published.view().revision();
        self.0.history.find(selector, view).await?.ok_or(refused)
    }

    /// A job is validated before it is proposed, against the view's limits; apply checks again against its own.
    /// The retry of a request that has its answer goes through all the same: the limits may have changed since, the
    /// answer has not.
    async fn checked(
        &self,
        caller: &Caller,
        id: Option<&v1::RequestId>,
        spec: v1::JobSpec,
    ) -> Result<JobSpec, Status> {
        // A follower's limits may be behind: only the leader says no for good.
        let status = self.0.replica.status();
        if !status.leading {
            return Err(refuse::not_leader(status.leader.as_ref()));
        }
        let view = self.0.published.view();
        let violations = match checked_spec(spec.clone(), &view.config().limits) {
            Ok(spec) => return Ok(spec),
            Err(violations) => violations,
        };
        let refused = || refuse::invalid(&violations);
        let (Some(id), Ok(spec)) = (id, JobSpec::try_from(spec)) else { return Err(refused()) };
        let id = caller.request_id(id.clone())?;
        let answered = self.0.reads.view(None).await?.knows_request(&id);
        if answered { Ok(spec) } else { Err(refused()) }
    }

    /// The page that a token names, or the first page of a new view.
    async fn page(&self, caller: &str, token: &[u8], read: Option<&v1::ReadOptions>) -> Result<Page, Status> {
        match self.0.pages.find(caller, token)? {
            Some(page) => Ok(page),
            None => Ok(Page::first(self.0.reads.view(read).await?)),
        }
    }

    /// Process ids of tasks that are on nodes, from the leader's soft state.
    async fn pids(&self, job: &Job, tasks: &[(TaskIndex, TaskView)]) -> Vec<Option<u32>> {
        let ask = |(index, task): &(TaskIndex, TaskView)| -> Option<(NodeId, AttemptId)> {
            let node = task.node.filter(|_| task.state.is_on_node())?;
            Some((node, AttemptId { job: job.uid, task: *index, attempt: task.attempt }))
        };
        let asked: Vec<Option<(NodeId, AttemptId)>> = tasks.iter().map(ask).collect();
        let known: Vec<(NodeId, AttemptId)> = asked.iter().flatten().copied().collect();
        if known.is_empty() {
            return vec![None; tasks.len()];
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let sent = self.0.questions.send(Question::Pids(known, reply)).await;
        let mut answers = match sent {
            Ok(()) => answer.await.unwrap_or_default().into_iter(),
            Err(_) => Vec::new().into_iter(),
        };
        asked.iter().map(|asked| asked.as_ref().and_then(|_| answers.next().flatten())).collect()
    }
}

/// Up to `size` wanted jobs of view and history, newest first, each with whether it retired; and the job after which the
/// next page goes on, where there may be one.
fn merged<'p>(
    view: &'p Cell,
    before: Option<JobUid>,
    retired: &'p RetiredPage,
    size: usize,
    wanted: impl Fn(&Job) -> bool,
) -> (Vec<(&'p Job, bool)>, Option<JobUid>) {
    // Below it the history was not looked at, so nothing from there may be shown yet.
    let shown = |job: &&Job| {
        before.is_none_or(|before| job.uid < before)
            && retired.down_to.is_none_or(|down_to| job.uid >= down_to)
    };
    let mut live = view.jobs().rev().filter(shown).filter(|job| wanted(job)).peekable();
    let mut ended = retired.jobs.iter().map(|job| job.job()).filter(|job| wanted(job)).peekable();
    let mut page: Vec<(&Job, bool)> = Vec::new();
    loop {
        let retired_next = match (live.peek(), ended.peek()) {
            (Some(live), Some(ended)) => ended.uid > live.uid,
            (live, ended) => live.is_none() && ended.is_some(),
        };
        let next = if retired_next { ended.next() } else { live.next() };
        match next {
            None => return (page, retired.down_to),
            Some(_) if page.len() == size => {
                let last = page.last().map(|(job, _)| job.uid);
                return (page, last);
            }
            Some(job) => page.push((job, retired_next)),
        }
    }
}

/// Up to `size` wanted tasks from an index on, and where the next page begins.
fn tasks_from(
    job: &Job,
    first: TaskIndex,
    size: usize,
    wanted: impl Fn(TaskIndex, TaskState) -> bool,
) -> (Vec<(TaskIndex, TaskView)>, Option<TaskIndex>) {
    let mut found = Vec::new();
    let Some(rest) = IndexRange::new(first.0, job.spec.tasks.saturating_sub(1)) else { return (found, None) };
    for (range, task) in job.task_runs_in(rest) {
        for index in range.iter().filter(|&index| wanted(index, task.state)) {
            if found.len() == size {
                return (found, Some(index));
            }
            found.push((index, task));
        }
    }
    (found, None)
}

/// The job that a selector means in a view.
fn find<'v>(view: &'v Cell, selector: &JobSelector) -> Result<&'v Job, Status> {
    let (job, name) = match selector {
        JobSelector::Name(name) => (view.job_by_name(name), name.clone()),
        JobSelector::Uid(uid) => (view.job(*uid), uid.to_string()),
    };
    job.ok_or_else(|| refuse::plain(v1::ErrorCode::NotFound, format!("there is no job `{name}`")))
}

fn unexpected(reply: &Reply) -> Status {
    refuse::plain(v1::ErrorCode::Internal, format!("the cell answered with {reply:?}"))
}
