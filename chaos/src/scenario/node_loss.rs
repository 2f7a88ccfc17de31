//! `node-loss`: nodes are killed with everything on them and kept away. One of four is replaced when its time has come;
//! three of four could be a broken network: the brake goes on, and an operator who knows better releases it.
//!
//! ```text
//! one node     ├✝──── suspect ──── written off, tasks elsewhere in attempt 2 ── back ┤
//! three nodes                                                    ├✝── brake on ──── not moved ── release ── elsewhere ┤
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paceline_client::{Client, JobRef};
use paceline_rules::JobSpec;
use tokio::time::sleep;

use super::agent_kill::{busiest, is_up};
use super::workload::{NEEDS, Pids, Workload};
use super::{Options, frame, masters};
use crate::cell::DevCell;
use crate::marks::Marks;
use crate::report::{NodeLoss, Report};
use crate::wait::{ms_since, until};

/// Less than a detection period acts as one.
const REPLACE_AFTER_MS: u64 = 1_000;
/// No node is written off sooner: the detection period.
const DETECTION: Duration = Duration::from_secs(10);
/// From the SIGKILLs until tasks run elsewhere, on a busy machine whose leaders may change.
const REPLACED_WITHIN: Duration = Duration::from_secs(180);
/// From the SIGKILLs until the brake is on.
const BRAKE_WITHIN: Duration = Duration::from_secs(120);
/// The brake is looked at for so long before it is released: less than its first minute, in which nothing moves.
const BRAKED: Duration = Duration::from_secs(20);
/// From the restart until a node is up.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Tasks end by themselves when nobody ends them.
const TASK_SECONDS: &str = "1800";

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    frame::run(cell, options, report, "loss", async |client, number, report| {
        let marks = Marks::new(cell.marks_folder(), "none", 0);
        let mut spec =
            JobSpec::batch(&format!("moves-{number}"), options.tasks, &["/bin/sleep", TASK_SECONDS], NEEDS);
        spec.replace_after_ms = Some(REPLACE_AFTER_MS);
        let job = Workload::submit_spec(client, spec, marks).await?;
        let pids = lose_one(cell, client, number, &job, report).await?;
        lose_three(cell, client, number, &job, pids, report).await?;
        client.jobs().stop(JobRef::Uid(job.uid)).await.context("cannot stop a job")?;
        job.ended(|_| true).await
    })
    .await
}

/// Kills the agents of nodes, and the supervisors of the tasks there; the kernel takes the tasks.
async fn kill_nodes(cell: &DevCell, nodes: &[String], there: &Pids) -> Result<()> {
    let parts = cell.parts()?;
    for node in nodes {
        let (_, process) = parts.agent(node).with_context(|| format!("{node} is no agent's"))?;
        masters::kill(process.with_context(|| format!("the agent of {node} does not run"))?).await?;
    }
    for task in there.values() {
        if let Some(supervisor) = task.process.parent() {
            supervisor.kill();
        }
    }
    Ok(())
}

/// One of four: no brake, and its tasks run elsewhere. Gives what runs where afterwards, with the node back.
async fn lose_one(
    cell: &DevCell,
    client: &Client,
    number: usize,
    job: &Workload,
    report: &mut Report,
) -> Result<Pids> {
    let pids = job.all_running().await?;
    let node = busiest(&pids).context("no task runs")?;
    let (there, mut others): (Pids, Pids) = pids.into_iter().partition(|(_, task)| task.node == node);
    let nodes = [node.clone()];
    let killed = Instant::now();
    kill_nodes(cell, &nodes, &there).await?;
    eprintln!("loss {number}: {node} is gone, {} tasks ran there", there.len());
    let moved = job.run_elsewhere(&there, 2, &nodes, REPLACED_WITHIN).await?;
    let ms_to_replaced = ms_since(killed);
    ensure!(killed.elapsed() >= DETECTION, "tasks moved before a mass loss could be seen");
    if brake_is_on(client).await?.is_some() {
        report.violations.push(format!("loss {number}: the brake is on for one node of four"));
    }
    let tasks_running = there.len();
    report.node_losses.push(NodeLoss {
        nodes: 1,
        tasks_running,
        ms_to_brake: None,
        ms_braked: None,
        ms_to_replaced,
    });
    let (part, _) = cell.parts()?.agent(&node).context("it is still an agent's")?;
    cell.start_again(&part).await?;
    until(&format!("the return of {node}"), UP_WITHIN, || is_up(client, &node)).await?;
    job.same_attempts(&others, 1, report).await?;
    job.same_attempts(&moved, 2, report).await?;
    others.extend(moved);
    Ok(others)
}

