//! `at-most-one`: the agent of tasks that must never run twice is paused. Their supervisors end them when the lease is
//! over, they run elsewhere, and when the agent goes on it finds them ended.
//!
//! ```text
//! agent       ├──────── SIGSTOP ───────────────────────────────────── SIGCONT ── up ──┤
//! its tasks   ├ attempt 1: beat beat beat ─✝ lease over                               │
//! elsewhere                                    ├ attempt 2: beat beat beat ───────────┤ same processes
//! the others  ├ attempt 1: beat beat beat ────────────────────────────────────────────┤ same processes
//! ```
//!
//! Each task writes the machine's boot clock many times a second, so what overlaps is seen without asking the cell.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paceline_client::{Client, JobRef};
use paceline_rules::JobSpec;
use paceline_types::LEASE_WAIT_MS;
use tokio::time::sleep;

use super::agent_kill::{busiest, is_up};
use super::workload::{NEEDS, Pids, Workload};
use super::{Options, frame};
use crate::cell::DevCell;
use crate::marks::Marks;
use crate::process::Process;
use crate::report::{Fencing, Report};
use crate::wait::{ms_since, until};

/// What the supervisors of a busy machine may take beyond the lease.
const SLACK: Duration = Duration::from_secs(60);
/// From the SIGSTOP until the tasks run elsewhere: the lease, the write-off, a pass, on a busy machine.
const REPLACED_WITHIN: Duration = Duration::from_secs(180);
/// From the SIGCONT until the node is up.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Tasks beat before the pause and after the return for so long.
const BEATS_AROUND: Duration = Duration::from_secs(5);
/// The stop of a task at the end of its lease is asked for so long before.
const GRACE_MS: u64 = 1_000;

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    frame::run(cell, options, report, "pause", async |client, number, report| {
        let fencing = pause_agent(cell, client, number, options, report).await?;
        report.fencings.push(fencing);
        Ok(())
    })
    .await
}

