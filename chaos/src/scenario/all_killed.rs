//! `all-killed`: tasks run, all masters and shards are killed at once, stay away, and come back.
//!
//! Nothing may happen to a task meanwhile: the same processes run afterwards, and every exit code arrives,
//! those of tasks that ended while nobody could hear it included.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paceline_client::Client;
use tokio::time::sleep;

use super::workload::{Pids, Workload};
use super::{Options, checks, frame, links};
use crate::cell::DevCell;
use crate::process::Process;
use crate::report::{Outage, Report};
use crate::wait::ms_since;

/// From the first restart until a write is committed.
const NEXT_WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Stage 0 ends while everything is away, stage 1 after it is back.
const STAGES: u32 = 2;

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    frame::run(cell, options, report, "outage", async |client, number, report| {
        let outage = outage(cell, client, number, options, report).await?;
        report.outages.push(outage);
        Ok(())
    })
    .await
}

async fn outage(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<Outage> {
    let job =
        Workload::submit(cell, client, format!("held-{number}"), options.tasks, STAGES, Vec::new()).await?;
    let pids = job.all_running().await?;
    let churn = Workload::churn(cell, client, number, options).await?;
    let killed = Instant::now();
    kill_all(cell)?;
    eprintln!("outage {number}: {} tasks run, all masters and shards are killed", pids.len());
    job.end_stage(0, &pids).await?;
    sleep(Duration::from_secs(options.outage_seconds).saturating_sub(killed.elapsed())).await;

    let tasks_kept = job.hold_processes(&pids, |stage| stage != 0, report);
    let restarted = Instant::now();
    let ms_away = ms_since(killed);
    let ms_to_next_write = bring_back(cell, number, restarted).await?;
    links::all_connected(client).await?;
    let ms_to_all_connected = ms_since(restarted);
    eprintln!(
        "outage {number}: next write after {ms_to_next_write} ms, all connected after {ms_to_all_connected} ms"
    );
    hold(&job, &pids, report).await?;
    churn.hold(&Pids::new(), report).await?;
    let tasks_running = pids.len();
    Ok(Outage {
        away: "all masters and shards",
        ms_away,
        tasks_running,
        tasks_kept,
        tasks_ended_unheard: tasks_running - tasks_kept,
        ms_to_next_write: Some(ms_to_next_write),
        ms_to_all_connected,
    })
}

/// What ended unheard is heard now, the rest are the same processes, and end well.
async fn hold(job: &Workload, pids: &Pids, report: &mut Report) -> Result<()> {
    job.ended(|index| job.marks.stage(index) == 0).await?;
    job.same_processes(pids, |index| job.marks.stage(index) != 0).await?;
    job.end_stage(1, pids).await?;
    job.hold(pids, report).await
}

/// All at once: nobody has time to hand over to anybody.
fn kill_all(cell: &DevCell) -> Result<()> {
    let parts = cell.parts()?;
    let processes: Vec<Process> =
        parts.masters.iter().chain(&parts.shards).filter_map(|part| part.process()).collect();
    let expected = parts.masters.len() + parts.shards.len();
    ensure!(processes.len() == expected, "{} of {expected} masters and shards run", processes.len());
    processes.iter().for_each(|process| process.kill());
    Ok(())
}

/// Starts masters, then shards. Returns the milliseconds from the first restart to the next committed write.
async fn bring_back(cell: &DevCell, number: usize, restarted: Instant) -> Result<u64> {
    let parts = cell.parts()?;
    let node = parts.agents.first().context("the cell has no agent")?.node.clone();
    for master in &parts.masters {
        cell.start_again(&format!("master:{}", master.id)).await?;
    }
    let writer = cell.client()?.within(NEXT_WRITE_WITHIN);
    let written = tokio::spawn(async move {
        checks::tiny_write(&writer, &node, number).await?;
        anyhow::Ok(ms_since(restarted))
    });
    for shard in &parts.shards {
        cell.start_again(&format!("shard:{}", shard.id)).await?;
    }
    written.await.context("the tiny write failed")?
}
