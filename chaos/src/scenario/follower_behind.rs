//! `follower-behind`: a follower is killed, so much is written that no other master has the log behind it any more,
//! and it comes back: by a snapshot, since nothing else can bring it there.
//!
//! ```text
//! follower ├──✝ its log ends below R ─────────────────────────── restarted ─ snapshot above R ─ caught up ┤
//! others   ├──── R committed ── jobs ── snapshot ── purged up to P ≥ R ───────────────────────────────────┤
//! ```
//!
//! Then it must have the leader's state, byte by byte, and tell of finished jobs by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paceline_client::{Client, v1};
use paceline_rules::JobSpec;
use paceline_types::Resources;
use tokio::time::sleep;

use super::workload::{Pids, Workload};
use super::{Options, checks, masters};
use crate::cell::DevCell;
use crate::load::Load;
use crate::report::{CatchUp, Report};
use crate::wait::{ms_since, until};

/// Masters of this scenario take a snapshot after so much log, so that it need not write for minutes.
pub const SNAPSHOT_AFTER_LOG_BYTES: u64 = 1 << 20;
/// And keep so much behind it.
pub const LOG_TAIL_BYTES: u64 = 128 << 10;
/// The names of the small jobs begin so.
const PREFIX: &str = "small-";
/// What a job that fills the log carries: well below the limit of one label.
const FILLING_BYTES: usize = 96 << 10;
/// What it needs.
const FILLING_NEEDS: Resources = Resources::new(5, 4 << 20);
/// The log is written over at least once within this.
const PURGED_WITHIN: Duration = Duration::from_secs(300);
/// From the restart until the follower has what the leader had by then.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);
/// Submissions go on for so long before, so that there is something to lose.
const SUBMISSIONS_AROUND: Duration = Duration::from_secs(2);

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&client, PREFIX);
    sleep(SUBMISSIONS_AROUND).await;
    for number in 1..=options.runs {
        match fall_behind(cell, &client, number, options, report).await {
            Ok(catch_up) => report.catch_ups.push(catch_up),
            // What was waited for did not come: a broken promise, and no state to begin another one from.
            Err(error) => {
                report.violations.push(format!("follower {number}: {error:#}"));
                break;
            }
        }
    }
    let calls = load.stop().await?;
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

async fn fall_behind(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<CatchUp> {
    let early = finished_job(cell, client, format!("early-{number}"), options, report).await?;
    let leader = masters::leader(cell, client).await?;
    let parts = cell.parts()?;
    let follower = parts.masters.iter().filter(|master| master.name != leader.name).nth(number % 2);
    let follower = follower.context("the cell has no follower")?;
    let others: Vec<&str> = parts
        .masters
        .iter()
        .map(|master| master.name.as_str())
        .filter(|name| *name != follower.name)
        .collect();
    masters::kill(follower.process().with_context(|| format!("{} does not run", follower.name))?).await?;
    let node = &parts.agents.first().context("the cell has no agent")?.node;
    // Committed after the follower was gone: its log ends below.
    let revision_before = checks::tiny_write(client, node, number).await?;
    eprintln!("follower {number}: {} is gone, its log ends below revision {revision_before}", follower.name);

    let late = finished_job(cell, client, format!("late-{number}"), options, report).await?;
    let purged_revision = write_until_purged(cell, client, number, &others, revision_before).await?;
    eprintln!("follower {number}: the others have purged their logs up to revision {purged_revision}");
    let revision = client.cell().status().await?.revision;
    let back = Instant::now();
    cell.start_again(&format!("master:{}", follower.id)).await?;
    let caught_up = || has_caught_up(cell, &follower.name, revision);
    let own = until(&format!("{} to catch up", follower.name), CAUGHT_UP_WITHIN, caught_up).await?;
    let ms_to_caught_up = ms_since(back);
    let snapshot_revision = master(&own, &follower.name).and_then(|own| own.snapshot_revision).unwrap_or(0);
    if snapshot_revision < purged_revision {
        report.violations.push(format!(
            "{} has applied revision {} with a snapshot of {snapshot_revision}, but its log ended below \
             {revision_before} and nobody had the entries up to {purged_revision} any more",
            follower.name, own.revision
        ));
    }
    eprintln!("follower {number}: {} caught up by snapshot {snapshot_revision}", follower.name);
    // From its own view, as `--from … --stale` reads.
    let there = client.stale().at(&follower.name).await?;
    for job in [&early, &late] {
        job.seen_by(&there).hold(&Pids::new(), report).await?;
    }
    Ok(CatchUp {
        follower: follower.name.clone(),
        revision_before,
        purged_revision,
        snapshot_revision,
        ms_to_caught_up,
        jobs_read: [early, late].len(),
    })
}

/// A job that has ended, and was held in the leader's view.
async fn finished_job(
    cell: &DevCell,
    client: &Client,
    name: String,
    options: &Options,
    report: &mut Report,
) -> Result<Workload> {
    let job = Workload::submit(cell, client, name, options.tasks, 0, Vec::new()).await?;
    job.hold(&Pids::new(), report).await?;
    Ok(job)
}

/// Submits large jobs until none of these masters has an entry up to the revision. Returns the lowest revision that
/// any of them has purged.
async fn write_until_purged(
    cell: &DevCell,
    client: &Client,
    number: usize,
    masters: &[&str],
    revision: u64,
) -> Result<u64> {
    let began = Instant::now();
    let mut written = 0_u32;
    loop {
        let mut lowest = u64::MAX;
        for name in masters {
            let own = checks::own_status(cell, name).await?;
            lowest = lowest.min(master(&own, name).and_then(|own| own.purged_revision).unwrap_or(0));
        }
        if lowest > revision {
            return Ok(lowest);
        }
        anyhow::ensure!(
            began.elapsed() < PURGED_WITHIN,
            "after {written} jobs of {FILLING_BYTES} bytes in {PURGED_WITHIN:?} the logs of {masters:?} still reach \
             back to revision {lowest}"
        );
        written += 1;
        let name = format!("fill-{number}-{written}");
        let filling = (0..FILLING_BYTES).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let labels = [("filling".to_owned(), filling)].into();
        let spec = JobSpec { labels, ..JobSpec::batch(&name, 1, &["/bin/true"], FILLING_NEEDS) };
        checks::submit(client, &spec).await?;
    }
}

async fn has_caught_up(cell: &DevCell, name: &str, revision: u64) -> Result<v1::CellStatusReply, String> {
    let own = checks::own_status(cell, name).await.map_err(|error| format!("{error:#}"))?;
    if own.revision < revision {
        return Err(format!("it is at revision {}, the leader was at {revision}", own.revision));
    }
    Ok(own)
}

fn master<'a>(status: &'a v1::CellStatusReply, name: &str) -> Option<&'a v1::Master> {
    status.masters.iter().find(|master| master.name == name)
}
