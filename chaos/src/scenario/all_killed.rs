//! `all-killed`: tasks run, all masters and shards are killed at once, stay away, and come back.
//!
//! Nothing may happen to a task meanwhile: the same processes run afterwards, and every exit code arrives,
//! those of tasks that ended while nobody could hear it included.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paceline_client::{Client, JobRef, v1};
use paceline_rules::JobSpec;
use paceline_types::{JobUid, Resources};
use tokio::time::sleep;

use super::{Options, checks};
use crate::cell::{AGENTS, DevCell, SHARDS};
use crate::load::Load;
use crate::process::Process;
use crate::report::{Outage, Report};
use crate::wait::{ms_since, until};

/// The names of the small jobs begin so.
const PREFIX: &str = "small-";
/// A task needs little, so that all run at once on a small machine.
const NEEDS: Resources = Resources::new(10, 8 << 20);
/// Exit codes go round from 0 to here, excluded.
const EXIT_CODES: u32 = 3;
/// All tasks run within this, or the machine is too slow for the run.
const RUNNING_WITHIN: Duration = Duration::from_secs(30);
/// Tasks with an even index end in the middle of the outage: this long after submission and half the outage.
const SHORT_SECONDS_EXTRA: u64 = 8;
/// The others run on through restart and reconnection: this long and the outage.
const LONG_SECONDS_EXTRA: u64 = 60;
/// From the first restart until every shard and agent is connected. Agents look for a shard every few seconds.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);
/// From the connection until the leader has heard of every task's process.
const PIDS_WITHIN: Duration = Duration::from_secs(30);
/// After the longest task has ended, its end travels and is committed.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// Submissions go on for so long before and after, so that there is something to lose.
const SUBMISSIONS_AROUND: Duration = Duration::from_secs(2);

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&client, PREFIX);
    sleep(SUBMISSIONS_AROUND).await;
    for number in 1..=options.runs {
        match outage(cell, &client, number, options, report).await {
            Ok(outage) => report.outages.push(outage),
            // What was waited for did not come: a broken promise, and no state to begin another outage from.
            Err(error) => {
                report.violations.push(format!("outage {number}: {error:#}"));
                break;
            }
        }
    }
    sleep(SUBMISSIONS_AROUND).await;
    let calls = load.stop().await?;
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

/// The tasks of one outage: which process each is.
type Pids = BTreeMap<u32, Process>;

/// The job of one outage.
struct Job {
    uid: JobUid,
    submitted: Instant,
    long: Duration,
}