/// Three of four: nothing moves until an operator says so.
async fn lose_three(
    cell: &DevCell,
    client: &Client,
    number: usize,
    job: &Workload,
    pids: Pids,
    report: &mut Report,
) -> Result<()> {
    let all: Vec<String> = cell.parts()?.agents.iter().map(|agent| agent.node.clone()).collect();
    let idlest = |node: &&String| pids.values().filter(|task| task.node == **node).count();
    let stays = all.iter().min_by_key(idlest).context("the cell has no agent")?.clone();
    let nodes: Vec<String> = all.into_iter().filter(|node| *node != stays).collect();
    let (there, others): (Pids, Pids) = pids.into_iter().partition(|(_, task)| task.node != stays);
    let before = attempts(job).await?;
    let killed = Instant::now();
    kill_nodes(cell, &nodes, &there).await?;
    eprintln!("loss {number}: all nodes but {stays} are gone, {} tasks ran there", there.len());
    let on = || async {
        let brake = brake_is_on(client).await.map_err(|error| format!("{error:#}"))?;
        brake.ok_or_else(|| "it is off".to_owned())
    };
    let silent = until("the brake", BRAKE_WITHIN, on).await?;
    let ms_to_brake = ms_since(killed);
    let braked = Instant::now();
    eprintln!("loss {number}: the brake is on after {ms_to_brake} ms, {silent} nodes are silent");
    sleep(BRAKED).await;
    if attempts(job).await? != before {
        report.violations.push(format!("loss {number}: tasks moved though the brake was on"));
    }
    // Where the leader changed meanwhile the brake is the next one's, and a report round may be on: asked again.
    let release = || async {
        match client.cell().release_brake().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it was not on".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    until("the release of the brake", BRAKE_WITHIN, release).await?;
    let ms_braked = ms_since(braked);
    let look = || async {
        let now = attempts(job).await.map_err(|error| format!("{error:#}"))?;
        let on_stays = job.tasks().await?.iter().filter(|task| task.node == stays).count();
        let moved = there.keys().all(|index| now.get(index) > before.get(index));
        if moved && on_stays == now.len() {
            Ok(())
        } else {
            Err(format!("{on_stays} of {} there", now.len()))
        }
    };
    until("all tasks on the node that is left", REPLACED_WITHIN, look).await?;
    let ms_to_replaced = ms_since(killed);
    for (index, task) in &others {
        if !task.process.runs() {
            report.violations.push(format!("loss {number}: task {index} on {stays} did not go on"));
        }
    }
    report.node_losses.push(NodeLoss {
        nodes: nodes.len(),
        tasks_running: there.len(),
        ms_to_brake: Some(ms_to_brake),
        ms_braked: Some(ms_braked),
        ms_to_replaced,
    });
    for node in &nodes {
        let (part, _) = cell.parts()?.agent(node).context("it is still an agent's")?;
        cell.start_again(&part).await?;
    }
    Ok(())
}

/// The attempt of every task.
async fn attempts(job: &Workload) -> Result<std::collections::BTreeMap<u32, u32>> {
    let tasks = job.tasks().await.map_err(anyhow::Error::msg)?;
    Ok(tasks.iter().map(|task| (task.index, task.attempt)).collect())
}

/// How many nodes are silent, while the brake is on.
async fn brake_is_on(client: &Client) -> Result<Option<u64>> {
    let status = client.cell().status().await?;
    Ok(status.node_loss.and_then(|loss| loss.brake).map(|brake| brake.silent))
}
