//! The Jobs service of a fake master.

use std::sync::Arc;

use paceline_api::v1::jobs_server::Jobs;
use paceline_api::{CallId, status_from, v1};
use tokio_stream::Iter;
use tonic::{Request, Response, Status};

use super::cell::{FakeCell, Fault};

pub struct FakeJobs {
    pub at: usize,
    pub cell: Arc<FakeCell>,
}

type Scripted<T> = Iter<std::vec::IntoIter<Result<T, Status>>>;

#[tonic::async_trait]
impl Jobs for FakeJobs {
    async fn submit(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobReply>, Status> {
        let request = request.into_inner();
        let (reply, fault) = {
            let mut truth = self.cell.lock();
            truth.only_leader(self.at)?;
            let id = CallId::try_from(request.request.expect("every mutation has an id"))?;
            truth.seen.push(id);
            match truth.faults.pop_front() {
                Some(Fault::Say(detail)) => return Err(status_from(detail)),
                fault => (truth.execute(id), fault),
            }
        };
        match fault {
            Some(Fault::DropReply) => Err(Status::unknown("h2 protocol error: connection reset")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Say(_)) | None => Ok(Response::new(reply)),
        }
    }

    async fn get(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobReply>, Status> {
        let mut truth = self.cell.lock();
        if !request.into_inner().read.unwrap_or_default().stale {
            truth.only_leader(self.at)?;
        }
        truth.read_by = Some(self.at);
        let uid = Some(v1::JobUid { revision: 101 + truth.others, ordinal: 0 });
        let job = Some(v1::JobStatus { name: format!("m{}", self.at), uid, ..v1::JobStatus::default() });
        Ok(Response::new(v1::GetJobReply { revision: 500, job }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksReply>, Status> {
        assert!(request.get_ref().page_size <= 10_000);
        let next = self.cell.lock().pages.pop_front();
        next.expect("a page was scripted").map(Response::new)
    }

    type WatchStream = Scripted<v1::WatchReply>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut truth = self.cell.lock();
        truth.only_leader(self.at)?;
        let request = request.into_inner();
        truth.watched_after.push(request.after_revision);
        truth.watched_of.extend(request.job.map(named));
        let script = truth.watches.pop_front().ok_or_else(|| Status::unavailable("nothing more"))?;
        Ok(Response::new(tokio_stream::iter(script)))
    }

    type LogsStream = Scripted<v1::LogsReply>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let mut truth = self.cell.lock();
        let request = request.into_inner();
        truth.logged_from.push(request.offset);
        truth.logged_of.push(request.job.map(named).unwrap_or_default());
        let script = truth.logs.pop_front().ok_or_else(|| Status::unavailable("nothing more"))?;
        Ok(Response::new(tokio_stream::iter(script)))
    }

    async fn stop(&self, _: Request<v1::StopJobRequest>) -> Result<Response<v1::StopJobReply>, Status> {
        Err(Status::unimplemented("not played here"))
    }

    async fn delete(&self, _: Request<v1::DeleteJobRequest>) -> Result<Response<v1::DeleteJobReply>, Status> {
        Err(Status::unimplemented("not played here"))
    }

    async fn list(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsReply>, Status> {
        let truth = self.cell.lock();
        truth.only_leader(self.at)?;
        Ok(Response::new(v1::ListJobsReply { revision: 90 + truth.others, ..v1::ListJobsReply::default() }))
    }
}

/// A job as it was asked for.
fn named(job: v1::JobSelector) -> String {
    match job.by {
        Some(v1::job_selector::By::Name(name)) => name,
        Some(v1::job_selector::By::Uid(uid)) => format!("{}-{}", uid.revision, uid.ordinal),
        None => String::new(),
    }
}
