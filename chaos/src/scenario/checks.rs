//! What every scenario asks the cell in the end, and the steps that they share.

use std::time::Duration;

use anyhow::{Context, Result};
use paceline_client::{Client, JobRef, v1};
use paceline_rules::JobSpec;
use paceline_types::{JobState, JobUid, Revision};
use paceline_verify::replicas::Replicas;
use tokio::time::sleep;

use crate::cell::DevCell;
use crate::record::{Call, Held, SeenJob, hold};
use crate::tasks::{self, TaskVerdict};
use crate::wait::{LOOK_EVERY, until};

/// Small jobs end within milliseconds; this is for a machine that does much else.
const SMALL_JOBS_WITHIN: Duration = Duration::from_secs(60);
/// The cell's clock may go on for a while, and with it the revision; masters meet at one soon.
const DIGESTS_WITHIN: Duration = Duration::from_secs(60);
/// A master that answers from its own view answers at once.
const OWN_VIEW_WITHIN: Duration = Duration::from_secs(2);

/// Submits a job and returns its uid.
pub async fn submit(client: &Client, spec: &JobSpec) -> Result<JobUid> {
    let reply =
        client.jobs().submit(spec).await.with_context(|| format!("cannot submit job {}", spec.name))?;
    Ok(reply.uid.context("the reply names no job")?.into())
}

/// A job as the leader sees it.
pub async fn job(client: &Client, uid: JobUid) -> Result<v1::JobStatus> {
    client.jobs().get(JobRef::Uid(uid)).await.with_context(|| format!("cannot read job {uid}"))
}

/// How many tasks have ended.
pub fn ended(counts: &v1::TaskCounts) -> u64 {
    [counts.succeeded, counts.failed, counts.killed, counts.lost].map(u64::from).iter().sum()
}

/// Whether nothing of a job is left to do.
pub const fn has_ended(state: v1::JobState) -> bool {
    !matches!(state, v1::JobState::Unspecified | v1::JobState::Active | v1::JobState::Stopping)
}

/// A write that changes next to nothing. Returns the revision at which it was committed and applied.
pub async fn tiny_write(client: &Client, node: &str, value: usize) -> Result<u64> {
    let set = [("chaos".to_owned(), value.to_string())].into();
    let reply =
        client.nodes().label(node, set, Vec::new()).await.context("a tiny write was not committed")?;
    Ok(reply.revision)
}

/// Waits until the small jobs have ended, and holds the record against those that the cell has.
pub async fn hold_record(client: &Client, prefix: &str, calls: &[Call]) -> Result<Held> {
    let look = || async {
        let jobs = small_jobs(client, prefix).await.map_err(|error| format!("{error:#}"))?;
        let open = jobs.iter().filter(|job| !job.state.is_terminal()).count();
        if open == 0 { Ok(jobs) } else { Err(format!("{open} small jobs have not ended")) }
    };
    // Those that never end are found by the comparison, one by one.
    let jobs = match until("the end of all small jobs", SMALL_JOBS_WITHIN, look).await {
        Ok(jobs) => jobs,
        Err(_) => small_jobs(client, prefix).await?,
    };
    Ok(hold(calls, &jobs))
}

async fn small_jobs(client: &Client, prefix: &str) -> Result<Vec<SeenJob>> {
    let request = v1::ListJobsRequest {
        name_prefix: prefix.to_owned(),
        retired: true,
        ..v1::ListJobsRequest::default()
    };
    let jobs = client.jobs().list(request).await.context("cannot list the small jobs")?;
    let seen = |job: v1::JobStatus| {
        let state = match job.state() {
            v1::JobState::Unspecified | v1::JobState::Active => JobState::Active,
            v1::JobState::Stopping => JobState::Stopping,
            v1::JobState::Succeeded => JobState::Succeeded,
            v1::JobState::Failed => JobState::Failed,
            v1::JobState::Killed => JobState::Killed,
        };
        let uid = job.uid.context("a job without uid is listed")?.into();
        Ok(SeenJob { name: job.name, uid, state })
    };
    jobs.into_iter().map(seen).collect()
}

/// Holds a job and all its tasks against how each must have ended.
pub async fn hold_job(
    client: &Client,
    uid: JobUid,
    count: u32,
    code: impl Fn(u32) -> i32,
) -> Result<TaskVerdict> {
    let job = job(client, uid).await?;
    let succeeded = (0..count).filter(|index| code(*index) == 0).count();
    let succeeded = u32::try_from(succeeded).context("a job has at most 2^32 tasks")?;
    let mut violations = tasks::hold_counts(count, succeeded, &job.tasks.unwrap_or_default());
    let listed = client.jobs().list_tasks(JobRef::Uid(uid), &[]).await.context("cannot list the tasks")?;
    let verdict = tasks::hold(count, &listed, code);
    violations.extend(verdict.violations);
    let named = violations.into_iter().map(|violation| format!("job {}: {violation}", job.name)).collect();
    Ok(TaskVerdict { violations: named, ..verdict })
}

/// Asks each master for the digest of its own view until all were seen at one revision, which is returned.
pub async fn compare_digests(cell: &DevCell, violations: &mut Vec<String>) -> Result<Option<u64>> {
    let masters = cell.parts()?.masters;
    let mut replicas = Replicas::default();
    let began = std::time::Instant::now();
    let mut last = String::new();
    while began.elapsed() < DIGESTS_WITHIN {
        for master in &masters {
            match own_status(cell, &master.name).await {
                Ok(status) => {
                    let digest = status.state_digest.unwrap_or_default();
                    last = format!("{} was at revision {}", master.name, digest.revision);
                    let told = replicas.digest(&master.name, Revision(digest.revision), &digest.digest);
                    violations.extend(told.err().map(|violation| violation.to_string()));
                }
                Err(error) => last = format!("{}: {error:#}", master.name),
            }
        }
        if !violations.is_empty() {
            return Ok(None);
        }
        if let Some(revision) = replicas.compared(masters.len()) {
            return Ok(Some(revision.0));
        }
        sleep(LOOK_EVERY).await;
    }
    violations.push(format!("the masters did not meet at one revision within {DIGESTS_WITHIN:?}: {last}"));
    Ok(None)
}

/// The status of the cell in a master's own view, which may be behind.
pub async fn own_status(cell: &DevCell, master: &str) -> Result<v1::CellStatusReply> {
    let client = cell.client()?.within(OWN_VIEW_WITHIN).stale().at(master).await?;
    Ok(client.cell().status().await?)
}