async fn outage(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<Outage> {
    let job = submit(client, number, options).await?;
    let all_run = || all_running(client, job.uid, options.tasks);
    let pids = until("the start of all tasks", RUNNING_WITHIN, all_run).await?;
    let killed = Instant::now();
    kill_all(cell)?;
    eprintln!("outage {number}: {} tasks run, all masters and shards are killed", pids.len());
    sleep(Duration::from_secs(options.outage_seconds)).await;

    let kept = hold_processes(&pids, &job, report);
    let restarted = Instant::now();
    let ms_away = ms_since(killed);
    let ms_to_next_write = bring_back(cell, number, restarted).await?;
    until("the return of shards and nodes", CONNECTED_WITHIN, || all_connected(client)).await?;
    let ms_to_all_connected = ms_since(restarted);
    eprintln!(
        "outage {number}: next write after {ms_to_next_write} ms, all connected after {ms_to_all_connected} ms"
    );
    let same = until("the pids of all tasks", PIDS_WITHIN, || same_pids(client, job.uid, &pids)).await;
    if !job.long_tasks_run() {
        report.void.push("the machine is too slow: the long tasks had ended before all was back".to_owned());
    } else if let Err(error) = same {
        // A process that is another one, or that nobody reports: the same broken promise.
        report.violations.push(format!("{error:#}"));
    }

    let within = (job.long + ENDED_WITHIN).saturating_sub(job.submitted.elapsed());
    let ended = until("the end of all tasks", within, || has_ended(client, job.uid)).await;
    report.violations.extend(ended.err().map(|error| format!("{error:#}")));
    let verdict = checks::hold_job(client, job.uid, options.tasks, exit_code).await?;
    report.attempts_above_one += verdict.attempts_above_one;
    report.violations.extend(verdict.violations);
    let (tasks_running, tasks_ended_unheard) = (pids.len(), pids.len() - kept);
    Ok(Outage {
        ms_away,
        tasks_running,
        tasks_kept: kept,
        tasks_ended_unheard,
        ms_to_next_write,
        ms_to_all_connected,
    })
}

fn exit_code(index: u32) -> i32 {
    (index % EXIT_CODES).cast_signed()
}

const fn is_long(index: u32) -> bool {
    !index.is_multiple_of(2)
}

/// One attempt each: a task that is done again would show as a failure.
async fn submit(client: &Client, number: usize, options: &Options) -> Result<Job> {
    let short = options.outage_seconds / 2 + SHORT_SECONDS_EXTRA;
    let long = options.outage_seconds + LONG_SECONDS_EXTRA;
    let script = format!(
        "if [ $((PACELINE_TASK_INDEX % 2)) = 0 ]; then sleep {short}; else sleep {long}; fi; \
         exit $((PACELINE_TASK_INDEX % {EXIT_CODES}))"
    );
    let name = format!("long-{number}");
    let spec = JobSpec::batch(&name, options.tasks, &["/bin/sh", "-c", &script], NEEDS);
    let submitted = Instant::now();
    let uid = checks::submit(client, &spec).await?;
    Ok(Job { uid, submitted, long: Duration::from_secs(long) })
}

async fn tasks(client: &Client, uid: JobUid) -> Result<Vec<v1::Task>, String> {
    client.jobs().list_tasks(JobRef::Uid(uid), &[]).await.map_err(|error| error.to_string())
}

async fn all_running(client: &Client, uid: JobUid, count: u32) -> Result<Pids, String> {
    let running = tasks(client, uid).await?.into_iter().filter(|task| task.state() == v1::TaskState::Running);
    let process = |task: v1::Task| Some((task.index, Process::find(task.pid?)?));
    let pids: Pids = running.filter_map(process).collect();
    if pids.len() == count as usize {
        Ok(pids)
    } else {
        Err(format!("{} of {count} run with a pid", pids.len()))
    }
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

/// How many tasks run as the same processes; one that should and does not is a violation.
fn hold_processes(pids: &Pids, job: &Job, report: &mut Report) -> usize {
    let kept = pids.values().filter(|process| process.runs()).count();
    let gone: Vec<_> = pids.iter().filter(|(index, process)| is_long(**index) && !process.runs()).collect();
    for (index, process) in gone.into_iter().filter(|_| job.long_tasks_run()) {
        report
            .violations
            .push(format!("task {index} did not outlive the masters: process {} is gone", process.pid));
    }
    kept
}

impl Job {
    /// The long tasks have not ended by themselves yet; otherwise a missing process says nothing.
    fn long_tasks_run(&self) -> bool {
        self.submitted.elapsed() < self.long
    }
}

/// Starts masters, then shards. Returns the milliseconds from the first restart to the next committed write.
async fn bring_back(cell: &DevCell, number: usize, restarted: Instant) -> Result<u64> {
    let parts = cell.parts()?;
    let node = parts.agents.first().context("the cell has no agent")?.node.clone();
    for master in &parts.masters {
        cell.start_again(&format!("master:{}", master.id)).await?;
    }
    let writer = cell.client()?.within(CONNECTED_WITHIN);
    let written = tokio::spawn(async move {
        checks::tiny_write(&writer, &node, number).await?;
        anyhow::Ok(ms_since(restarted))
    });
    for shard in &parts.shards {
        cell.start_again(&format!("shard:{}", shard.id)).await?;
    }
    written.await.context("the tiny write failed")?
}

async fn all_connected(client: &Client) -> Result<(), String> {
    let status = client.cell().status().await.map_err(|error| error.to_string())?;
    let shards = status.shards.iter().filter(|shard| shard.connected).count();
    let nodes = status.nodes.unwrap_or_default().up as usize;
    if shards == SHARDS && nodes == AGENTS {
        return Ok(());
    }
    Err(format!("{shards} of {SHARDS} shards are connected, {nodes} of {AGENTS} nodes are up"))
}

/// Every task that has not ended is the process that it was.
async fn same_pids(client: &Client, uid: JobUid, pids: &Pids) -> Result<(), String> {
    for task in tasks(client, uid).await?.iter().filter(|task| is_long(task.index)) {
        let before = pids.get(&task.index).map(|process| process.pid);
        if task.pid != before || task.state() != v1::TaskState::Running {
            let (state, pid) = (task.state().as_str_name(), task.pid);
            return Err(format!("task {} is {state} as process {pid:?}, it was {before:?}", task.index));
        }
    }
    Ok(())
}

async fn has_ended(client: &Client, uid: JobUid) -> Result<(), String> {
    let job = checks::job(client, uid).await.map_err(|error| format!("{error:#}"))?;
    if checks::has_ended(job.state()) { Ok(()) } else { Err(format!("{:?}", job.tasks.unwrap_or_default())) }
}
