//! The large job of tasks that end at once: how far it is, and whether every task was done once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use paceline_client::Client;
use paceline_rules::JobSpec;
use paceline_types::{JobUid, Resources};
use tokio::time::sleep;

use super::checks;
use crate::report::Report;
use crate::wait::LOOK_EVERY;

/// Attempts that each task may use; one must do.
const ATTEMPTS: u32 = 3;
/// A task needs little, so that many fit on a small machine.
const NEEDS: Resources = Resources::new(10, 8 << 20);
/// No task ends for this long: the job stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(90);

/// The large job.
#[derive(Debug)]
pub struct Big {
    client: Client,
    uid: JobUid,
    tasks: u32,
}

impl Big {
    /// Submits it.
    pub async fn submit(client: &Client, name: &str, tasks: u32) -> Result<Self> {
        let spec = JobSpec { max_attempts: ATTEMPTS, ..JobSpec::batch(name, tasks, &["/bin/true"], NEEDS) };
        Ok(Self { client: client.clone(), uid: checks::submit(client, &spec).await?, tasks })
    }

    /// Waits until this many tasks have ended, and returns how many have; nothing when the job ended before.
    pub async fn reaches(&self, threshold: u64) -> Result<Option<u64>> {
        let mut highest = (0, Instant::now());
        loop {
            let job = checks::job(&self.client, self.uid).await?;
            let ended = checks::ended(&job.tasks.unwrap_or_default());
            if checks::has_ended(job.state()) {
                return Ok(None);
            }
            if ended >= threshold {
                return Ok(Some(ended));
            }
            if ended > highest.0 {
                highest = (ended, Instant::now());
            }
            if highest.1.elapsed() > STANDS_STILL_AFTER {
                bail!("the big job stands still: {:?}", job.tasks.unwrap_or_default());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the job has ended.
    pub async fn ends(&self) -> Result<()> {
        while self.reaches(u64::from(self.tasks)).await?.is_some() {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// How many tasks have ended now.
    pub async fn ended(&self) -> Result<u64> {
        Ok(checks::ended(&checks::job(&self.client, self.uid).await?.tasks.unwrap_or_default()))
    }

    /// Holds every task: it succeeded, in attempt 1.
    pub async fn hold(&self, report: &mut Report) -> Result<()> {
        let verdict = checks::hold_job(&self.client, self.uid, self.tasks, |_| 0).await?;
        report.attempts_above_one += verdict.attempts_above_one;
        report.violations.extend(verdict.violations);
        Ok(())
    }
}
