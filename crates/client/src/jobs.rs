//! Jobs: what a person or a program does with them.

use paceline_api::v1::jobs_client::JobsClient;
use paceline_api::{JobRef, TASKS_PER_PAGE_MAX, v1};
use paceline_rules::JobSpec;
use paceline_types::{Revision, TaskState};
use tonic::transport::Channel;

use crate::client::Client;
use crate::error::ClientError;
use crate::logs::Logs;
use crate::watch::Watch;

/// How often a listing begins anew when the view that its pages came from is gone. Views outlive many pages;
/// more than this in one listing means that the cell changes leaders faster than it can be read.
const LISTINGS_MAX: u32 = 5;

/// Calls on jobs.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'a>(pub(crate) &'a Client);

/// Which output of which task.
#[derive(Clone, Debug, Default)]
pub struct LogsOf {
    /// Which task, from 0.
    pub task: u32,
    /// Which attempt; 0 means the current or last one.
    pub attempt: u32,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// From which byte on.
    pub offset: u64,
    /// At most this many bytes; 0 means no bound.
    pub max_bytes: u64,
    /// Go on until the attempt has ended.
    pub follow: bool,
}

pub(crate) fn service(channel: Channel) -> JobsClient<Channel> {
    JobsClient::new(channel)
}

impl Jobs<'_> {
    /// Submits a job. When this returns, it is durable on a majority of masters.
    ///
    /// # Errors
    /// [`ClientError`]; a refused specification has all its violations.
    pub async fn submit(&self, spec: &JobSpec) -> Result<v1::SubmitJobReply, ClientError> {
        self.submit_wire(spec.into()).await
    }

    /// Submits what the wire can say, valid or not.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit_wire(&self, spec: v1::JobSpec) -> Result<v1::SubmitJobReply, ClientError> {
        let request = v1::SubmitJobRequest { request: None, spec: Some(spec) };
        self.0.mutate(request, |to, request| async move { service(to).submit(request).await }).await
    }

    /// Ends all tasks of a job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop(&self, job: impl Into<JobRef>) -> Result<v1::StopJobReply, ClientError> {
        let request = v1::StopJobRequest { request: None, job: Some(job.into().into()) };
        self.0.mutate(request, |to, request| async move { service(to).stop(request).await }).await
    }

    /// Forgets a job that has ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&self, job: impl Into<JobRef>) -> Result<v1::DeleteJobReply, ClientError> {
        let request = v1::DeleteJobRequest { request: None, job: Some(job.into().into()) };
        self.0.mutate(request, |to, request| async move { service(to).delete(request).await }).await
    }

    /// One job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, job: impl Into<JobRef>) -> Result<v1::JobStatus, ClientError> {
        let request = v1::GetJobRequest { read: None, job: Some(job.into().into()) };
        let reply = self.0.read(request, |to, request| async move { service(to).get(request).await }).await?;
        reply.job.ok_or_else(|| ClientError::protocol("a job was found, but not sent"))
    }

    /// One page of jobs. `request.read` is filled in here.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_page(&self, request: v1::ListJobsRequest) -> Result<v1::ListJobsReply, ClientError> {
        self.0.read(request, |to, request| async move { service(to).list(request).await }).await
    }

    /// All jobs that the request selects, of one view; its page size and token are filled in here.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self, request: v1::ListJobsRequest) -> Result<Vec<v1::JobStatus>, ClientError> {
        let page = |page_token| {
            let request = v1::ListJobsRequest { page_token, ..request.clone() };
            async {
                let reply = self.list_page(request).await?;
                Ok((reply.jobs, reply.next_page_token))
            }
        };
        all_pages(page).await
    }

    /// One page of tasks. `request.read` is filled in here.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tasks_page(&self, request: v1::ListTasksRequest) -> Result<v1::ListTasksReply, ClientError> {
        self.0.read(request, |to, request| async move { service(to).list_tasks(request).await }).await
    }

    /// All tasks of a job in these states, or in any where none are named; of one view, by rising index.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_tasks(
        &self,
        job: impl Into<JobRef>,
        states: &[TaskState],
    ) -> Result<Vec<v1::Task>, ClientError> {
        let request = v1::ListTasksRequest {
            job: Some(job.into().into()),
            page_size: TASKS_PER_PAGE_MAX,
            states: states.iter().map(|&state| v1::TaskState::from(state).into()).collect(),
            ..v1::ListTasksRequest::default()
        };
        let page = |page_token| {
            let request = v1::ListTasksRequest { page_token, ..request.clone() };
            async {
                let reply = self.tasks_page(request).await?;
                Ok((reply.tasks, reply.next_page_token))
            }
        };
        all_pages(page).await
    }

    /// Every change after a revision, or from now on; of one job, or of all. It goes on across leader changes.
    #[must_use]
    pub fn watch(&self, after: Option<Revision>, job: Option<JobRef>) -> Watch {
        Watch::new(self.0.clone(), after, job)
    }

    /// A task's output. It goes on across leader changes.
    #[must_use]
    pub fn logs(&self, job: impl Into<JobRef>, of: LogsOf) -> Logs {
        Logs::new(self.0.clone(), job.into(), of)
    }
}

/// Reads pages to the last one, from the start again where the view that they came from is gone: pages of two
/// views do not make a listing.
pub(crate) async fn all_pages<T, F, Fut>(page: F) -> Result<Vec<T>, ClientError>
where
    F: Fn(tonic::codegen::Bytes) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, tonic::codegen::Bytes), ClientError>>,
{
    let mut listings = 0;
    let mut all = Vec::new();
    let mut token = tonic::codegen::Bytes::new();
    loop {
        match page(token.clone()).await {
            Ok((more, next)) => {
                all.extend(more);
                if next.is_empty() {
                    return Ok(all);
                }
                token = next;
            }
            Err(error) if error.code() == Some(v1::ErrorCode::PageExpired) && listings < LISTINGS_MAX => {
                listings += 1;
                all.clear();
                token.clear();
            }
            Err(error) => return Err(error),
        }
    }
}
