//! `agent-kill`: an agent with tasks is killed; its tasks go on, some end while nobody watches, and it comes back.
//!
//! ```text
//! tasks    ├─ all run ─┼──────────── stage 1 runs on, as the same processes ────────────┼─ released ─┤
//!                       └─ stage 0 is released: ends unheard ─┐
//! agent    ├───────────✝                                       ├─ restarted ─ up ─ ends heard ────────┤
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paceline_client::{Client, v1};
use tokio::time::sleep;

use super::workload::{Pids, Workload};
use super::{Options, frame, masters};
use crate::cell::DevCell;
use crate::report::{AgentKill, Report};
use crate::wait::{ms_since, until};

/// From the restart until the node is up.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Stage 0 ends while the agent is away, stage 1 after it is back.
const STAGES: u32 = 2;

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    frame::run(cell, options, report, "kill", async |client, number, report| {
        let kill = kill_agent(cell, client, number, options, report).await?;
        report.agent_kills.push(kill);
        Ok(())
    })
    .await
}

async fn kill_agent(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<AgentKill> {
    let job =
        Workload::submit(cell, client, format!("held-{number}"), options.tasks, STAGES, Vec::new()).await?;
    let pids = job.all_running().await?;
    let node = busiest(&pids).context("no task runs")?;
    let (part, process) = cell.parts()?.agent(&node).with_context(|| format!("{node} is no agent's"))?;
    let of_node: Pids =
        pids.iter().filter(|(_, task)| task.node == node).map(|(at, task)| (*at, task.clone())).collect();

    let churn = Workload::churn(cell, client, number, options).await?;
    let killed = Instant::now();
    masters::kill(process.with_context(|| format!("the agent of {node} does not run"))?).await?;
    eprintln!("kill {number}: the agent of {node} is gone, {} tasks run there", of_node.len());
    job.end_stage(0, &pids).await?;
    sleep(Duration::from_secs(options.outage_seconds)).await;
    job.hold_processes(&pids, |stage| stage != 0, report);
    let tasks_kept = of_node.values().filter(|task| task.process.runs()).count();

    let ms_away = ms_since(killed);
    let restarted = Instant::now();
    cell.start_again(&part).await?;
    until(&format!("the return of {node}"), UP_WITHIN, || is_up(client, &node)).await?;
    let ms_to_up = ms_since(restarted);
    job.ended(|index| job.marks.stage(index) == 0).await?;
    let ms_to_ends_heard = ms_since(restarted);
    eprintln!("kill {number}: {node} up after {ms_to_up} ms, all ends heard after {ms_to_ends_heard} ms");
    job.same_processes(&pids, |index| job.marks.stage(index) != 0).await?;
    job.end_stage(1, &pids).await?;
    job.hold(&pids, report).await?;
    churn.hold(&Pids::new(), report).await?;
    let tasks_running = of_node.len();
    let tasks_ended_unheard = tasks_running - tasks_kept;
    if tasks_kept == 0 || tasks_ended_unheard == 0 {
        report.void.push(format!(
            "kill {number}: of {tasks_running} tasks on {node} {tasks_kept} went on and {tasks_ended_unheard} \
             ended: some of each are needed, give it more --tasks"
        ));
    }
    Ok(AgentKill {
        node,
        tasks_running,
        tasks_ended_unheard,
        tasks_kept,
        ms_away,
        ms_to_up,
        ms_to_ends_heard,
    })
}

/// The node with the most tasks.
pub fn busiest(pids: &Pids) -> Option<String> {
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for task in pids.values() {
        *nodes.entry(&task.node).or_default() += 1;
    }
    nodes.into_iter().max_by_key(|(_, tasks)| *tasks).map(|(node, _)| node.to_owned())
}

/// Whether the cell hears the node.
pub async fn is_up(client: &Client, node: &str) -> Result<(), String> {
    let liveness = client.nodes().get(node).await.map_err(|error| error.to_string())?.liveness();
    if liveness == v1::NodeLiveness::Up { Ok(()) } else { Err(format!("it is {}", liveness.as_str_name())) }
}
