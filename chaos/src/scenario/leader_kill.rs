//! `leader-kill`: a large job runs, small ones are submitted all the time, and again and again the leader is killed.
//!
//! ```text
//! big job   ├────── 1/11 ────── 2/11 ──── … ──── 10/11 ──────┤ ended
//! kills            leader     leader            leader         each: next write? is the master back, caught up?
//! small jobs ├·················································┤ each: acknowledged, refused or unknown
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paceline_client::Client;

use super::big::Big;
use super::{Options, checks, masters};
use crate::cell::DevCell;
use crate::load::Load;
use crate::process::Process;
use crate::report::{Kill, Report};
use crate::wait::{ms_since, until};

/// The names of the small jobs begin so.
const PREFIX: &str = "small-";
/// An election takes a second or so; longer than this is an outage, not a failover.
const NEXT_WRITE_WITHIN: Duration = Duration::from_secs(60);
/// The master is started anew, reads its log and hears the rest from the leader.
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// Runs it against a cell that restarts what is killed.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&cell.client()?, PREFIX);
    let big = Big::submit(&client, "big", options.tasks).await?;
    // A cell that cannot do what is waited for has broken a promise; the record is held against it all the same.
    if let Err(error) = kill_leaders(cell, &big, options, report).await {
        report.violations.push(format!("{error:#}"));
    }
    let calls = load.stop().await?;
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    big.hold(report).await?;
    hold_last_write(cell, &client, report).await?;
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

/// The times without a failover: from a killed master's return, or the beginning, to the next kill or the end.
struct Between {
    since: Instant,
    ended_before: u64,
    seconds: f64,
    tasks: u64,
}

impl Between {
    const fn begins(since: Instant) -> Self {
        Self { since, ended_before: 0, seconds: 0.0, tasks: 0 }
    }

    /// A failover begins, or the job has ended.
    fn ends(&mut self, at: Instant, tasks_ended: u64) {
        self.seconds += at.saturating_duration_since(self.since).as_secs_f64();
        self.tasks += tasks_ended.saturating_sub(self.ended_before);
    }

    /// A failover is over.
    fn goes_on(&mut self, tasks_ended: u64) {
        (self.since, self.ended_before) = (Instant::now(), tasks_ended);
    }

    /// Tasks per second, where there was any such time.
    fn rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a job has at most 2^32 tasks")]
        let tasks = self.tasks as f64;
        (self.seconds > 0.0).then_some(tasks / self.seconds)
    }
}

/// Kills leaders, spread over the big job, and waits for its end.
async fn kill_leaders(cell: &DevCell, big: &Big, options: &Options, report: &mut Report) -> Result<()> {
    let began = Instant::now();
    let mut between = Between::begins(began);
    for number in 1..=options.runs {
        let threshold = u64::from(options.tasks) * number as u64 / (options.runs as u64 + 1);
        let Some((kill, killed)) = kill_at(cell, big, threshold, number).await? else { break };
        let Kill { leader, tasks_ended, ms_to_next_write, .. } = &kill;
        eprintln!(
            "kill {number}: {leader} after {tasks_ended} tasks, next write after {ms_to_next_write} ms"
        );
        between.ends(killed, *tasks_ended);
        between.goes_on(big.ended().await?);
        report.kills.push(kill);
    }
    if report.kills.len() < options.runs {
        report.void.push(format!("{} leaders were killed, asked for {}", report.kills.len(), options.runs));
    }
    big.ends().await?;
    between.ends(Instant::now(), u64::from(options.tasks));
    report.tasks_per_second = Some(f64::from(options.tasks) / began.elapsed().as_secs_f64());
    report.tasks_per_second_between = between.rate();
    Ok(())
}

/// Kills a leader once this many tasks have ended, and says when; nothing when the job ended before.
async fn kill_at(
    cell: &DevCell,
    big: &Big,
    threshold: u64,
    number: usize,
) -> Result<Option<(Kill, Instant)>> {
    while let Some(tasks_ended) = big.reaches(threshold).await? {
        if let Some(kill) = kill_leader(cell, number, tasks_ended).await? {
            return Ok(Some(kill));
        }
        eprintln!("kill {number}: that one did not lead any more; once again");
    }
    Ok(None)
}

/// Kills whoever leads. Nothing where the leadership had moved away from it by then: that was no leader's end.
async fn kill_leader(cell: &DevCell, number: usize, tasks_ended: u64) -> Result<Option<(Kill, Instant)>> {
    // Its own channels: what other calls found out about the new leader does not help it.
    let client = cell.client()?.within(NEXT_WRITE_WITHIN);
    let parts = cell.parts()?;
    let node = &parts.agents.first().context("the cell has no agent")?.node;
    let leader = masters::leader(cell, &client).await?;

    let killed = Instant::now();
    masters::kill(leader.process).await?;
    let revision = checks::tiny_write(&client, node, number).await?;
    let ms_to_next_write = ms_since(killed);
    let next_term = client.cell().status().await?.term;
    let back = || is_back(cell, &leader.name, leader.process, revision);
    until(&format!("the return of {}", leader.name), BACK_WITHIN, back).await?;
    let ms_to_caught_up = ms_since(killed);
    let masters::Leader { name: leader, term, .. } = leader;
    let kill = Kill { leader, term, next_term, ms_to_next_write, ms_to_caught_up, tasks_ended };
    Ok((next_term > term).then_some((kill, killed)))
}

/// Whether a master runs as another process and has applied this revision.
async fn is_back(cell: &DevCell, name: &str, before: Process, revision: u64) -> Result<(), String> {
    let process = masters::process_of(cell, name).map_err(|error| format!("{error:#}"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_end_during_a_failover_count_neither_as_tasks_nor_as_time() {
        let began = Instant::now();
        let mut between = Between::begins(began);
        between.ends(began + Duration::from_secs(2), 100);
        between.goes_on(150);
        let since = between.since;
        between.ends(since + Duration::from_secs(3), 300);
        assert_eq!(between.rate(), Some(50.0));
        assert_eq!(Between::begins(began).rate(), None);
    }
}
