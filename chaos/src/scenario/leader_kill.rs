//! `leader-kill`: a large job runs, small ones are submitted all the time, and again and again the leader is killed.
//!
//! ```text
//! big job   ├────── 1/11 ────── 2/11 ──── … ──── 10/11 ──────┤ ended
//! kills            leader     leader            leader         each: next write? is the master back, caught up?
//! small jobs ├·················································┤ each: acknowledged, refused or unknown
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use paceline_client::Client;
use paceline_rules::JobSpec;
use paceline_types::{JobUid, Resources};
use tokio::time::sleep;

use super::{Options, checks};
use crate::cell::DevCell;
use crate::load::Load;
use crate::process::Process;
use crate::report::{Kill, Report};
use crate::wait::{LOOK_EVERY, ms_since, until};

/// The names of the small jobs begin so.
const PREFIX: &str = "small-";
/// Attempts that each task of the big job may use; one must do.
const ATTEMPTS: u32 = 3;
/// A task needs little, so that many fit on a small machine.
const NEEDS: Resources = Resources::new(10, 8 << 20);
/// No task of the big job ends for this long: it stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(90);
/// An election takes a second or so; longer than this is an outage, not a failover.
const NEXT_WRITE_WITHIN: Duration = Duration::from_secs(60);
/// The master is started anew, reads its log and hears the rest from the leader.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// A process that was killed is gone within this; the kernel has to take down its memory first.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Runs it against a cell that restarts what is killed.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&cell.client()?, PREFIX);
    let spec =
        JobSpec { max_attempts: ATTEMPTS, ..JobSpec::batch("big", options.tasks, &["/bin/true"], NEEDS) };
    let big = Big { client: client.clone(), uid: checks::submit(&client, &spec).await? };
    // A cell that cannot do what is waited for has broken a promise; the record is held against it all the same.
    if let Err(error) = kill_leaders(cell, &big, options, report).await {
        report.violations.push(format!("{error:#}"));
    }
    let calls = load.stop().await?;
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    let verdict = checks::hold_job(&client, big.uid, options.tasks, |_| 0).await?;
    report.attempts_above_one = verdict.attempts_above_one;
    report.violations.extend(verdict.violations);
    hold_last_write(cell, &client, report).await?;
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

/// Kills leaders, spread over the big job, and waits for its end.
async fn kill_leaders(cell: &DevCell, big: &Big, options: &Options, report: &mut Report) -> Result<()> {
    let began = Instant::now();
    for number in 1..=options.runs {
        let threshold = u64::from(options.tasks) * number as u64 / (options.runs as u64 + 1);
        let Some(kill) = kill_at(cell, big, threshold, number).await? else { break };
        let Kill { leader, tasks_ended, ms_to_next_write, .. } = &kill;
        eprintln!(
            "kill {number}: {leader} after {tasks_ended} tasks, next write after {ms_to_next_write} ms"
        );
        report.kills.push(kill);
    }
    if report.kills.len() < options.runs {
        report.void.push(format!("{} leaders were killed, asked for {}", report.kills.len(), options.runs));
    }
    while big.reaches(u64::from(options.tasks)).await?.is_some() {
        sleep(LOOK_EVERY).await;
    }
    report.tasks_per_second = Some(f64::from(options.tasks) / began.elapsed().as_secs_f64());
    Ok(())
}

/// Kills a leader once this many tasks have ended; nothing when the job ended before.
async fn kill_at(cell: &DevCell, big: &Big, threshold: u64, number: usize) -> Result<Option<Kill>> {
    while let Some(tasks_ended) = big.reaches(threshold).await? {
        if let Some(kill) = kill_leader(cell, number, tasks_ended).await? {
            return Ok(Some(kill));
        }
        eprintln!("kill {number}: that one did not lead any more; once again");
    }
    Ok(None)
}

/// The large job.
struct Big {
    client: Client,
    uid: JobUid,
}

impl Big {
    /// Waits until this many tasks have ended, and returns how many have; nothing when the job ended before.
    async fn reaches(&self, threshold: u64) -> Result<Option<u64>> {
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
}

/// Kills whoever leads. Nothing where the leadership had moved away from it by then: that was no leader's end.
async fn kill_leader(cell: &DevCell, number: usize, tasks_ended: u64) -> Result<Option<Kill>> {
    // Its own channels: what other calls found out about the new leader does not help it.
    let client = cell.client()?.within(NEXT_WRITE_WITHIN);
    let parts = cell.parts()?;
    let node = &parts.agents.first().context("the cell has no agent")?.node;
    let (leader, term) =
        until("a leader that says so itself", NEXT_WRITE_WITHIN, || leader(cell, &client)).await?;
    let process =
        process_of(cell, &leader)?.with_context(|| format!("{leader} has no process in cell.json"))?;

    let killed = Instant::now();
    process.kill();
    gone(process).await?;
    let revision = checks::tiny_write(&client, node, number).await?;
    let ms_to_next_write = ms_since(killed);
    let next_term = client.cell().status().await?.term;
    until(&format!("the return of {leader}"), BACK_WITHIN, || is_back(cell, &leader, process, revision))
        .await?;
    let ms_to_caught_up = ms_since(killed);
    Ok((next_term > term).then_some(Kill {
        leader,
        term,
        next_term,
        ms_to_next_write,
        ms_to_caught_up,
        tasks_ended,
    }))
}

/// The leader and its term, where the one that the others name says the same of itself.
async fn leader(cell: &DevCell, client: &Client) -> Result<(String, u64), String> {
    let status = client.cell().status().await.map_err(|error| error.to_string())?;
    let own = checks::own_status(cell, &status.leader).await.map_err(|error| format!("{error:#}"))?;
    if own.leader != status.leader || own.term != status.term {
        return Err(format!("{} sees {} as the leader of term {}", status.leader, own.leader, own.term));
    }
    Ok((status.leader, status.term))
}

fn process_of(cell: &DevCell, name: &str) -> Result<Option<Process>> {
    let masters = cell.parts()?.masters;
    Ok(masters.iter().find(|master| master.name == name).and_then(|master| master.process()))
}

/// Waits until a killed process is gone: what it still acknowledged in between would count as the next write.
async fn gone(process: Process) -> Result<()> {
    let began = Instant::now();
    while process.runs() {
        if began.elapsed() > GONE_WITHIN {
            bail!("process {} still runs {GONE_WITHIN:?} after SIGKILL", process.pid);
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Whether a master runs as another process and has applied this revision.
async fn is_back(cell: &DevCell, name: &str, before: Process, revision: u64) -> Result<(), String> {
    let process = process_of(cell, name).map_err(|error| format!("{error:#}"))?;
    if process.is_none_or(|process| process == before) {
        return Err("it has no new process in cell.json".to_owned());
    }
    let status = checks::own_status(cell, name).await.map_err(|error| format!("{error:#}"))?;
    if status.revision < revision {
        return Err(format!("it is at revision {}, {revision} was acknowledged", status.revision));
    }
    Ok(())
}

/// The last tiny write was acknowledged: it must be what the cell has.
async fn hold_last_write(cell: &DevCell, client: &Client, report: &mut Report) -> Result<()> {
    if report.kills.is_empty() {
        return Ok(());
    }
    let parts = cell.parts()?;
    let node = &parts.agents.first().context("the cell has no agent")?.node;
    let labels = client.nodes().get(node).await?.labels;
    let expected = report.kills.len().to_string();
    if labels.get("chaos") != Some(&expected) {
        report
            .violations
            .push(format!("label chaos={expected} of {node} was acknowledged, but it has {labels:?}"));
    }
    Ok(())
}
