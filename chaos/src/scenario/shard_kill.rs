//! `shard-kill`: the shard that agents speak through is killed under load; they move to the other one, and back when
//! it returns. Then all shards are killed at once.
//!
//! ```text
//! tasks   ├─ all run ─┼ stage 0 ends, heard through the other shard ┼ stage 1 ends unheard ┼ stage 2 ends ┤
//! shard   ├───────────✝─ re-homed ─ new work there ─ returns ─ home ──✝ (all) ──── return ───────────────┤
//! ```
//!
//! Nodes choose their shard by rendezvous hashing, which with a few nodes may put all of them on one: the shard that
//! is killed is the one with the most nodes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paceline_client::Client;
use paceline_rules::{Constraint, Operator};
use tokio::time::sleep;

use super::workload::{Pids, Workload};
use super::{Options, checks, frame, links, masters};
use crate::cell::DevCell;
use crate::report::{Outage, Report, ShardKill};
use crate::wait::{ms_since, until};

/// From the SIGKILL until every node speaks through another shard.
const REHOMED_WITHIN: Duration = Duration::from_secs(120);
/// From the shard's return until its nodes are with it again: they look for it every twenty to forty seconds, and
/// more rarely where it took their connection and had no leader yet.
const HOME_WITHIN: Duration = Duration::from_secs(300);
/// Stage 0 ends while one shard is away, stage 1 while all are, stage 2 in the end.
const STAGES: u32 = 3;
/// The label that names a node, so that a job can be sent to it.
const LABEL: &str = "chaos-node";
/// Tasks of each job that is sent to one node.
const NEW_TASKS: u32 = 3;

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    for agent in &cell.parts()?.agents {
        let set = [(LABEL.to_owned(), agent.node.clone())].into();
        client.nodes().label(&agent.node, set, Vec::new()).await.context("cannot label a node")?;
    }
    frame::run(cell, options, report, "kill", async |client, number, report| {
        kills(cell, client, number, options, report).await
    })
    .await
}

async fn kills(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let job =
        Workload::submit(cell, client, format!("held-{number}"), options.tasks, STAGES, Vec::new()).await?;
    let pids = job.all_running().await?;
    let kill = kill_one(cell, client, number, options, &job, &pids, report).await?;
    report.shard_kills.push(kill);
    let outage = kill_all(cell, client, number, options, &job, &pids, report).await?;
    report.outages.push(outage);
    job.end_stage(2, &pids).await?;
    job.hold(&pids, report).await
}

/// Kills the shard with the most nodes, and brings it back once they have done new work elsewhere.
async fn kill_one(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    job: &Workload,
    pids: &Pids,
    report: &mut Report,
) -> Result<ShardKill> {
    let homes = links::settled(client).await?;
    let shard = busiest(&homes).context("no node speaks through a shard")?;
    let nodes: Vec<String> = of_shard(&homes, &shard);
    let parts = cell.parts()?;
    let part = parts.shard(&shard).with_context(|| format!("{shard} is not in cell.json"))?;
    let tasks_running = pids.values().filter(|task| nodes.contains(&task.node)).count();

    let churn = Workload::churn(cell, client, number, options).await?;
    let killed = Instant::now();
    masters::kill(part.process().with_context(|| format!("{shard} does not run"))?).await?;
    eprintln!("kill {number}: {shard} is gone, with {} behind it", nodes.join(", "));
    until("the re-homing of all its nodes", REHOMED_WITHIN, || rehomed(client, &nodes, &shard)).await?;
    let ms_to_rehomed = ms_since(killed);
    new_work(cell, client, number, &nodes, report).await?;
    let ms_to_new_work_done = ms_since(killed);
    eprintln!(
        "kill {number}: re-homed after {ms_to_rehomed} ms, new work done after {ms_to_new_work_done} ms"
    );
    job.end_stage(0, pids).await?;
    job.ended(|index| job.marks.stage(index) == 0).await?;
    job.same_processes(pids, |index| job.marks.stage(index) != 0).await?;
    job.hold_processes(pids, |stage| stage != 0, report);
    churn.hold(&Pids::new(), report).await?;

    let back = Instant::now();
    cell.start_again(&format!("shard:{}", part.id)).await?;
    until("the move back to the shard", HOME_WITHIN, || are_home(client, &nodes, &shard)).await?;
    let ms_to_home_again = ms_since(back);
    eprintln!("kill {number}: {shard} has its nodes again after {ms_to_home_again} ms");
    job.same_processes(pids, |index| job.marks.stage(index) != 0).await?;
    Ok(ShardKill { shard, nodes, tasks_running, ms_to_rehomed, ms_to_new_work_done, ms_to_home_again })
}

