//! The auditor: a client that comes when the cell has healed, waits until everything due has ended, looks at all of it and
//! has it checked.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use paceline_cell::Cell;
use paceline_client::{Client, JobRef, v1};
use paceline_types::Revision;
use tokio::time::{Instant, sleep};

use crate::checks::{AT_REST, Sight};
use crate::judge::{DUE_WITHIN_MS, seen};
use crate::trace::Trace;
use crate::workload::ClientSeat;

/// How often the auditor looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long a healed cell may take until everything due has ended: connections that hang from a cut are given up after 30
/// seconds, the longest outage of an agent's dial adds some, and then the longest tasks run.
const WITHIN: Duration = Duration::from_millis(DUE_WITHIN_MS);
/// A watch that hangs from a cut notices it within 15 seconds, and opens again.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(25);

/// Who audits, and against what.
#[derive(Clone)]
pub struct Auditor {
    /// As whom.
    pub seat: ClientSeat,
}

impl Auditor {
    /// Waits, looks, checks, and says when it is done.
    pub async fn live(self) -> turmoil::Result {
        let client = self.seat.open();
        let trace = &self.seat.trace;
        match self.at_rest(&client).await {
            Ok(sight) => {
                trace.count("jobs", sight.jobs.len() as u64);
                note_points(trace, &sight);
                for (name, check) in AT_REST {
                    for what in check(&sight, &self.seat.ledger) {
                        trace.violation(name, what);
                    }
                }
                let until = Instant::now() + FOLLOWED_WITHIN;
                while !self.seat.judge.is_followed(Revision(sight.revision)) && Instant::now() < until {
                    sleep(LOOK).await;
                }
                let jobs: Vec<_> = sight.jobs.iter().filter_map(|(job, _)| seen(job)).collect();
                self.seat.judge.at_rest(Revision(sight.revision), &jobs);
            }
            Err(error) => trace.violation("serves-again", format!("{error:#}")),
        }
        self.seat.ledger.settle();
        Ok(())
    }

    async fn at_rest(&self, client: &Client) -> Result<Sight> {
        let until = Instant::now() + WITHIN;
        loop {
            let looked = self.look(client).await;
            match looked {
                Ok(Some(sight)) => return Ok(sight),
                Ok(None) if Instant::now() < until => {}
                Ok(None) => bail!("{} after healing: {}", shown(WITHIN), self.waiting(client).await?),
                Err(error) if Instant::now() < until => {
                    self.seat.trace.event(&self.seat.name, format_args!("looks in vain: {error:#}"));
                }
                Err(error) => return Err(error.context(format!("{} after healing", shown(WITHIN)))),
            }
            sleep(LOOK).await;
        }
    }

    /// Everything, if all jobs have ended and all masters are at one revision; nothing otherwise.
    async fn look(&self, client: &Client) -> Result<Option<Sight>> {
        self.seat.judge.check_liveness();
        let v1::ListJobsReply { jobs, revision, .. } =
            self.seat.list(client, true).await.context("listing jobs")?;
        if jobs.iter().any(|job| job.ended_revision.is_none()) {
            return Ok(None);
        }
        let mut sight = Sight { revision, ..Sight::default() };
        for job in jobs {
            let uid = job.uid.context("a job without a uid")?;
            let tasks =
                client.jobs().list_tasks(JobRef::Uid(uid.into()), &[]).await.context("listing tasks")?;
            sight.jobs.push((job, tasks));
        }
        for master in &self.seat.masters {
            let at = client.at(master).await?.stale();
            let status = at.cell().status_at(client.revision()).await;
            self.seat.heard(&status.with_context(|| format!("the status of {master}"))?);
            let state = state_of(&at).await.with_context(|| format!("the snapshot of {master}"))?;
            sight.states.push((master.clone(), state));
        }
        let first = sight.states.first().map_or(Revision(0), |(_, cell)| cell.revision());
        Ok(sight.states.iter().all(|(_, cell)| cell.revision() == first).then_some(sight))
    }

    /// What has not ended, for people.
    async fn waiting(&self, client: &Client) -> Result<String> {
        let jobs = client.jobs().list(v1::ListJobsRequest::default()).await?;
        let mut texts = Vec::new();
        for job in jobs.iter().filter(|job| job.ended_revision.is_none()) {
            let one = client.jobs().get(job.name.as_str()).await?;
            texts.push(format!("{} {:?} {:?}", job.name, job.tasks, one.waiting));
        }
        Ok(if texts.is_empty() { "masters are at different revisions".to_owned() } else { texts.join("; ") })
    }
}

/// What a sweep must have seen in some of its seeds, for its checks to have looked at anything.
fn note_points(trace: &Trace, sight: &Sight) {
    let tasks = || sight.jobs.iter().flat_map(|(_, tasks)| tasks);
    for (point, reached) in [
        ("a finished job retired", sight.jobs.iter().any(|(job, _)| job.retired)),
        ("a task was tried again", tasks().any(|task| task.attempt > 1)),
        ("a task was stopped", tasks().any(|task| task.state() == v1::TaskState::Killed)),
        ("a task failed", tasks().any(|task| task.state() == v1::TaskState::Failed)),
    ] {
        if reached {
            trace.sometimes(point);
        }
    }
}

async fn state_of(master: &Client) -> Result<Cell> {
    let mut snapshot = master.cell().snapshot().await?;
    let mut chunks = Vec::new();
    while let Some(chunk) = snapshot.next().await? {
        chunks.push(Ok::<_, std::convert::Infallible>(chunk));
    }
    Ok(Cell::restore(chunks)?)
}

fn shown(span: Duration) -> String {
    format!("{} s", span.as_secs())
}
