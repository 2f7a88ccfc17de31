//! Following a job to its end, with a progress bar for people.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use paceline_client::{Client, JobRef, v1};
use tokio::time::sleep;

use super::show;
use crate::cli::Output;

/// Between two looks: a person sees movement, the leader answers a handful of reads a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits until a job has ended.
pub async fn until_ended(client: &Client, mut job: JobRef, format: Output) -> Result<v1::JobStatus> {
    let bar = bar(format);
    loop {
        let status = client.jobs().get(job.clone()).await?;
        // Whatever has the name later may be another job.
        if let Some(uid) = status.uid {
            job = JobRef::Uid(uid.into());
        }
        let tasks = status.tasks.unwrap_or_default();
        bar.set_length(show::total(&tasks));
        bar.set_position(show::ended(&tasks));
        bar.set_message(show::counts_text(&tasks));
        let ended = !matches!(
            status.state(),
            v1::JobState::Active | v1::JobState::Stopping | v1::JobState::Unspecified
        );
        if ended {
            bar.finish_and_clear();
            return Ok(status);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// On the terminal of a person; nothing for scripts.
fn bar(format: Output) -> ProgressBar {
    let target =
        if format == Output::Json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