/// Kills all shards at once; a stage of tasks ends before they are back. The masters commit all the while.
async fn kill_all(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    job: &Workload,
    pids: &Pids,
    report: &mut Report,
) -> Result<Outage> {
    let parts = cell.parts()?;
    let before = pids.values().filter(|task| task.process.runs()).count();
    let killed = Instant::now();
    for part in &parts.shards {
        part.process().with_context(|| format!("{} does not run", part.name))?.kill();
    }
    for process in parts.shards.iter().filter_map(|part| part.process()) {
        masters::kill(process).await?;
    }
    eprintln!("kill {number}: all shards are gone, {before} tasks run");
    let node = &parts.agents.first().context("the cell has no agent")?.node;
    checks::tiny_write(client, node, number).await?;
    job.end_stage(1, pids).await?;
    sleep(Duration::from_secs(options.outage_seconds)).await;
    let kept = job.hold_processes(pids, |stage| stage == 2, report);
    let ms_away = ms_since(killed);
    let back = Instant::now();
    for part in &parts.shards {
        cell.start_again(&format!("shard:{}", part.id)).await?;
    }
    links::all_connected(client).await?;
    let ms_to_all_connected = ms_since(back);
    eprintln!("kill {number}: all connected {ms_to_all_connected} ms after the shards' return");
    job.ended(|index| job.marks.stage(index) == 1).await?;
    job.same_processes(pids, |index| job.marks.stage(index) == 2).await?;
    Ok(Outage {
        away: "all shards",
        ms_away,
        tasks_running: before,
        tasks_kept: kept,
        tasks_ended_unheard: before - kept,
        ms_to_next_write: None,
        ms_to_all_connected,
    })
}

/// The shard with the most nodes.
fn busiest(homes: &BTreeMap<String, String>) -> Option<String> {
    let mut shards: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in homes.values() {
        *shards.entry(shard).or_default() += 1;
    }
    shards.into_iter().max_by_key(|(_, nodes)| *nodes).map(|(shard, _)| shard.to_owned())
}

fn of_shard(homes: &BTreeMap<String, String>, shard: &str) -> Vec<String> {
    homes.iter().filter(|(_, home)| *home == shard).map(|(node, _)| node.clone()).collect()
}

async fn rehomed(client: &Client, nodes: &[String], dead: &str) -> Result<(), String> {
    let homes = links::homes(client).await?;
    let lost: Vec<_> =
        nodes.iter().filter(|node| homes.get(*node).is_none_or(|home| home == dead)).cloned().collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("{} are not", lost.join(", "))) }
}

async fn are_home(client: &Client, nodes: &[String], home: &str) -> Result<(), String> {
    let homes = links::homes(client).await?;
    let away: Vec<_> =
        nodes.iter().filter(|node| homes.get(*node).is_none_or(|shard| shard != home)).cloned().collect();
    if away.is_empty() { Ok(()) } else { Err(format!("{} are not there; {homes:?}", away.join(", "))) }
}

/// Sends a job to each of these nodes and holds it: orders go down and reports come up through the other shard.
async fn new_work(
    cell: &DevCell,
    client: &Client,
    number: usize,
    nodes: &[String],
    report: &mut Report,
) -> Result<()> {
    let mut jobs = Vec::new();
    for node in nodes {
        let there =
            Constraint { label: LABEL.to_owned(), operator: Operator::In, values: vec![node.clone()] };
        let name = format!("new-{number}-{node}");
        let job = Workload::submit(cell, client, name, NEW_TASKS, 0, vec![there]).await?;
        jobs.push((node, job));
    }
    for (node, job) in jobs {
        job.ended(|_| true).await?;
        let elsewhere =
            job.tasks().await.map_err(anyhow::Error::msg)?.into_iter().find(|task| task.node != *node);
        if let Some(task) = elsewhere {
            let (index, was) = (task.index, task.node);
            report.violations.push(format!("task {index} for {node} ran on {was}"));
        }
        job.hold(&Pids::new(), report).await?;
    }
    Ok(())
}