async fn pause_agent(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<Fencing> {
    let job = submit(cell, client, number, options).await?;
    let pids = job.all_running().await?;
    sleep(BEATS_AROUND).await;
    let node = busiest(&pids).context("no task runs")?;
    let (_, process) = cell.parts()?.agent(&node).with_context(|| format!("{node} is no agent's"))?;
    let agent = process.with_context(|| format!("the agent of {node} does not run"))?;
    let (there, others): (Pids, Pids) = pids.into_iter().partition(|(_, task)| task.node == node);

    let paused = Instant::now();
    agent.pause();
    let resume = Resume(agent);
    eprintln!("pause {number}: the agent of {node} stands still, {} tasks run there", there.len());
    let gone = || async {
        match there.values().filter(|task| task.process.runs()).count() {
            0 => Ok(()),
            left => Err(format!("{left} of them still run")),
        }
    };
    let lease = Duration::from_millis(LEASE_WAIT_MS);
    until("the end of tasks without a lease", lease + SLACK, gone).await?;
    let ms_to_fenced = ms_since(paused);
    let moved = job.run_elsewhere(&there, 2, std::slice::from_ref(&node), REPLACED_WITHIN).await?;
    let ms_to_replaced = ms_since(paused);
    ensure!(agent.is_paused(), "the agent of {node} did not stay paused");
    eprintln!("pause {number}: gone after {ms_to_fenced} ms, elsewhere after {ms_to_replaced} ms");
    drop(resume);
    let resumed = Instant::now();
    until(&format!("the return of {node}"), UP_WITHIN, || is_up(client, &node)).await?;
    let ms_to_up = ms_since(resumed);
    sleep(BEATS_AROUND).await;

    job.same_attempts(&others, 1, report).await?;
    job.same_attempts(&moved, 2, report).await?;
    client.jobs().stop(JobRef::Uid(job.uid)).await.context("cannot stop a job")?;
    job.ended(|_| true).await?;
    let beats = beats(cell.marks_folder(), &name(number))?;
    let gap_ms_min = hold_beats(&beats, options.tasks, there.len(), report);
    let beats = beats.values().map(Vec::len).sum();
    Ok(Fencing {
        node,
        tasks_running: there.len(),
        ms_to_fenced,
        ms_to_replaced,
        ms_to_up,
        beats,
        gap_ms_min,
    })
}

fn name(number: usize) -> String {
    format!("leased-{number}")
}

async fn submit(cell: &DevCell, client: &Client, number: usize, options: &Options) -> Result<Workload> {
    let marks = Marks::new(cell.marks_folder(), &name(number), 1);
    // One line per beat, in a file of each attempt's own. The first field of uptime is the boot clock.
    let file = format!("{}/{}", cell.marks_folder().display(), name(number));
    let script = format!(
        "f={file}.$PACELINE_TASK_INDEX.$PACELINE_ATTEMPT.beats; \
         while :; do read up idle < /proc/uptime; echo $up >> $f; sleep 0.05; done"
    );
    let mut spec = JobSpec::batch(&name(number), options.tasks, &["/bin/sh", "-c", &script], NEEDS);
    spec.at_most_one = true;
    spec.replace_after_ms = Some(1_000);
    spec.template.grace_ms = GRACE_MS;
    Workload::submit_spec(client, spec, marks).await
}

/// Resumes an agent, however the time with it paused ends.
struct Resume(Process);

impl Drop for Resume {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// When each attempt beat, in hundredths of a second of the boot clock, by task and attempt.
type Beats = BTreeMap<(u32, u32), Vec<u64>>;

fn beats(folder: &Path, job: &str) -> Result<Beats> {
    let mut beats = Beats::new();
    for entry in fs::read_dir(folder).context("cannot list what tasks wrote")? {
        let path = entry?.path();
        let of_job = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(job));
        let Some(rest) = of_job.and_then(|name| name.strip_suffix(".beats")) else { continue };
        let mut numbers = rest.split('.').skip(1).map(str::parse::<u32>);
        let (Some(Ok(task)), Some(Ok(attempt))) = (numbers.next(), numbers.next()) else { continue };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        beats.insert((task, attempt), text.lines().filter_map(hundredths).collect());
    }
    Ok(beats)
}

/// The last line may be cut off where its task was.
fn hundredths(line: &str) -> Option<u64> {
    let (seconds, parts) = line.split_once('.')?;
    (parts.len() == 2).then_some(())?;
    Some(seconds.parse::<u64>().ok()? * 100 + parts.parse::<u64>().ok()?)
}

/// Every task beat, those that moved in two attempts, and none while another attempt of it did. Gives the shortest gap.
fn hold_beats(beats: &Beats, tasks: u32, moved: usize, report: &mut Report) -> u64 {
    let mut gaps = Vec::new();
    for task in 0..tasks {
        let mut attempts = beats.range((task, 0)..=(task, u32::MAX)).filter(|(_, beats)| !beats.is_empty());
        let Some((_, first)) = attempts.next() else {
            report.violations.push(format!("task {task} never beat"));
            continue;
        };
        let mut last = first.last().copied().unwrap_or_default();
        for ((_, attempt), next) in attempts {
            let first = next.first().copied().unwrap_or_default();
            match first.checked_sub(last) {
                Some(gap) => gaps.push(gap * 10),
                None => report.violations.push(format!(
                    "task {task} ran twice: attempt {attempt} beat at {first}, the one before at {last} (1/100 s)"
                )),
            }
            last = last.max(next.last().copied().unwrap_or_default());
        }
    }
    if gaps.len() != moved {
        report.violations.push(format!("{} tasks beat in two attempts, {moved} moved", gaps.len()));
    }
    gaps.into_iter().min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn held(beats: &[((u32, u32), &[u64])], tasks: u32, moved: usize) -> (u64, Vec<String>) {
        let beats = beats.iter().map(|(key, beats)| (*key, beats.to_vec())).collect();
        let mut report = Report::new("at-most-one", "1-1".to_owned(), Value::Null);
        let gap = hold_beats(&beats, tasks, moved, &mut report);
        (gap, report.violations)
    }

    #[test]
    fn an_overlap_of_one_beat_is_seen_and_a_gap_is_measured() {
        let fine: &[((u32, u32), &[u64])] = &[((0, 1), &[1, 5, 9]), ((0, 2), &[30, 31]), ((1, 1), &[2, 40])];
        assert_eq!(held(fine, 2, 1), (210, Vec::new()));
        let twice = held(&[((0, 1), &[1, 31]), ((0, 2), &[30, 40])], 1, 1).1;
        assert!(twice[0].contains("task 0 ran twice"), "{twice:?}");
        assert_eq!(held(fine, 3, 1).1, ["task 2 never beat"]);
        assert_eq!(held(fine, 2, 2).1, ["1 tasks beat in two attempts, 2 moved"]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_beat() {
        assert_eq!(["12.34", "12.3", "12.", "12", ""].map(hundredths), [Some(1_234), None, None, None, None]);
    }
}
